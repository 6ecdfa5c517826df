import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from qpbridge.models.blocks import block, center_crop, conv_relu, initialize, up_relu


@given(cells=st.integers(1, 8), halvings=st.integers(1, 3))
def test_a_crop_keeps_the_center(cells: int, halvings: int) -> None:
    edge = cells * 2 ** (halvings + 1)
    ramp = torch.arange(edge, dtype=torch.float32).expand(1, 1, edge, edge)

    crop = center_crop(ramp, halvings)

    assert crop.shape[-2:] == (edge >> halvings, edge >> halvings)
    assert crop.mean() == ramp.mean()
    assert torch.equal(crop, center_crop(ramp.mT, halvings).mT)


def test_an_edge_without_exact_center_is_cropped_half_a_cell_up_and_left() -> None:
    assert center_crop(torch.arange(4.0).expand(1, 1, 4, 4), 2).flatten().tolist() == [1.0]


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_blocks_keep_the_size_and_ups_double_it(norm: str) -> None:
    x = torch.rand(2, 3, 6, 10)

    assert conv_relu(3, 4, norm)(x).shape == (2, 4, 6, 10)
    assert block(3, 5, norm, channels_between=7)(x).shape == (2, 5, 6, 10)
    assert up_relu(3, 4, norm)(x).shape == (2, 4, 12, 20)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_convolution_has_a_bias_only_where_no_normalization_follows(norm: str) -> None:
    layers = [*conv_relu(1, 1, norm), *up_relu(1, 1, norm)]

    biases = [layer.bias is not None for layer in layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert biases == [norm == "none"] * 2


def test_initial_weights_keep_the_spread_of_activations_and_biases_are_zero() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(128, 64, 3, 2, 1, 1))
    initialize(network)

    x = torch.randn(1, 64, 64, 64)

    assert network[0].weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)
    assert (network[0].bias == 0).all()
    # He's condition: half the square survives ReLU, the weights double it.
    assert network(x)[..., 4:-4, 4:-4].square().mean().item() == pytest.approx(2, rel=0.2)
