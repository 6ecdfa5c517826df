"""An interrupted training gives the losses and the weights of an uninterrupted one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from shapely import box

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError
from qpbridge.inference.device import Runtime
from qpbridge.models.families.dmmn import DMMN, DmmnConfig
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import ModelClass
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.training.fitting.checkpoints import CheckpointFile
from qpbridge.training.fitting.loop import Fitted, Trainer
from qpbridge.training.patches import LabelledSlide, Labels, PatchSet
from qpbridge.training.reading import PatchReader, SampleMaker

CLASSES = [ModelClass(name="Red", color_rgb=(200, 0, 0)), ModelClass(name="Green", color_rgb=(0, 200, 0))]
SPEC = DMMN.spec(DmmnConfig(variant="unet", width=2, patch_px=32, norm="batch"), CLASSES)
RECIPE = Recipe(
    optimizer="adamw", learning_rate=0.02, schedule="cosine", batch_size=4, epochs=5, ema_decay=0.9, stride_px=32,
    sampling="errors", samples_per_epoch=12, paste_p=0.5, rotation_p=1, stain_jitter=0.1,
)  # fmt: skip


class StopsIn(SilentProgress):
    """Is cancelled at a step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.reached = 0
        self.steps: list[int] = []

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        del total, numbers
        if stage == "train":
            self.reached = done
            # The end of an epoch tells the last step once more, with what came out.
            self.steps += [done] if done not in self.steps else []

    def raise_if_cancelled(self) -> None:
        if self.reached >= self.step:
            raise CancelledError("stopped")


@pytest.fixture(scope="module")
def slide() -> LabelledSlide:
    pixels = np.full((128, 128, 3), (170, 60, 60), np.uint8)
    pixels[:, 70:] = (60, 170, 60)
    noise = np.random.default_rng(0).integers(-40, 41, pixels.shape)
    source = ArraySource([np.clip(pixels + noise, 0, 255).astype(np.uint8)])
    shapes = ((box(0, 0, 70, 100), 0), (box(70, 0, 128, 128), 1))
    return LabelledSlide(key="1", slide=Slide(source), calibration=PixelCalibration.square(0.5), shapes=shapes)


def fit(
    slide: LabelledSlide, recipe: Recipe, kept: CheckpointFile | None = None, progress: SilentProgress | None = None
) -> Fitted:
    labels = Labels([slide], SPEC.views[0].fov, 2)
    patches, counts = labels.find(recipe.stride_px, 0.01, SilentProgress())
    training = PatchSet(patches=patches, counts=counts, labels=labels)
    maker = SampleMaker(PatchReader([slide], SPEC.views), SPEC.views, recipe, 0, DMMN.encoding(SPEC))
    trainer = Trainer(DMMN, SPEC, recipe, Runtime(device=torch.device("cpu")), 0)
    return trainer.fit(training, training, maker, progress or SilentProgress(), kept)


@pytest.mark.parametrize("step", [4, 8, 14])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    slide: LabelledSlide, tmp_path: Path, step: int, optimizer: str
) -> None:
    recipe = replace(RECIPE, optimizer=optimizer)
    kept = CheckpointFile(tmp_path / "c", "same")
    with pytest.raises(CancelledError):
        fit(slide, recipe, kept, StopsIn(step))

    resumed = fit(slide, recipe, kept)

    whole = fit(slide, recipe)
    plain, other = ([replace(record, duration_s=0) for record in one.records] for one in (whole, resumed))
    assert other == plain
    assert resumed.best.epoch == whole.best.epoch
    np.testing.assert_array_equal(resumed.confusion.counts, whole.confusion.counts)
    for one, same in zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(one, same)


def test_only_the_epochs_that_are_missing_are_trained(slide: LabelledSlide, tmp_path: Path) -> None:
    kept = CheckpointFile(tmp_path / "c", "same")
    with pytest.raises(CancelledError):
        fit(slide, RECIPE, kept, StopsIn(7))
    progress = StopsIn(10**9)

    fit(slide, RECIPE, kept, progress)

    assert progress.steps == list(range(7, 16))
