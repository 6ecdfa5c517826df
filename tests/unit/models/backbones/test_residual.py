import torch
from torch import nn

from qpbridge.models.backbones.residual import Residual, halving, light_channels, light_levels, light_parts, stem
from qpbridge.models.blocks import initialize


@torch.no_grad()
def test_light_levels_have_the_shapes_of_resnet18_at_the_same_width() -> None:
    x, shapes = torch.rand(1, 3, 64, 32), []

    for level in light_levels(4).eval():
        x = level(x)
        shapes.append(tuple(x.shape[1:]))

    assert shapes == [(width, 32 >> i, 16 >> i) for i, width in enumerate(light_channels(4))]
    assert light_channels(64) == (64, 64, 128, 256, 512)


@torch.no_grad()
def test_light_parts_keep_cells_of_eight_pixels_and_end_without_negative_values() -> None:
    x, shapes = torch.rand(2, 3, 32, 40), []

    for part in light_parts(4).train():
        x = part(x)
        shapes.append(tuple(x.shape[1:]))

    assert shapes == [(16, 4, 5), (16, 4, 5), (32, 4, 5)]
    assert x.min() == 0


@torch.no_grad()
def test_a_cell_lies_at_the_center_of_what_it_stands_for() -> None:
    """A mirrored image gives the mirrored map, which strides that skip pixels would not."""
    torch.manual_seed(0)
    network = nn.Sequential(stem(4), halving(4, 6), halving(6, 8)).eval()
    initialize(network)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(layer.weight + layer.weight.flip(3))
    x = torch.rand(1, 3, 32, 32)

    torch.testing.assert_close(network(x.flip(3)), network(x).flip(3))


def test_a_residual_unit_adds_to_its_input() -> None:
    unit = Residual(3, 3).eval()
    with torch.no_grad():
        unit.body[-1].weight.zero_()
    x = torch.rand(1, 3, 5, 7)

    assert torch.equal(unit(x), x)
    assert Residual(3, 5, dilation=2)(torch.rand(2, 3, 5, 7)).shape == (2, 5, 5, 7)
