"""A job that waits or runs: what is heard of it becomes its state, and news for those who watch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import msgspec

from qpbridge.jobs.pace import Due, Pace
from qpbridge.jobs.records import Chunk, Job, JobError, JobState, ended_well, utc_now, with_warning
from qpbridge.jobs.store.journal import Entry
from qpbridge.jobs.store.recovery import requeued, stopped_with_server
from qpbridge.jobs.watching import Audience
from qpbridge.jobs.workers.messages import (
    Answer,
    Emitted,
    Ended,
    Failed,
    News,
    Outcome,
    Reported,
    Stopped,
    Taken,
    Warned,
)


class LiveJob:
    """A job that has not ended.

    Parameters
    ----------
    entry : Entry
        The job as it begins to wait.
    clock : callable
        Seconds that only ever grow.
    """

    def __init__(self, entry: Entry, clock: Callable[[], float] = time.monotonic) -> None:
        self.job = entry.job
        self.entry = entry
        self.audience = Audience()
        self.stop = asyncio.Event()
        self.ended = asyncio.Event()
        self.is_cancelled = False
        self.is_due = Due(clock)
        self._pace = Pace(clock)

    def change(self, stage: str = "", **changes: Any) -> None:
        """Change the job and let all know."""
        self.job = replace(self.job, **changes)
        self.audience.tell(stage, self.job)

    def end(self, job: Job) -> None:
        """Let all know that the job has ended."""
        self.job = job
        self.audience.end(job)
        self.ended.set()

    def after(self, outcome: Outcome) -> Job:
        """Return the job after it was worked on; one that the server's end has stopped waits again, if it can."""
        if isinstance(outcome, Stopped) and not self.is_cancelled:
            wanted = self.entry.job.device
            return requeued(self.job, wanted) if self.entry.is_resumable else stopped_with_server(self.job)
        ended = replace(self.job, finished=utc_now())
        if isinstance(outcome, Ended):
            result = msgspec.json.decode(outcome.result)
            return replace(ended, state=ended_well(result), result=result)
        if isinstance(outcome, Failed):
            error = JobError(reason=outcome.reason, message=outcome.message)
            return replace(ended, state=JobState.FAILED, error=error)
        return replace(ended, state=JobState.CANCELLED)

    def wait_again(self, job: Job) -> None:
        """Let all know that the job waits for the next server."""
        self.job = job
        self.audience.tell("", job)
        self.ended.set()

    def hear(self, news: News, answer: Answer) -> None:
        """Take in what the worker says.

        Parameters
        ----------
        news : News
            Of the worker.
        answer : Answer
            Sends something back.
        """
        if isinstance(news, Reported):
            progress = self._pace.progress(news.stage, news.done, news.total, news.numbers)
            self.change(news.stage, progress=progress)
        elif isinstance(news, Warned):
            self.change(warnings=with_warning(self.job.warnings, news.message))
        else:
            self._hand(news, answer)

    def watch(self, with_chunks: bool) -> AsyncIterator[Job | Chunk]:
        """Return what happens from now on, beginning with the job as it stands."""
        return self.audience.watch(self.job, with_chunks)

    def _hand(self, emitted: Emitted, answer: Answer) -> None:
        size = len(emitted.payload)
        chunk = Chunk(payload=emitted.payload, count=emitted.count)
        self.audience.hand(chunk, lambda: None if self.ended.is_set() else answer(Taken(size)))
