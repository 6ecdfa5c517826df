from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError
from qpbridge.inference.device import Runtime
from qpbridge.models.families.dmmn import DMMN, DmmnConfig
from qpbridge.training.batching import collate
from qpbridge.training.fitting.checkpoints import CheckpointFile
from qpbridge.training.fitting.course import Course, Samples
from qpbridge.training.fitting.labelling import Made
from qpbridge.training.fitting.loop import Fitted, Trainer

from .two_stages import FAMILY, FIRST, RECIPE, SECOND, SETTING, SPEC, TwoParts, colored_slide, samples_of


class Told(SilentProgress):
    """Notes the steps, and is cancelled at one of them."""

    def __init__(self, last: int = 10**9) -> None:
        super().__init__()
        self.last = last
        self.steps: list[tuple[int, int]] = []

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        del numbers
        # The end of an epoch tells the last step once more, with what came out.
        if stage == "train" and (done, total) not in self.steps:
            self.steps.append((done, total))

    def raise_if_cancelled(self) -> None:
        if self.steps and self.steps[-1][0] >= self.last:
            raise CancelledError("stopped")


@pytest.fixture(scope="module")
def samples() -> Samples:
    return samples_of(colored_slide())


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def fit(
    samples: Samples,
    progress: SilentProgress,
    kept: CheckpointFile | None = None,
    show: Callable[[Made], None] | None = None,
) -> Fitted:
    trainer = Trainer(FAMILY, SPEC, RECIPE, SETTING.runtime, 0)
    return trainer.fit(samples.training, samples.validation, samples.maker, progress, kept, show)


@pytest.mark.parametrize(("stage", "moves", "stays"), [(FIRST, "first.", "second."), (SECOND, "second.", "first.")])
def test_a_stage_moves_its_own_part_of_the_network_alone(
    samples: Samples, stage: object, moves: str, stays: str
) -> None:
    torch.manual_seed(0)
    network = TwoParts()
    before = state_of(network)

    with Course(SETTING, replace(stage), samples, network, number=1, first=1) as course:  # type: ignore[type-var]
        after = course.run(SilentProgress(), None, 0).state_dict()

    assert all(torch.equal(value, before[name]) for name, value in after.items() if name.startswith(stays))
    assert not any(torch.equal(value, before[name]) for name, value in after.items() if name.startswith(moves))


def test_a_stage_lasts_as_long_as_it_or_else_the_recipe_says() -> None:
    assert SETTING.epochs(FIRST) == 2
    assert SETTING.epochs(SECOND) == RECIPE.epochs == 3


def test_the_stages_follow_one_another_in_one_training(samples: Samples) -> None:
    progress = Told()

    fitted = fit(samples, progress)

    assert [(record.epoch, record.stage) for record in fitted.records] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 2)]
    assert fitted.best.stage == 2
    steps = len(progress.steps) // 5
    assert progress.steps == [(step, 5 * steps) for step in range(1, 5 * steps + 1)]
    # A rate that begins anew: each stage has a schedule of its own.
    assert fitted.records[0].learning_rate == fitted.records[2].learning_rate


def test_the_second_stage_learns_what_the_first_one_labelled(samples: Samples) -> None:
    shown: list[Made] = []

    fitted = fit(samples, SilentProgress(), show=shown.append)

    (made,) = shown
    assert made.is_judged_by_people
    assert fitted.best.mean_iou > 0.95
    assert sum(made.samples.training.counts[:, 0]) == pytest.approx(3 * 32 * 31 * 2, rel=0.1)


@pytest.mark.parametrize("step", [1, 4, 6, 8, 10])
def test_an_interrupted_training_goes_on_within_and_between_stages(
    samples: Samples, step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = CheckpointFile(tmp_path_factory.mktemp("c") / "c", "same")
    with pytest.raises(CancelledError):
        fit(samples, Told(step), kept)
    progress = Told()

    resumed = fit(samples, progress, kept)

    whole = fit(samples, Told())
    plain, other = ([replace(record, duration_s=0) for record in one.records] for one in (whole, resumed))
    assert other == plain
    assert progress.steps[0][0] <= step + 1
    np.testing.assert_array_equal(resumed.confusion.counts, whole.confusion.counts)
    for one, same in zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(one, same)


def test_what_training_goes_on_from_is_judged_as_the_last_stage_is(samples: Samples) -> None:
    network = TwoParts()
    with torch.no_grad():
        network.second.weight.zero_()
        network.second.bias.copy_(torch.tensor([1.0, 0.0]))
    trainer = Trainer(FAMILY, SPEC, RECIPE, SETTING.runtime, 0, weights=state_of(network))

    fitted = trainer.fit(samples.training, samples.validation, samples.maker, SilentProgress())

    assert fitted.before is not None
    assert (fitted.before.epoch, fitted.before.stage) == (0, 2)
    assert fitted.before.class_iou == (0.5, 0.0)
    assert fitted.before.mean_iou == 0.25


@pytest.mark.parametrize(("kind", "is_half"), [("cpu", False), ("cuda", True)])
def test_gpus_compute_in_half_precision_and_cpus_do_not(
    samples: Samples, kind: str, is_half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, torch.dtype, bool]] = []

    @contextmanager
    def autocast(device_type: str, dtype: torch.dtype, *, enabled: bool) -> Iterator[None]:
        asked.append((device_type, dtype, enabled))
        yield

    monkeypatch.setattr(torch, "autocast", autocast)
    course = Course(SETTING, FIRST, samples, TwoParts(), number=1, first=1)
    course._setting = replace(SETTING, runtime=Runtime(device=torch.device(kind), is_bf16=True))
    patch = samples.maker.plain(samples.training.patches[0], samples.training.labels)

    batch = collate([patch], SPEC.views)
    halved = replace(batch, views={name: view.bfloat16() for name, view in batch.views.items()})

    outputs = course._run(TwoParts().bfloat16(), halved, 0)

    assert asked == [(kind, torch.bfloat16, is_half)]
    assert outputs["logits"].dtype == torch.float32


def test_weights_lie_as_pixels_do() -> None:
    spec = DMMN.spec(DmmnConfig(variant="unet", width=2, patch_px=32), SPEC.classes)

    network = Trainer(DMMN, spec, RECIPE, SETTING.runtime, 0)._network

    shaped = [weights for weights in network.parameters() if weights.ndim == 4]
    assert shaped
    assert all(weights.is_contiguous(memory_format=torch.channels_last) for weights in shaped)
