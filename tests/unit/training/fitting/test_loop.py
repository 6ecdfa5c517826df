import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from shapely import box
from torch import Tensor, nn

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, InvalidValueError
from qpbridge.inference.device import Runtime
from qpbridge.models.families.dmmn import DMMN, DmmnConfig
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import ModelClass, ModelSpec
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.training.balancing import Sample
from qpbridge.training.fitting.loop import Fitted, Trainer
from qpbridge.training.patches import LabelledSlide, Labels, Patch, PatchSet
from qpbridge.training.reading import PatchPixels, PatchReader, SampleMaker

SPEC: ModelSpec = DMMN.spec(
    DmmnConfig(variant="unet", width=2, patch_px=64, norm="batch"),
    [ModelClass(name="Red", color_rgb=(200, 0, 0)), ModelClass(name="Green", color_rgb=(0, 200, 0))],
)
FOV = SPEC.views[0].fov
CPU, QUIET = Runtime(device=torch.device("cpu")), SilentProgress()
STEADY = Recipe(learning_rate=1.0, momentum=0, weight_decay=0, batch_size=1, repeats_max=0)


class RecordingMaker(SampleMaker):
    """Tells which samples were asked for."""

    def __init__(self, slides: Sequence[LabelledSlide], recipe: Recipe, seed: int = 0) -> None:
        super().__init__(PatchReader(slides, SPEC.views), SPEC.views, recipe, seed, DMMN.encoding(SPEC))
        self.asked: list[tuple[tuple[int, int], Sample]] = []

    def augmented(self, sample: Sample, patches: Sequence[Patch], labels: Labels, turn: tuple[int, int]) -> PatchPixels:
        self.asked.append((turn, sample))
        return super().augmented(sample, patches, labels, turn)


@pytest.fixture(scope="module")
def slide() -> LabelledSlide:
    """Red on the left, green on the right; annotated are three quarters of the red and all of the green."""
    pixels = np.full((128, 256, 3), (170, 60, 60), np.uint8)
    pixels[:, 160:] = (60, 170, 60)
    noise = np.random.default_rng(0).integers(-40, 41, pixels.shape)
    source = ArraySource([np.clip(pixels + noise, 0, 255).astype(np.uint8)])
    shapes = ((box(0, 0, 160, 96), 0), (box(160, 0, 256, 128), 1))
    return LabelledSlide(key="1", slide=Slide(source), calibration=PixelCalibration.square(0.5), shapes=shapes)


def patches_of(slide: LabelledSlide, stride_px: int = 64) -> PatchSet:
    labels = Labels([slide], FOV, 2)
    patches, counts = labels.find(stride_px, 0.01, QUIET)
    return PatchSet(patches=patches, counts=counts, labels=labels)


def middle_of(slide: LabelledSlide) -> PatchSet:
    """One patch that holds both classes, more of the first."""
    labels = Labels([slide], FOV, 2)
    patch = Patch(slide=0, center_px=(150, 40))
    return PatchSet(patches=[patch], counts=labels.count(patch)[None], labels=labels)


def fit(
    slide: LabelledSlide, recipe: Recipe, *, seed: int = 0, family: Any = DMMN, runtime: Runtime = CPU, **sets: PatchSet
) -> Fitted:
    training = sets.get("training", patches_of(slide))
    maker = RecordingMaker([slide], recipe, seed)
    return Trainer(family, SPEC, recipe, runtime, seed).fit(training, sets.get("validation", training), maker, QUIET)


def test_two_colors_are_learnt_in_seconds(slide: LabelledSlide) -> None:
    recipe = Recipe(optimizer="adamw", learning_rate=0.02, schedule="cosine", batch_size=4, epochs=8)

    fitted = fit(slide, recipe)

    assert fitted.best.mean_iou > 0.95
    assert fitted.confusion.mean_iou == fitted.best.mean_iou
    assert fitted.records[-1].training_loss < 0.8 * fitted.records[0].training_loss
    assert [record.epoch for record in fitted.records] == list(range(1, 9))
    assert fitted.confusion.labelled_px == 160 * 96 + 96 * 128


