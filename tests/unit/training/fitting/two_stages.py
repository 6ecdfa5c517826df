"""A family of two stages, small enough to see through: a color in the first, pixels labelled by it in the second."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from shapely import box
from torch import Tensor, nn

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import SilentProgress
from qpbridge.inference.device import Runtime
from qpbridge.models.families.dmmn import DMMN, DmmnConfig
from qpbridge.models.family import LABELS, MASKS, Outputs, Stage, Targets, Truth
from qpbridge.models.losses import weighted_cross_entropy
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import ModelClass
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.training.fitting.course import Samples, Setting
from qpbridge.training.patches import LabelledSlide, Labels, PatchSet
from qpbridge.training.reading import PatchReader, SampleMaker

CLASSES = [ModelClass(name="Red", color_rgb=(200, 0, 0)), ModelClass(name="Green", color_rgb=(0, 200, 0))]
SPEC = DMMN.spec(DmmnConfig(variant="unet", patch_px=32, mpp=1.0), CLASSES)
FOV = SPEC.views[0].fov
RECIPE = Recipe(optimizer="adamw", learning_rate=0.05, batch_size=4, epochs=3, ema_decay=0.5, mild_elastic_alpha=0)


class TwoParts(nn.Module):
    """Labels pixels by their color, twice; prediction takes the second part."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 2, kernel_size=1), nn.BatchNorm2d(2))
        self.second = nn.Conv2d(3, 2, kernel_size=1)

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"logits": self.second(views["x1"])}


def label(network: Any, views: dict[str, Tensor], _targets: Targets) -> Tensor:
    """By the first part; the left column is left open."""
    labels: Tensor = network.first(views["x1"]).argmax(dim=1, keepdim=True)
    labels[..., 0] = IGNORE_INDEX
    return labels


def loss(outputs: Outputs, targets: Targets, class_weights: Tensor, label_smoothing: float = 0.0) -> Tensor:
    return weighted_cross_entropy(outputs["logits"], targets[LABELS], class_weights, label_smoothing)


def run_first(network: Any, views: dict[str, Tensor], _targets: Targets, _epoch: int) -> Outputs:
    return {"logits": network.first(views["x1"])}


def encode(truth: Truth) -> dict[str, np.ndarray[Any, Any]]:
    return {} if truth.masks is None else {MASKS: truth.masks.astype(np.int64)}


FIRST = Stage(name="first", loss=loss, epochs=2, learns=lambda network: network.first, run=run_first)
SECOND = Stage(name="second", loss=loss, learns=lambda network: network.second, label=label, is_weighted=False)
FAMILY: Any = replace(
    DMMN,
    build=lambda *_: TwoParts(),
    loss=None,
    stages=lambda _config: (FIRST, SECOND),
    asks_for=frozenset({"masks"}),
    encoder=lambda _config: encode,
)
SETTING = Setting(family=FAMILY, spec=SPEC, recipe=RECIPE, runtime=Runtime(device=torch.device("cpu")), seed=0)


def colored_slide() -> LabelledSlide:
    """Red on the left, green on the right, of which some is labelled."""
    pixels = np.full((96, 192, 3), (170, 60, 60), np.uint8)
    pixels[:, 96:] = (60, 170, 60)
    source = ArraySource([pixels])
    shapes = ((box(0, 0, 64, 96), 0), (box(128, 0, 192, 96), 1))
    return LabelledSlide(key="1", slide=Slide(source), calibration=PixelCalibration.square(1.0), shapes=shapes)


def samples_of(slide: LabelledSlide, recipe: Recipe = RECIPE) -> Samples:
    labels = Labels([slide], FOV, 2)
    patches, counts = labels.find(32, 0.01, SilentProgress())
    maker = SampleMaker(PatchReader([slide], SPEC.views), SPEC.views, recipe, 0, FAMILY.encoding(SPEC))
    training = PatchSet(patches=patches, counts=counts, labels=labels)
    return Samples(training=training, validation=training, maker=maker)
