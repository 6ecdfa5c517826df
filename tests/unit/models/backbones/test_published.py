from typing import Any

import httpx
import pytest
import timm
import torch

from qpbridge.errors import WeightsMissingError
from qpbridge.models.backbones.published import RESNET18_CHANNELS, resnet18_levels, resnet50_parts, timm_network


@torch.no_grad()
def test_resnet18_halves_the_edge_with_every_level() -> None:
    x, shapes = torch.rand(1, 3, 64, 96), []

    for level in resnet18_levels("random").eval():
        x = level(x)
        shapes.append(tuple(x.shape[1:]))

    assert shapes == [(width, 32 >> i, 48 >> i) for i, width in enumerate(RESNET18_CHANNELS)]


def test_no_branch_of_resnet18_starts_at_zero() -> None:
    norms = [layer for layer in resnet18_levels("random").modules() if isinstance(layer, torch.nn.BatchNorm2d)]

    assert len(norms) == 20
    assert all((layer.weight == 1).all() for layer in norms)


def test_the_parts_of_resnet50_keep_cells_of_eight_pixels() -> None:
    with torch.device("meta"):
        parts, x = resnet50_parts("imagenet"), torch.empty(1, 3, 64, 80)

        shapes = [tuple((x := part(x)).shape[1:]) for part in parts]

    assert shapes == [(512, 8, 10), (1024, 8, 10), (2048, 8, 10)]


@pytest.mark.parametrize("kind", [FileNotFoundError, RuntimeError, httpx.ConnectError])
def test_weights_that_cannot_be_fetched_are_told_with_what_to_do(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise kind("no connection")

    monkeypatch.setattr(timm, "create_model", offline)

    with pytest.raises(WeightsMissingError, match=r"weights of resnet18 .* \(no connection\): .*--set weights=random"):
        timm_network("resnet18", "imagenet")
    with pytest.raises(kind):
        timm_network("resnet18", "random")


@pytest.mark.parametrize(
    ("weights", "device", "expected"),
    [("imagenet", "cpu", True), ("random", "cpu", False), ("imagenet", "meta", False)],
)
def test_weights_are_fetched_only_where_they_are_wanted(
    weights: str, device: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(timm, "create_model", lambda _, **options: asked.append(options))

    with torch.device(device):
        timm_network("resnet18", weights, num_classes=0)

    assert asked == [{"pretrained": expected, "num_classes": 0}]
