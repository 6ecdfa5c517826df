import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError
from qpbridge.workflows.learning import keeping
from qpbridge.workflows.train import TrainRequest, train

MakeProject = Callable[..., Path]
Annotate = Callable[..., PathObject]
FAST = {
    "variant": "unet", "width": "2", "norm": "batch", "patch_px": "64", "stride_px": "64", "optimizer": "adamw",
    "learning_rate": "0.02", "batch_size": "2", "epochs": "4", "repeats_max": "0", "samples_per_epoch": "4",
}  # fmt: skip


class Counting(SilentProgress):
    """Counts steps, and is cancelled after some."""

    def __init__(self, most: int = 10**9) -> None:
        self.most = most
        self.steps: list[int] = []
        self.warnings: list[str] = []

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        del total, numbers
        # The end of an epoch tells the last step once more, with what came out.
        if stage == "train" and done not in self.steps:
            self.steps.append(done)

    def raise_if_cancelled(self) -> None:
        if len(self.steps) >= self.most:
            raise CancelledError("stopped")

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QPBRIDGE_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "checkpoints"


@pytest.fixture
def interrupted(state: Path, make_project: MakeProject, annotate: Annotate, tmp_path: Path) -> TrainRequest:
    objects = [annotate("Tumor", 50, 50, 150, 250), annotate("Stroma", 250, 50, 350, 250)]
    request = TrainRequest(
        project=make_project({"a.png": objects}), out=tmp_path / "model", family="dmmn", device="cpu", settings=FAST
    )
    with pytest.raises(CancelledError):
        train(request, Counting(most=5))
    assert len(list(state.iterdir())) == 1
    return request


def test_a_training_asked_to_goes_on_and_leaves_nothing(interrupted: TrainRequest, state: Path, tmp_path: Path) -> None:
    going_on, whole = Counting(), Counting()

    resumed = train(replace(interrupted, resume=True), going_on)

    other = train(replace(interrupted, out=tmp_path / "other"), whole)
    assert (going_on.steps, whole.steps) == ([5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8])
    assert resumed.digest == other.digest
    assert list(state.iterdir()) == []


def test_a_training_not_asked_to_begins_anew(interrupted: TrainRequest) -> None:
    progress = Counting()

    train(interrupted, progress)

    assert progress.steps[0] == 1


@pytest.mark.parametrize("change", [{"seed": 1}, {"settings": {**FAST, "epochs": "3"}}])
def test_a_training_that_is_another_begins_anew_and_says_so(
    interrupted: TrainRequest, change: dict[str, object]
) -> None:
    progress = Counting()

    train(replace(interrupted, resume=True, **change), progress)  # type: ignore[arg-type]

    assert progress.steps[0] == 1
    assert any("begins anew" in warning for warning in progress.warnings)


def test_old_checkpoints_are_forgotten(interrupted: TrainRequest, state: Path, tmp_path: Path) -> None:
    old = time.time() - keeping.KEPT_S - 60
    (left,) = state.iterdir()
    os.utime(left, (old, old))

    train(replace(interrupted, out=tmp_path / "other"), Counting())

    assert list(state.iterdir()) == []
