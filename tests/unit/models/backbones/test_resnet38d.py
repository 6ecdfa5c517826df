import torch
from torch import nn

from qpbridge.models.backbones.resnet38d import FixedNorm, Unit, resnet38d_parts


@torch.no_grad()
def test_the_maps_of_the_parts_have_cells_of_eight_pixels() -> None:
    x, shapes = torch.rand(1, 3, 48, 64), []

    for part in resnet38d_parts(2).eval():
        x = part(x)
        shapes.append(tuple(x.shape[1:]))

    assert shapes == [(16, 6, 8), (32, 6, 8), (128, 6, 8)]
    assert x.min() == 0


def test_the_maps_are_as_wide_as_published() -> None:
    with torch.device("meta"):
        parts, x = resnet38d_parts(), torch.empty(1, 3, 224, 224)
        shapes = [tuple((x := part(x)).shape[1:]) for part in parts]

    assert shapes == [(512, 28, 28), (1024, 28, 28), (4096, 28, 28)]
    assert sum(p.numel() for p in parts.parameters()) == 105_087_296 - 4 * 4096


def test_the_dilations_are_as_published() -> None:
    with torch.device("meta"):
        _, middle, end = resnet38d_parts()

    dilations = [
        [layer.dilation[0] for name, layer in part.named_modules() if isinstance(layer, nn.Conv2d) and "body" in name]
        for part in (middle, end)
    ]
    assert dilations == [[1, 2, 2, 2, 2, 2], [1, 4, 1, 1, 4, 1]]


def test_what_is_frozen_is_not_trained_and_its_statistics_stay() -> None:
    parts = resnet38d_parts(2, is_frozen=True).train()
    norms = [layer for layer in parts.modules() if isinstance(layer, nn.BatchNorm2d)]

    x = torch.rand(2, 3, 32, 32)
    for part in parts:
        x = part(x)

    assert len(norms) > 0
    assert all(isinstance(norm, FixedNorm) and not norm.training for norm in norms)
    assert all((norm.running_mean == 0).all() for norm in norms)
    assert not any(p.requires_grad for p in parts[0][0].parameters())
    assert all(p.requires_grad for p in parts[0][1].body.parameters() if p.ndim == 4)


def test_the_shortcut_of_a_unit_starts_from_the_normalized_input_where_shapes_change() -> None:
    same, wider = Unit(nn.BatchNorm2d, (3, 3, 3)), Unit(nn.BatchNorm2d, (3, 4, 5), stride=2)

    assert same.shortcut is None
    assert wider(torch.rand(2, 3, 8, 8)).shape == (2, 5, 4, 4)
    with torch.no_grad():
        wider.body[-1].weight.zero_()
        x = torch.rand(2, 3, 8, 8)
        assert wider.shortcut is not None
        torch.testing.assert_close(wider.eval()(x), wider.shortcut(wider.entry(x)))
