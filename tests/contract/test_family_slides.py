"""What every family must do on a slide: learn the same for a seed, and predict the same wherever its tiles lie."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from shapely import box

from qpbridge.core.arrays import LabelMap
from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.progress import SilentProgress
from qpbridge.inference.device import Runtime
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.inference.predicting import Scene, predict_labels
from qpbridge.models.family import Family
from qpbridge.models.recipe import Recipe
from qpbridge.models.registry import FAMILIES
from qpbridge.models.spec import ModelClass, ModelSpec
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.training.fitting.loop import Fitted, Trainer
from qpbridge.training.patches import LabelledSlide, Labels, PatchSet
from qpbridge.training.reading import PatchReader, SampleMaker

pytestmark = pytest.mark.slow
WIDTH, HEIGHT, PITCH, SIDE = 230, 190, 40, 22
CLASSES = [ModelClass(name=name, color_rgb=(0, 0, 0)) for name in ("Dark", "Pale", "Background")]
COLORS = ((90, 40, 120), (230, 130, 190), (170, 200, 160))
TINY: dict[str, dict[str, object]] = {
    "dmmn": {"variant": "m3", "width": 4, "patch_px": 64, "norm": "batch", "mpp": 1.0},
    "multiscale": {"variant": "msy2", "backbone": "light", "width": 4, "patch_px": 64, "norm": "batch", "mpp": 1.0},
    "foveation": {"segmenter": "unet", "width": 4, "patch_px": 64, "fields_px": (64, 96, 128), "mpp": 1.0},
    "use_net": {"variant": "unet", "width": 4, "patch_px": 64, "weights": "random", "class_head": True, "mpp": 1.0},
}
"""The main variant of each family, small."""

RECIPE = Recipe(
    optimizer="adamw", learning_rate=0.02, schedule="cosine", batch_size=4, epochs=2, samples_per_epoch=96,
    stride_px=16, repeats_max=0, mild_elastic_alpha=0, color_p=0,
)  # fmt: skip
SLOWER: dict[str, dict[str, Any]] = {"foveation": {"epochs": 3, "learning_rate": 0.01}, "use_net": {"epochs": 4}}
CPU = Runtime(device=torch.device("cpu"))


@pytest.fixture(params=[one for one in FAMILIES if "tags" not in one.asks_for], ids=lambda one: one.name)
def family(request: pytest.FixtureRequest) -> Family[Any]:
    return request.param  # type: ignore[no-any-return]


@cache
def slide() -> LabelledSlide:
    """Squares of two classes on a ground of a third."""
    ground = box(0, 0, WIDTH, HEIGHT)
    squares = [
        (box(x, y, x + SIDE, y + SIDE), (x // PITCH + y // PITCH) % 2)
        for x in range(9, WIDTH - SIDE, PITCH)
        for y in range(9, HEIGHT - SIDE, PITCH)
    ]
    pixels = np.full((HEIGHT, WIDTH, 3), COLORS[2], np.int64)
    for square, label in squares:
        left, top, right, bottom = (int(value) for value in square.bounds)
        pixels[top:bottom, left:right] = COLORS[label]
    pixels += np.random.default_rng(0).integers(-20, 21, pixels.shape)
    return LabelledSlide(
        key="1",
        slide=Slide(ArraySource([pixels.clip(0, 255).astype(np.uint8)])),
        calibration=PixelCalibration.square(1.0),
        shapes=((ground, 2), *squares),
        nuclei=tuple(square for square, _ in squares),
    )


def spec_of(family: Family[Any]) -> ModelSpec:
    return family.spec(family.config_type(**TINY[family.name]), CLASSES)


def fit(family: Family[Any], seed: int, recipe: Recipe = RECIPE) -> Fitted:
    spec = spec_of(family)
    labels = Labels([slide()], spec.views[0].fov, len(CLASSES))
    patches, counts = labels.find(recipe.stride_px, 0.3, SilentProgress())
    training = PatchSet(patches=patches, counts=counts, labels=labels)
    judged = PatchSet(patches=patches[:2], counts=counts[:2], labels=labels)
    maker = SampleMaker(PatchReader([slide()], spec.views), spec.views, recipe, seed, family.encoding(spec))
    return Trainer(family, spec, recipe, CPU, seed).fit(training, judged, maker, SilentProgress())


@cache
def trained(name: str) -> Fitted:
    return fit(next(one for one in FAMILIES if one.name == name), 0, replace(RECIPE, **SLOWER.get(name, {})))


def predicted(family: Family[Any], region: Region, margin_px: int) -> LabelMap:
    """Labels of a region, tile by tile; the grid begins at its corner."""
    spec = spec_of(family)
    segmenter = Segmenter(
        network=trained(family.name).network,
        views=spec.views,
        classes=spec.classes,
        probabilities=family.probabilities,
    )
    scene = Scene(slide=slide().slide, calibration=slide().calibration, region=region)
    return predict_labels(Engine(segmenter, CPU, SilentProgress()), scene, SilentProgress(), margin_px).labels


def region(x: int, y: int, width: int, height: int) -> Region:
    return Region(x_px=x, y_px=y, width_px=width, height_px=height)


WHOLE = region(0, 0, WIDTH, HEIGHT)


def truth() -> LabelMap:
    fov = spec_of(FAMILIES[0]).views[0].fov
    labels = Labels([slide()], fov, len(CLASSES))
    return labels._indices[0].rasterize(WHOLE, WIDTH, HEIGHT)


def test_a_family_learns_and_labels_a_slide_of_any_size(family: Family[Any]) -> None:
    labels = predicted(family, WHOLE, 8)

    assert labels.shape == (HEIGHT, WIDTH)
    assert (labels == truth()).mean() > 0.85


@pytest.mark.parametrize(("x", "y", "width", "height"), [(13, 7, 171, 143), (31, 25, 129, 101)])
@pytest.mark.parametrize("margin_px", [8, 20])
def test_predictions_do_not_depend_on_size_and_offset_of_tiles(
    family: Family[Any], x: int, y: int, width: int, height: int, margin_px: int
) -> None:
    whole = predicted(family, WHOLE, 8)

    part = predicted(family, region(x, y, width, height), margin_px)

    # Pooling sees other groups of pixels where a grid begins elsewhere: borders move by a pixel here and there.
    assert part.shape == (height, width)
    assert (part == whole[y : y + height, x : x + width]).mean() > 0.93


def test_one_seed_gives_one_training(family: Family[Any]) -> None:
    short = replace(RECIPE, epochs=1, samples_per_epoch=8)

    one, same, other = (fit(family, seed, short) for seed in (1, 1, 2))

    weights = [fitted.network.state_dict() for fitted in (one, same, other)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not all(torch.equal(value, weights[2][name]) for name, value in weights[0].items())
    assert [record.training_loss for record in one.records] == [record.training_loss for record in same.records]
