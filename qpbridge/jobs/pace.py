"""How fast a stage goes, and how long it still takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from qpbridge.jobs.records import JobProgress

WINDOW_S: Final = 30.0
"""The rate is that of this last while, s: it follows a change, but not every hiccup."""

SPACING_S: Final = 0.5
"""Between two samples that are kept, s."""

JOURNAL_INTERVAL_S: Final = 1.0
"""Shortest time between two notes of a running job in the journal, s."""

STAGES: Final = 8
"""Whose pace is kept; the oldest is forgotten first."""


class Pace:
    """Rate and remaining time of each stage of a job.

    Parameters
    ----------
    clock : callable
        Seconds that only ever grow; the time of day does not matter.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stages: dict[str, deque[tuple[float, int]]] = {}

    def progress(self, stage: str, done: int, total: int, numbers: Mapping[str, float]) -> JobProgress:
        """Return the progress of a stage with what its earlier reports say about its pace."""
        rate = self._rate(stage, done)
        is_foreseeable = bool(rate) and total > 0
        return JobProgress(
            stage=stage,
            done=done,
            total=total,
            rate_per_s=rate,
            eta_s=max(total - done, 0) / rate if rate and is_foreseeable else None,
            numbers=numbers,
        )

    def _rate(self, stage: str, done: int) -> float | None:
        now_s = self._clock()
        samples = self._stages.pop(stage, None) or deque()
        self._stages[stage] = samples
        if len(self._stages) > STAGES:
            del self._stages[next(iter(self._stages))]
        if samples and done < samples[-1][1]:
            samples.clear()  # begun again
        while len(samples) > 1 and samples[1][0] <= now_s - WINDOW_S:
            samples.popleft()
        if not samples or now_s - samples[-1][0] >= SPACING_S:
            samples.append((now_s, done))
        first_s, first = samples[0]
        return (done - first) / (now_s - first_s) if now_s - first_s >= SPACING_S else None


class Due:
    """Whether it is time to note a job in the journal; calling it answers.

    Parameters
    ----------
    clock : callable
        Seconds that only ever grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted_s = float("-inf")

    def __call__(self) -> bool:
        """Return whether it is time; then it is not for a while."""
        now_s = self._clock()
        if now_s - self._noted_s < JOURNAL_INTERVAL_S:
            return False
        self._noted_s = now_s
        return True
