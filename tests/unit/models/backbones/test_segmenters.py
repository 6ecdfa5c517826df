import pytest
import torch
from torch import nn

from qpbridge.models.backbones.segmenters import HighResolutionNet, Padded, UNet
from qpbridge.models.blocks import padded


def test_hrnet_with_its_head_has_as_many_parameters_as_published() -> None:
    with torch.device("meta"):
        network = HighResolutionNet("hrnet_w48", "imagenet", 4)

    assert sum(p.numel() for p in network.parameters()) == 66_492_604
    assert sum(p.numel() for p in network.trunk.parameters()) == 65_325_120


def test_every_parameter_of_an_hrnet_takes_part() -> None:
    torch.manual_seed(0)
    network = Padded(HighResolutionNet("hrnet_w18_small", "random", 2), 32)

    logits = network(torch.rand(2, 3, 70, 35))
    logits.square().sum().backward()

    assert logits.shape == (2, 2, 70, 35)
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (16, 32), (17, 50)])
@torch.no_grad()
def test_a_padded_network_takes_any_size(size: tuple[int, int]) -> None:
    network = Padded(UNet(2, "batch", 3), 16).eval()
    x = torch.rand(1, 3, *size)

    assert network(x).shape == (1, 3, *size)
    assert torch.equal(network(x), network.network(padded(x, 16))[..., : size[0], : size[1]])


def test_padding_shifts_nothing() -> None:
    x = torch.rand(1, 3, 21, 30)

    assert torch.equal(Padded(nn.Identity(), 8)(x), x)
