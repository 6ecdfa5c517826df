import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from qpbridge.models.blocks import (
    PIXELS,
    as_it_is,
    block,
    center,
    conv_relu,
    initialize,
    optical_density,
    padded,
    resized,
    standardized,
    up_relu,
)

ramps = st.tuples(st.integers(1, 40), st.integers(1, 40)).map(
    lambda shape: torch.arange(shape[0] * shape[1], dtype=torch.float32).reshape(1, 1, *shape)
)


@given(ramp=ramps, data=st.data(), margin=st.integers(0, 12))
def test_a_center_lies_amid_the_map_with_a_margin_as_far_as_the_map_reaches(
    ramp: torch.Tensor, data: st.DataObject, margin: int
) -> None:
    left_out = [2 * data.draw(st.integers(0, (edge - 1) // 2)) for edge in ramp.shape[-2:]]
    rows, columns = (edge - out for edge, out in zip(ramp.shape[-2:], left_out, strict=True))

    found = center(ramp, rows, columns, margin)

    top, left = (max(out // 2 - margin, 0) for out in left_out)
    expected = ramp[..., top : ramp.shape[-2] - top, left : ramp.shape[-1] - left]
    assert torch.equal(found, expected)


def test_a_map_without_exact_center_is_cropped_half_a_cell_up_and_left() -> None:
    ramp = torch.arange(20.0).reshape(1, 1, 4, 5)

    assert center(ramp, 1, 2).flatten().tolist() == [6, 7]


def test_optical_density_is_zero_for_white_and_grows_with_the_stain() -> None:
    # Half the natural logarithm of 256 / (8-bit value + 1).
    pixels = torch.tensor([255, 127, 63, 0]) / 255

    assert optical_density(pixels).tolist() == pytest.approx([0, math.log(2) / 2, math.log(2), 4 * math.log(2)])


@given(amount=st.floats(0.1, 3), light=st.floats(0.3, 1))
def test_more_stain_is_a_factor_of_the_optical_density(amount: float, light: float) -> None:
    stained = torch.tensor([light, light**amount], dtype=torch.float64)

    one, more = optical_density((256 * stained - 1) / 255).tolist()

    assert more == pytest.approx(amount * one, abs=1e-9)


def test_what_is_left_as_it_is_is_the_same() -> None:
    x = torch.rand(2, 2)

    assert as_it_is(x) is x


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


@given(ramp=ramps, divisor=st.integers(1, 32))
def test_padding_reaches_the_next_multiple_and_keeps_the_map_in_its_corner(ramp: torch.Tensor, divisor: int) -> None:
    rows, columns = ramp.shape[-2:]

    found = padded(ramp, divisor)

    assert all(
        edge % divisor == 0 and 0 <= edge - own < divisor
        for edge, own in zip(found.shape[-2:], (rows, columns), strict=True)
    )
    assert torch.equal(found[..., :rows, :columns], ramp)
    if found.shape[-1] > columns > found.shape[-1] - columns and found.shape[-2] - rows < rows:
        assert torch.equal(found[..., :rows, columns], ramp[..., columns - 2])


def test_resizing_keeps_places() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)

    assert resized(ramp, (4, 4))[0, 0, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert resized(ramp, (3, 15), align_corners=True)[0, 0, 0].tolist() == pytest.approx([i / 2 for i in range(15)])


def test_standardized_pixels_have_the_mean_and_deviation_of_imagenet() -> None:
    pixels = torch.tensor([[0.485, 0.456, 0.406], [0.714, 0.680, 0.631]]).T[None, :, :, None]

    torch.testing.assert_close(standardized(pixels)[0, :, :, 0], torch.tensor([[0.0, 1.0]]).expand(3, 2))
    assert set(PIXELS) == {"intensity", "density", "standardized"}


def test_a_kernel_of_one_keeps_the_size() -> None:
    layer = conv_relu(3, 5, "none", kernel=1)

    assert layer(torch.rand(1, 3, 4, 6)).shape == (1, 5, 4, 6)
    assert layer[0].weight.shape == (5, 3, 1, 1)
