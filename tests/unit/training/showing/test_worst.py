from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from shapely import box
from torch import Tensor, nn

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import SilentProgress
from qpbridge.inference.device import Runtime
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.models.families.dmmn import DMMN, DmmnConfig
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import ModelClass
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.training.patches import LabelledSlide, Labels, Patch, PatchSet
from qpbridge.training.reading import PatchReader, SampleMaker
from qpbridge.training.showing import worst
from qpbridge.training.showing.worst import EDGE_MAX_PX, Tile, pictures, worst_tiles

CLASSES = [ModelClass(name="Red", color_rgb=(255, 0, 0)), ModelClass(name="Green", color_rgb=(0, 255, 0))]
SPEC = DMMN.spec(DmmnConfig(variant="unet", width=2, patch_px=64), CLASSES)


class Greener(nn.Module):
    """Says Green where a pixel is greener than red."""

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        red, green, _ = views["x1"].unbind(1)
        return {"logits": torch.stack([red - green, green - red], dim=1)}


def engine() -> Engine:
    segmenter = Segmenter(network=Greener(), views=SPEC.views, classes=SPEC.classes, probabilities=DMMN.probabilities)
    return Engine(segmenter, Runtime(device=torch.device("cpu"), batch_size=2), SilentProgress())


def validation_of(shares: Sequence[float]) -> tuple[PatchSet, SampleMaker]:
    """Patches that are annotated as red, of which a share of the columns is green, and of which the last row is not."""
    pixels = np.full((64, 64 * len(shares), 3), (200, 50, 50), np.uint8)
    for i, share in enumerate(shares):
        pixels[:, 64 * i : 64 * i + round(64 * share)] = (50, 200, 50)
    shapes = ((box(0, 0, pixels.shape[1], 63), 0),)
    slide = LabelledSlide(
        key="1", slide=Slide(ArraySource([pixels])), calibration=PixelCalibration.square(0.5), shapes=shapes
    )
    labels = Labels([slide], SPEC.views[0].fov, 2)
    patches, counts = labels.find(64, 0.01, SilentProgress())
    maker = SampleMaker(PatchReader([slide], SPEC.views), SPEC.views, Recipe(), 0, DMMN.encoding(SPEC))
    return PatchSet(patches=patches, counts=counts, labels=labels), maker


def centers(tiles: Sequence[Tile]) -> list[int]:
    return [int(tile.patch.center_px[0]) // 64 for tile in tiles]


def test_the_worst_patches_come_first_and_those_without_errors_not_at_all() -> None:
    validation, maker = validation_of([0.25, 0, 1, 0.5, 0.75])

    tiles = worst_tiles(engine(), validation, maker, SilentProgress(), count=3)

    assert centers(tiles) == [2, 4, 3]
    assert [tile.wrong_px for tile in tiles] == [63 * 64, 63 * 48, 63 * 32]
    assert {tile.labelled_px for tile in tiles} == {63 * 64}
    assert (tiles[2].image[0, 0] == (50, 200, 50)).all()
    assert tiles[2].predicted[0].tolist() == [1] * 32 + [0] * 32
    assert (tiles[2].labels[63] == IGNORE_INDEX).all()
    assert worst_tiles(engine(), *validation_of([0, 0]), SilentProgress()) == []


def test_of_equally_wrong_patches_the_first_are_shown() -> None:
    validation, maker = validation_of([0.5, 0.5, 0.5])

    assert centers(worst_tiles(engine(), validation, maker, SilentProgress(), count=2)) == [0, 1]


def test_of_very_many_patches_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worst, "LOOKED_AT", 2)

    assert centers(worst_tiles(engine(), *validation_of([0.1, 0.9, 0.8, 0.7]), SilentProgress())) == [2, 0]


def test_pictures_color_what_is_known() -> None:
    gray = np.full((400, 800, 3), 100, np.uint8)
    labels = np.full((400, 800), IGNORE_INDEX, np.uint8)
    labels[:, 400:] = 1
    patch: Any = Patch(slide=0, center_px=(0, 0))

    files = pictures(
        Tile(patch=patch, image=gray, labels=labels, predicted=np.zeros_like(labels)), [(255, 0, 0), (0, 255, 0)]
    )

    shown = {
        name: cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
        for name, one in files.items()
    }
    assert {one.shape for one in shown.values()} == {(EDGE_MAX_PX // 2, EDGE_MAX_PX, 3)}
    assert abs(shown["picture"] - 100).max() < 5
    left, right = shown["annotation"][80, 40], shown["annotation"][80, 280]
    assert abs(left - 100).max() < 5
    assert right[1] > right[0] + 50
    assert (shown["prediction"][..., 0] > shown["prediction"][..., 1] + 50).all()