def test_the_network_comes_back_as_it_was_in_the_best_epoch(slide: LabelledSlide) -> None:
    recipe = Recipe(optimizer="adamw", learning_rate=0.02, batch_size=4, epochs=4, ema_decay=0.5)

    fitted = fit(slide, recipe)

    assert not fitted.network.training
    labels = Labels([slide], FOV, 2)
    reader = PatchReader([slide], SPEC.views)
    right = wrong = 0
    for patch in patches_of(slide).patches:
        pixels = torch.from_numpy(reader.read(patch)[0]).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            predicted = fitted.network({"x1": pixels})["logits"].argmax(1)[0].numpy()
        truth = labels.of(patch)
        right += np.count_nonzero((predicted == truth) & (truth != IGNORE_INDEX))
        wrong += np.count_nonzero((predicted != truth) & (truth != IGNORE_INDEX))
    assert right == np.diagonal(fitted.confusion.counts).sum()
    assert right + wrong == fitted.confusion.labelled_px


def weights_of(fitted: Fitted) -> list[Tensor]:
    return list(fitted.network.state_dict().values())


def test_one_seed_gives_one_network_however_many_read(slide: LabelledSlide) -> None:
    recipe = Recipe(optimizer="adamw", learning_rate=0.01, batch_size=3, epochs=2, stain_jitter=0.2, rotation_p=0.5)

    one, other = (fit(slide, recipe, seed=seed) for seed in (1, 2))
    same = fit(slide, recipe, seed=1, runtime=replace(CPU, readers=4))

    assert all(torch.equal(a, b) for a, b in zip(weights_of(one), weights_of(same), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights_of(one), weights_of(other), strict=True))
    assert [replace(record, duration_s=0) for record in one.records] == [
        replace(record, duration_s=0) for record in same.records
    ]


