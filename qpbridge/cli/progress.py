"""Progress of long work: bars on a terminal, now and then a line elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Self, TextIO

from qpbridge.cli.cancelling import Cancellation
from qpbridge.cli.output import Told
from qpbridge.core.processes import process_number

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LINE_INTERVAL_S: Final = 5.0
"""Shortest time between two lines where output is no terminal, in seconds; the end of a stage is told in any case."""

VISIBLE_BARS: Final = 6
"""Bars shown at once; the oldest goes when a stage too many begins."""


class WatchedProgress:
    """What bars and lines have in common; a context manager, open while the work goes on.

    Parameters
    ----------
    cancellation : Cancellation
        Asked by ``raise_if_cancelled``.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, cancellation: Cancellation, clock: Callable[[], float] = time.monotonic) -> None:
        self._cancellation = cancellation
        self._clock = clock
        self._begun: dict[str, tuple[float, int]] = {}
        self._told = Told()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the stream as it is."""

    def raise_if_cancelled(self) -> None:
        """Raise ``CancelledError`` if somebody asked to stop."""
        self._cancellation.raise_if_asked()

    def _rate(self, stage: str, done: int) -> float:
        """Return steps per second since the first report of a stage; 0 where that cannot be known yet."""
        now_s = self._clock()
        begun_s, first = self._begun.setdefault(stage, (now_s, done))
        return (done - first) / (now_s - begun_s) if now_s > begun_s else 0.0


class LineProgress(WatchedProgress):
    """Progress as plain lines, at most one in ``LINE_INTERVAL_S`` and one at the end of each stage.

    Parameters
    ----------
    cancellation : Cancellation
        Asked by ``raise_if_cancelled``.
    stream : text file
        Receives the lines.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, cancellation: Cancellation, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(cancellation, clock)
        self._stream = stream
        self._ended: set[str] = set()
        self._told_s = float("-inf")

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """Write a line if it is time for one."""
        rate = self._rate(stage, done)
        is_end = 0 < total <= done and stage not in self._ended
        if not is_end and self._clock() - self._told_s < LINE_INTERVAL_S:
            return
        if is_end:
            self._ended.add(stage)
        self._told_s = self._clock()
        self._write(", ".join([_count(stage, done, total), *_pace(rate, total - done), *_shown(numbers)]))

    def warn(self, message: str) -> None:
        """Write the message at once, where it is news."""
        if self._told.is_news(message):
            self._write(f"warning: {self._told.tell(message)}")

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class BarProgress(WatchedProgress):
    """Progress as bars with rate, remaining time and numbers, on standard error."""

    def __init__(self, cancellation: Cancellation) -> None:
        super().__init__(cancellation)
        self._bars = _bars()
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bars as they stand."""
        self._bars.stop()

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """Move the bar of a stage."""
        rate = self._rate(stage, done)
        if stage not in self._tasks:
            if len(self._tasks) == VISIBLE_BARS:
                self._bars.remove_task(self._tasks.pop(next(iter(self._tasks))))
            self._tasks[stage] = self._bars.add_task(stage, total=total or None, numbers="")
        shown = "  ".join([*_pace(rate, 0), *_shown(numbers)])
        self._bars.update(self._tasks[stage], completed=done, total=total or None, numbers=shown)

    def warn(self, message: str) -> None:
        """Print the message above the bars, where it is news."""
        if self._told.is_news(message):
            text = f"warning: {self._told.tell(message)}"
            self._bars.console.print(text, style="yellow", markup=False, highlight=False)


class QuietProgress(WatchedProgress):
    """Progress of a process that helps another one, which speaks for both."""

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """Do nothing."""

    def warn(self, message: str) -> None:
        """Do nothing."""


def watched(cancellation: Cancellation) -> LineProgress | BarProgress | QuietProgress:
    """Return bars where standard error is a terminal, lines otherwise; nothing where another process shows them."""
    if process_number():
        return QuietProgress(cancellation)
    return BarProgress(cancellation) if sys.stderr.isatty() else LineProgress(cancellation, sys.stderr)


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[numbers]}", markup=False),
        console=Console(stderr=True),
    )


def _count(stage: str, done: int, total: int) -> str:
    return f"{stage} {done}/{total} ({100 * done // total} %)" if total else f"{stage} {done}"


def _pace(rate: float, remaining: int) -> list[str]:
    if rate <= 0:
        return []
    speed = f"{rate:.3g}/s" if rate >= 1 else f"{1 / rate:.3g} s each"
    return [speed, f"{_duration(remaining / rate)} left"] if remaining > 0 else [speed]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _shown(numbers: Mapping[str, float]) -> list[str]:
    # What is told of each class has a blank in its name: too much for a line.
    return [f"{name.replace('_', ' ')} {value:.4g}" for name, value in numbers.items() if " " not in name]
