from collections import defaultdict
from pathlib import Path

import pytest

from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError
from qpbridge.training.showing.charting import Chart

CURVE = list[tuple[int, float]]


class Told(SilentProgress):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, int, int, dict[str, float]]] = []

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        self.told.append((stage, done, total, numbers))

    def raise_if_cancelled(self) -> None:
        raise CancelledError("stopped")


def curves_in(folder: Path) -> dict[str, CURVE]:
    """What TensorBoard would draw."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: dict[str, CURVE] = defaultdict(list)
    for file in sorted(folder.iterdir()):
        for event in LegacyEventFileLoader(str(file)).Load():
            for value in event.summary.value:
                found[value.tag].append((event.step, pytest.approx(value.simple_value)))
    return dict(found)


def train(chart: Chart, first: int = 1) -> None:
    """Two steps, the end of an epoch, and a step of the next."""
    epoch = {"epoch": float(first), "validation_loss": 0.5 / first, "mean_iou": 0.25 * first, "iou Tumor": 0.75}
    before = {**epoch, "epoch": first - 1.0} if first > 1 else {}
    chart.report("find patches", 3, 9)
    chart.report("train", 2 * first - 1, 4, loss=0.9, **before)
    chart.report("train", 2 * first, 4, loss=0.8, **before)
    chart.report("train", 2 * first, 4, loss=0.85, **epoch)
    chart.report("train", 2 * first + 1, 4, loss=0.7, **epoch)


def test_losses_are_charted_by_step_and_scores_by_epoch(tmp_path: Path) -> None:
    with Chart(SilentProgress(), tmp_path / "events") as chart:
        train(chart)

    assert curves_in(tmp_path / "events") == {
        "loss/training, each step": [(1, 0.9), (2, 0.8), (3, 0.7)],
        "loss/validation": [(2, 0.5)],
        "IoU/mean": [(2, 0.25)],
        "IoU/Tumor": [(2, 0.75)],
    }


def test_curves_go_on_where_training_does_and_begin_anew_otherwise(tmp_path: Path) -> None:
    for goes_on, points in ((False, 1), (True, 2), (False, 1)):
        with Chart(SilentProgress(), tmp_path / "events", goes_on=goes_on) as chart:
            train(chart)
        assert len(curves_in(tmp_path / "events")["IoU/mean"]) == points


def test_everything_is_passed_on(tmp_path: Path) -> None:
    told = Told()

    with Chart(told, tmp_path) as chart:
        chart.report("train", 1, 4, loss=0.5)
        chart.warn("odd")
        with pytest.raises(CancelledError):
            chart.raise_if_cancelled()

    assert told.told == [("train", 1, 4, {"loss": 0.5})]
    assert told.warnings == ["odd"]