def test_every_epoch_shows_every_sample_once_in_an_order_of_its_own(slide: LabelledSlide) -> None:
    recipe = replace(STEADY, learning_rate=1e-6, epochs=3, batch_size=4, repeats_max=3)
    training = patches_of(slide, 32)
    maker = RecordingMaker([slide], recipe)

    Trainer(DMMN, SPEC, recipe, replace(CPU, readers=1), 0).fit(training, middle_of(slide), maker, QUIET)

    orders = [[sample for (epoch, _), sample in maker.asked if epoch == one] for one in (1, 2, 3)]
    assert all(len(set(order)) == len(order) for order in orders)
    assert {sample.patch for sample in orders[0]} == set(range(len(training.patches)))
    assert set(orders[0]) == set(orders[1]) == set(orders[2])
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("size", [5, 16, 37])
def test_epochs_of_a_fixed_size_draw_samples_evenly(slide: LabelledSlide, size: int) -> None:
    recipe = replace(STEADY, learning_rate=1e-6, epochs=2, batch_size=8, repeats_max=0, samples_per_epoch=size)
    training = patches_of(slide, 32)
    maker = RecordingMaker([slide], recipe)

    Trainer(DMMN, SPEC, recipe, replace(CPU, readers=1), 0).fit(training, middle_of(slide), maker, QUIET)

    patches = len(training.patches)
    for one in (1, 2):
        drawn = [sample.patch for (epoch, _), sample in maker.asked if epoch == one]
        counts = np.bincount(drawn, minlength=patches)
        assert len(drawn) == size
        assert {int(count) for count in counts} <= {size // patches, -(-size // patches)}
    assert len({turn for turn, _ in maker.asked}) == 2 * size


@pytest.mark.parametrize(("sampling", "green"), [("errors", [0.5, 0.73, 0.84]), ("copies", [0.5, 0.5, 0.5])])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_class_always_mistaken_comes_more_often_where_errors_are_asked_for(
    slide: LabelledSlide, sampling: Any, green: list[float], batch_size: int
) -> None:
    recipe = replace(STEADY, epochs=3, batch_size=batch_size, samples_per_epoch=400, sampling=sampling)
    recipe = replace(recipe, learning_rate=1e-6)
    patches = [Patch(slide=0, center_px=(40, 40)), Patch(slide=0, center_px=(210, 40))]
    labels = Labels([slide], FOV, 2)
    training = PatchSet(patches=patches, counts=np.stack([labels.count(patch) for patch in patches]), labels=labels)
    script = Script(predictions=[0], losses=[0])
    maker = RecordingMaker([slide], recipe)

    Trainer(script.family, SPEC, recipe, CPU, 0).fit(training, middle_of(slide), maker, QUIET)

    drawn = [[sample.patch for (epoch, _), sample in maker.asked if epoch == one] for one in (1, 2, 3)]
    # Of errors 0 and 1: a tenth to both alike, the rest to the second, half the way each epoch.
    assert [np.mean(epoch) for epoch in drawn] == pytest.approx(green, abs=0.07)


class Clock(nn.Module):
    """Counts steps: its one weight grows by the learning rate at each."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        image = views["x1"]
        return {"clock": self.weight.expand(len(image), 1, *image.shape[2:])}


class Script:
    """A family that follows a script: what it predicts and loses in validation when the clock stands at 0, 1, 2."""

    def __init__(
        self, *, predictions: Sequence[int], losses: Sequence[float], training_losses: Sequence[float] = (0.0,) * 99
    ) -> None:
        self.predictions = predictions
        self.losses = {True: losses, False: training_losses}
        self.heard: dict[bool, list[tuple[float, tuple[float, ...]]]] = {True: [], False: []}
        self.family: Any = replace(
            DMMN,
            build=lambda *_: Clock(),
            loss=lambda _config: self.loss,
            probabilities=self.probabilities,
        )

    def loss(
        self,
        outputs: dict[str, Tensor],
        target: Tensor,  # noqa: ARG002
        class_weights: Tensor,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        is_judging = torch.is_inference_mode_enabled()
        self.heard[is_judging].append((label_smoothing, tuple(class_weights.tolist())))
        time = outputs["clock"].mean()
        # The gradient is -1 whatever the value.
        return time.detach() - time + self.losses[is_judging][round(time.item())]

    def probabilities(self, outputs: dict[str, Tensor]) -> Tensor:
        time = outputs["clock"]
        predicted = self.predictions[round(time.mean().item())]
        return torch.cat([torch.full_like(time, label == predicted) for label in (0, 1)], dim=1)


def follow(slide: LabelledSlide, script: Script, recipe: Recipe, **sets: PatchSet) -> Fitted:
    middle = middle_of(slide)
    return fit(slide, recipe, family=script.family, **{"training": middle, "validation": middle, **sets})


def clock_of(fitted: Fitted) -> float:
    return float(fitted.network.state_dict()["weight"])


@pytest.mark.parametrize(
    ("predictions", "tolerance", "best"),
    [
        # More of the patch is of class 0, so predicting it all over gives the higher mean IoU.
        ([1, 0, 1, 1], 0.0, 2),
        ([0, 1, 1, 0, 1], 0.0, 4),
        ([0, 0, 0], 0.0, 3),
        ([1, 0, 1, 1], 0.1, 2),
        ([1, 0, 1, 1], 0.2, 4),
    ],
)
def test_the_best_epoch_has_the_highest_mean_iou_or_is_a_later_one_within_the_tolerance(
    slide: LabelledSlide, predictions: list[int], tolerance: float, best: int
) -> None:
    script = Script(predictions=[0, *predictions], losses=[0, *[0.5] * 9])

    fitted = follow(slide, script, replace(STEADY, epochs=len(predictions), selection_tolerance=tolerance))

    assert fitted.best.epoch == best
    assert clock_of(fitted) == best
    shares = middle_of(slide).counts[0] / middle_of(slide).counts.sum()
    assert shares[0] / 2 - shares[1] / 2 == pytest.approx(0.16, abs=0.02)
    assert fitted.best.mean_iou == pytest.approx(shares[predictions[best - 1]] / 2)
    assert fitted.confusion.mean_iou == fitted.best.mean_iou


def test_without_labels_to_judge_by_the_last_epoch_is_kept(slide: LabelledSlide) -> None:
    blank = replace(middle_of(slide), labels=Labels([replace(slide, shapes=())], FOV, 2))
    script = Script(predictions=[0] * 4, losses=[0, 0.5, 0.1, 0.3])

    fitted = follow(slide, script, replace(STEADY, epochs=3), validation=blank)

    assert fitted.best.epoch == 3
    assert math.isnan(fitted.best.mean_iou)
    assert all(math.isnan(iou) for iou in fitted.best.class_iou)


def test_losses_are_means_over_samples(slide: LabelledSlide) -> None:
    four = patches_of(slide)
    three = PatchSet(patches=four.patches[:3], counts=four.counts[:3], labels=four.labels)
    script = Script(predictions=[0] * 3, losses=[0, 0, 0.5], training_losses=[0.3, 0.9])

    fitted = follow(slide, script, replace(STEADY, epochs=1, batch_size=2), training=three)

    # A batch of two at the first step, one of one at the second.
    assert fitted.best.training_loss == pytest.approx((2 * 0.3 + 0.9) / 3)
    assert fitted.best.validation_loss == pytest.approx(0.5)


def test_classes_weigh_the_less_the_more_of_them_is_labelled(slide: LabelledSlide) -> None:
    recipe = replace(STEADY, epochs=1, label_smoothing=0.1, repeats_max=2)
    red, green = ((box(0, 0, 128, 64), 0),), ((box(128, 0, 160, 64), 1),)
    labels = Labels([replace(slide, shapes=red + green)], FOV, 2)
    patches, counts = labels.find(64, 0.01, QUIET)
    script = Script(predictions=[0] * 9, losses=[0] * 9)

    follow(slide, script, recipe, training=PatchSet(patches=patches, counts=counts, labels=labels))

    # Two patches of red, one of green with two copies.
    assert counts.tolist() == [[4096, 0], [4096, 0], [0, 2048]]
    weights = 1 - np.array([8192, 3 * 2048]) / (8192 + 3 * 2048)
    assert len(script.heard[False]) == 5
    for smoothing, heard in script.heard[False]:
        assert smoothing == 0.1
        assert heard == pytest.approx(weights)
    assert [smoothing for smoothing, _ in script.heard[True]] == [0.0]


def rates_of(slide: LabelledSlide, recipe: Recipe) -> list[float]:
    script = Script(predictions=[0] * 99, losses=[0] * 99)
    return [record.learning_rate for record in follow(slide, script, recipe).records]


def test_a_cosine_schedule_warms_up_and_falls_to_nothing(slide: LabelledSlide) -> None:
    rates = rates_of(slide, replace(STEADY, learning_rate=0.5, schedule="cosine", epochs=60))

    assert rates[:3] == pytest.approx([0.5 / 3, 1 / 3, 0.5])
    falling = [0.25 * (1 + math.cos(math.pi * step / 57)) for step in range(57)]
    assert rates[3:] == pytest.approx(falling)
    assert 0 < rates[-1] < 1e-3
    assert rates_of(slide, replace(STEADY, learning_rate=0.5, schedule="cosine", epochs=1)) == [0.5]


def test_a_poly_schedule_falls_with_the_steps_left_a_constant_one_does_not(slide: LabelledSlide) -> None:
    rates = rates_of(slide, replace(STEADY, learning_rate=0.5, schedule="poly", epochs=5))

    assert rates == pytest.approx([0.5 * left**0.9 for left in (1, 0.8, 0.6, 0.4, 0.2)])
    assert rates_of(slide, replace(STEADY, learning_rate=0.25, epochs=5)) == [0.25] * 5


def test_the_running_mean_of_weights_is_judged_and_kept(slide: LabelledSlide) -> None:
    script = Script(predictions=[0] * 9, losses=[0.5] * 9)

    fitted = follow(slide, script, replace(STEADY, epochs=4, ema_decay=0.2))

    mean = 0.0
    for step, decay in enumerate([1 / 10, 2 / 11, 0.2, 0.2]):
        mean = decay * mean + (1 - decay) * (step + 1)
    assert clock_of(fitted) == pytest.approx(mean)


def test_the_running_mean_takes_statistics_of_batches_along(slide: LabelledSlide) -> None:
    recipe = Recipe(learning_rate=0.01, batch_size=4, epochs=2, ema_decay=0.9)

    state = fit(slide, recipe).network.state_dict()

    counts = [value for name, value in state.items() if name.endswith("num_batches_tracked")]
    assert counts
    assert len({int(value) for value in counts}) == 1
    assert all(torch.isfinite(value).all() for value in state.values())


def test_gradients_are_clipped(slide: LabelledSlide) -> None:
    script = Script(predictions=[0] * 9, losses=[0.5] * 9)

    assert clock_of(follow(slide, script, replace(STEADY, epochs=4, gradient_clip=0.5))) == pytest.approx(2, rel=1e-4)
    assert clock_of(follow(slide, script, replace(STEADY, epochs=4, gradient_clip=5))) == pytest.approx(4)


def test_momentum_and_weight_decay_reach_the_optimizer(slide: LabelledSlide) -> None:
    script = Script(predictions=[0] * 9, losses=[0.5] * 9)
    recipe = replace(STEADY, epochs=2, momentum=0.5, weight_decay=0.1)

    # The weight goes to 1; then the gradient is -1 + 0.1, and half of the step before goes on.
    assert clock_of(follow(slide, script, recipe)) == pytest.approx(1 + 0.9 + 0.5)


def test_weights_beyond_all_bounds_end_training(slide: LabelledSlide) -> None:
    script = Script(predictions=[0] * 9, losses=[0.5] * 9, training_losses=[0, 0, math.nan, 0])

    maker = RecordingMaker([slide], STEADY)
    progress, middle = SilentProgress(), middle_of(slide)
    fitted = Trainer(script.family, SPEC, replace(STEADY, epochs=9), CPU, 0).fit(middle, middle, maker, progress)

    assert [record.epoch for record in fitted.records] == [1, 2]
    assert fitted.best.epoch == 2
    (warning,) = progress.warnings
    assert "diverged in epoch 3 with learning_rate=1" in warning
    assert "gradient_clip" in warning


def test_training_that_never_got_anywhere_is_refused(slide: LabelledSlide) -> None:
    recipe = Recipe(learning_rate=1e30, momentum=0, epochs=3)

    with pytest.raises(InvalidValueError, match=r"diverged in epoch 1 with learning_rate=1e\+30"):
        fit(slide, recipe)


class StoppedAfter(SilentProgress):
    """Asked to stop after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps
        self.told: list[tuple[str, int, int]] = []
        self.numbers: list[dict[str, float]] = []

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        assert math.isfinite(numbers["loss"])
        self.told.append((stage, done, total))
        self.numbers.append(numbers)

    def raise_if_cancelled(self) -> None:
        if len(self.told) == self.left:
            raise CancelledError("stopped")


@pytest.mark.parametrize("steps", [0, 3, 4, 5])  # the fourth step ends an epoch: validation hears it too
def test_a_cancel_is_heard_before_the_next_step_and_no_thread_reads_on(slide: LabelledSlide, steps: int) -> None:
    recipe = replace(STEADY, learning_rate=1e-6, epochs=3, batch_size=2)
    training = patches_of(slide)
    maker, progress, before = RecordingMaker([slide], recipe), StoppedAfter(steps), threading.active_count()

    trainer = Trainer(DMMN, SPEC, recipe, CPU, 0)
    with pytest.raises(CancelledError) as stopped:
        trainer.fit(training, training, maker, progress)

    assert threading.active_count() == before
    assert stopped.traceback  # holds the frames, and with them the batches
    assert progress.told == [("train", done, 12) for done in (1, 2, 3, 4, 4)][:steps]  # the end of an epoch, too


def test_curves_are_told_while_training_goes_on(slide: LabelledSlide) -> None:
    script, progress = Script(predictions=[0, 1, 0], losses=[0, 0.5, 0.25]), StoppedAfter(99)
    middle, recipe = middle_of(slide), replace(STEADY, epochs=2)

    maker = RecordingMaker([slide], recipe)
    fitted = Trainer(script.family, SPEC, recipe, CPU, 0).fit(middle, middle, maker, progress)

    step, end, next_step, last = progress.numbers
    assert step == {"loss": 0}
    ious = dict(zip(("iou Red", "iou Green"), fitted.records[0].class_iou, strict=True))
    # Nobody misses an epoch, however seldom he looks.
    assert (
        next_step == end == {"loss": 0, "epoch": 1, "validation_loss": 0.5, "mean_iou": sum(ious.values()) / 2, **ious}
    )
    assert (last["epoch"], last["mean_iou"]) == (2, fitted.best.mean_iou)


def test_training_ends_when_nothing_better_comes_if_asked_to(slide: LabelledSlide) -> None:
    predictions = [1, 0, 0, 1, 0, 0]
    script = Script(predictions=[0, *predictions], losses=[0, *[0.5] * 9])

    patient, impatient = (follow(slide, script, replace(STEADY, epochs=6, patience=patience)) for patience in (0, 2))

    assert len(patient.records) == 6
    assert [record.epoch for record in impatient.records] == [1, 2, 3, 4]
    assert impatient.best.epoch == 3
