"""Slides and networks whose answers follow from a formula."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qpbridge.core.arrays import LabelMap, RgbImage
from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region, View
from qpbridge.core.progress import SilentProgress
from qpbridge.inference.device import Runtime
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.inference.interest import Interest
from qpbridge.inference.maps.blending import Plan, Probabilities, Strip, rows_of
from qpbridge.inference.predicting import Coverage, Scene
from qpbridge.models.spec import ModelClass

HALF = PixelCalibration.square(0.5)
CLASSES = tuple(ModelClass(name=name, color_rgb=(0, 0, 0)) for name in ("Tumor", "Stroma", "Background"))
WHOLE = Region(x_px=0, y_px=0, width_px=150, height_px=110)


class FormulaSlide:
    """A slide of 150 x 110 px whose color at a point follows from its place; white outside."""

    def read(self, region: Region, width: int, height: int) -> RgbImage:
        x = np.floor(region.x_px + (np.arange(width) + 0.5) * region.width_px / width).astype(np.int64)
        y = np.floor(region.y_px + (np.arange(height) + 0.5) * region.height_px / height).astype(np.int64)
        inside = ((y >= 0) & (y < 110))[:, None] & ((x >= 0) & (x < 150))[None]
        value = (x[None] * 7919 + y[:, None] * 104729 + (x[None] // 9) * (y[:, None] // 7) * 31) % 256
        image = np.stack([value, (value * 3) % 256, (value * 5) % 256], axis=-1)
        return np.where(inside[..., None], image, 255).astype(np.uint8)


class Blur(nn.Module):
    """Three classes by the mean color of squares of 2 * radius + 1 pixels; sees black outside its tile."""

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.edge = 2 * radius + 1

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"logits": 3 * nn.functional.avg_pool2d(views["fine"], self.edge, stride=1, padding=self.edge // 2)}


class TileBound(nn.Module):
    """One answer for a whole tile, of its upper left pixel: leaves seams wherever tiles meet."""

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        corner = views["fine"][..., 5:6, 5:6]
        return {"logits": corner.expand_as(views["fine"]) * 4}


class Collected:
    """Everything that the takers are told."""

    def __init__(self) -> None:
        self.strips: list[Strip] = []
        self.labels: LabelMap = np.empty((0, 0), np.uint8)

    def take(self, strip: Strip) -> None:
        assert strip.y == sum(len(one.seen) for one in self.strips)
        self.strips.append(strip)

    @property
    def probabilities(self) -> Probabilities:
        return np.concatenate([strip.probabilities for strip in self.strips], axis=1)


class Predicting:
    """Predicts a formula."""

    whole = WHOLE
    classes = CLASSES
    blur = Blur
    tile_bound = TileBound

    @staticmethod
    def engine(network: nn.Module, edge: int) -> Engine:
        views = (View(name="fine", fov=FieldOfView(size_px=edge, mpp=0.5)),)
        segmenter = Segmenter(
            network=network, views=views, classes=CLASSES, probabilities=lambda outputs: outputs["logits"].softmax(1)
        )
        return Engine(segmenter, Runtime(device=torch.device("cpu"), batch_size=3), SilentProgress())

    @staticmethod
    def scene(region: Region = WHOLE, tissue: Coverage | None = None, interest: Interest | None = None) -> Scene:
        return Scene(slide=FormulaSlide(), calibration=HALF, region=region, tissue=tissue, interest=interest)

    def __call__(
        self, network: nn.Module, edge: int, margin: int, scene: Scene | None = None, is_blended: bool = True
    ) -> Collected:
        collected = Collected()
        plan = Plan(margin_px=margin, is_blended=is_blended, takers=(collected,))
        for mosaic, rows in rows_of(self.engine(network, edge), scene or self.scene(), SilentProgress(), plan):
            collected.labels = mosaic.labels[:rows]
        return collected


@pytest.fixture(scope="session")
def predicting() -> Predicting:
    return Predicting()
