"""Tile objects with what a network says of places."""

from collections.abc import Sequence

import numpy as np
import pytest
import shapely
import torch
from torch import Tensor, nn

from qpbridge.core.arrays import RgbImage
from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region, View
from qpbridge.core.objects import ObjectKind, PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.inference.device import Runtime
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.inference.objects import Identity
from qpbridge.inference.predicting import Scene
from qpbridge.inference.surveying import survey_tiles
from qpbridge.models.family import Survey

VIEW = View(name="x1", fov=FieldOfView(size_px=8, mpp=1.0))
WIDE = View(name="wide", fov=FieldOfView(size_px=2, mpp=8.0))


class Ramp:
    """A slide whose red is the column, level-0 px."""

    def read(self, region: Region, width: int, height: int) -> RgbImage:
        columns = region.x_px + (np.arange(width) + 0.5) * region.width_px / width
        image = np.zeros((height, width, 3), np.uint8)
        image[..., 0] = np.clip(columns, 0, 255)
        return image


class LeftOf:
    """Tissue left of a column."""

    def __init__(self, x_px: float) -> None:
        self.x_px = x_px

    def covers(self, region: Region) -> bool:
        return region.x_px < self.x_px


class Redness(nn.Module):
    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        red = 255 * views["wide"][:, 0].mean(dim=(1, 2))
        return {"said": torch.stack([red, -red], dim=1)}


def surveyed(scene: Scene, batch_size: int = 2) -> Sequence[PathObject]:
    runtime = Runtime(device=torch.device("cpu"), batch_size=batch_size)
    engine = Engine(
        Segmenter(network=nn.Identity(), views=(VIEW,), classes=(), probabilities=lambda outputs: outputs["x1"]),
        runtime,
        SilentProgress(),
    )
    survey = Survey(network=Redness(), views=(WIDE,), head="said", names=("Red", "Not red"))
    identity = Identity(slide="s", model="m")
    return survey_tiles(survey, engine, scene, identity, SilentProgress(), margin_px=0)


def scene(width_px: float, tissue: LeftOf | None = None) -> Scene:
    region = Region(x_px=0, y_px=0, width_px=width_px, height_px=8)
    return Scene(slide=Ramp(), calibration=PixelCalibration.square(1.0), region=region, tissue=tissue)


def test_each_tile_carries_what_is_said_of_its_place() -> None:
    tiles = surveyed(scene(width_px=44))

    assert [item.geometry.bounds for item in tiles[:2]] == [(0, 0, 8, 8), (8, 0, 16, 8)]
    assert tiles[-1].geometry.bounds == (40, 0, 44, 8)
    assert {item.kind for item in tiles} == {ObjectKind.TILE}
    # Only the survey's own view is read: 16 px around the middle of a tile, two pixels at 8 and 16 for the second.
    assert tiles[2].measurements == pytest.approx({"Red": 20, "Not red": -20}, abs=1e-3)
    assert sum(shapely.area([item.geometry for item in tiles])) == 44 * 8


def test_tiles_without_tissue_are_left_out() -> None:
    assert len(surveyed(scene(width_px=40, tissue=LeftOf(20)))) == 3


def test_ids_are_distinct_and_the_same_again_whatever_the_batch() -> None:
    first, second = ([item.id for item in surveyed(scene(width_px=40), batch)] for batch in (1, 3))

    assert first == second
    assert len(set(first)) == len(first) == 5
