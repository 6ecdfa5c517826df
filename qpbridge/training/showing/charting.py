"""Curves of a training while it goes on, as files that TensorBoard reads."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from qpbridge.core.progress import Progress
from qpbridge.training.fitting.curves import CLASS_IOU

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

FLUSH_S: Final = 5
"""How old what TensorBoard shows may be, s."""

TAGS: Final[Mapping[str, str]] = {
    "loss": "loss/training, each step",
    "validation_loss": "loss/validation",
    "mean_iou": "IoU/mean",
}
"""How TensorBoard groups and names the numbers of progress; each class's IoU is ``IoU/NAME``."""


class Chart:
    """Progress that is passed on, and of which the numbers are charted; a context manager.

    Parameters
    ----------
    progress : Progress
        Receives everything.
    folder : Path
        For ``tensorboard --logdir``.
    goes_on : bool
        Whether curves that are there go on; they are removed otherwise.
    """

    def __init__(self, progress: Progress, folder: Path, *, goes_on: bool = False) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if not goes_on:
            shutil.rmtree(folder, ignore_errors=True)
        self._progress = progress
        self._events = EventFileWriter(str(folder), flush_secs=FLUSH_S)
        self._epoch: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """Chart each step's loss, and once an epoch what is told of it; steps of all epochs count on."""
        self._progress.report(stage, done, total, **numbers)
        epoch = numbers.get("epoch", 0.0)
        # What a training that goes on tells first was charted before it was interrupted.
        is_end = self._epoch not in (None, epoch)
        self._epoch = epoch
        told = {name: number for name, number in numbers.items() if (name != "loss") == is_end}
        values = {tag: number for name, number in told.items() if (tag := _tag(name)) is not None}
        if values:
            self._events.add_event(_event(done, values))

    def warn(self, message: str) -> None:
        """Pass it on."""
        self._progress.warn(message)

    def raise_if_cancelled(self) -> None:
        """Raise ``CancelledError`` if somebody asked to stop."""
        self._progress.raise_if_cancelled()


def _tag(name: str) -> str | None:
    return f"IoU/{name.removeprefix(CLASS_IOU)}" if name.startswith(CLASS_IOU) else TAGS.get(name)


def _event(step: int, values: Mapping[str, float]) -> Event:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
    return Event(wall_time=time.time(), step=step, summary=summary)
