"""Those who watch a job: each gets the newest state of every stage, and every chunk."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from qpbridge.errors import QpbridgeError
from qpbridge.jobs.records import Chunk, Job

UNWATCHED_S: Final = 30.0
"""How long chunks wait for the first one who watches, s; then they are dropped."""

STAGES: Final = 8
"""Whose news wait for somebody slow; the oldest are left out."""


class _Parcel:
    """A chunk on its way to some who watch."""

    def __init__(self, chunk: Chunk, takers: int, on_taken: Callable[[], None]) -> None:
        self.chunk = chunk
        self._takers = takers
        self._on_taken = on_taken

    def take(self) -> Chunk:
        self._takers -= 1
        if self._takers == 0:
            self._on_taken()
        return self.chunk


class _Watcher:
    """What one of them has not seen yet."""

    def __init__(self, job: Job, parcels: deque[_Parcel] | None) -> None:
        self.parcels = parcels
        self.error: QpbridgeError | None = None
        self._states = {"": job}
        self._last: Job | None = None
        self._is_new = asyncio.Event()
        self._is_new.set()

    def tell(self, stage: str, job: Job) -> None:
        self._states.pop(stage, None)
        self._states[stage] = job
        if len(self._states) > STAGES:
            del self._states[next(iter(self._states))]
        self._is_new.set()

    def hand(self, parcel: _Parcel) -> None:
        if self.parcels is not None:
            self.parcels.append(parcel)
            self._is_new.set()

    def end(self, job: Job | None, error: QpbridgeError | None = None) -> None:
        self._states.clear()
        self._last, self.error = job, error
        self._is_new.set()

    async def news(self, leave: Callable[[], None]) -> AsyncIterator[Job | Chunk]:
        try:
            while self._last is None or self._is_new.is_set():
                await self._is_new.wait()
                while self._states or self.parcels:
                    if self._states:
                        yield self._states.pop(next(iter(self._states)))
                    if self.parcels:
                        yield self.parcels.popleft().take()
                self._is_new.clear()
                if self.error is not None:
                    raise self.error
            yield self._last
        finally:
            leave()
            for parcel in self.parcels or ():
                parcel.take()


class Audience:
    """All who watch a job; belongs to one event loop."""

    def __init__(self) -> None:
        self._watchers: set[_Watcher] = set()
        self._early: deque[_Parcel] | None = deque()
        self._giving_up: asyncio.TimerHandle | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether chunks still wait for the first one who watches."""
        return bool(self._early)

    def tell(self, stage: str, job: Job) -> None:
        """Let all know how a job stands.

        Parameters
        ----------
        stage : str
            That is new; news of the same stage that somebody has not seen yet are replaced.
        job : Job
            As it stands.
        """
        for watcher in self._watchers:
            watcher.tell(stage, job)

    def hand(self, chunk: Chunk, on_taken: Callable[[], None]) -> None:
        """Give all a part of the result, and say when all have it."""
        takers = [watcher for watcher in self._watchers if watcher.parcels is not None]
        if takers:
            parcel = _Parcel(chunk, len(takers), on_taken)
            for watcher in takers:
                watcher.hand(parcel)
        elif self._early is not None:
            self._early.append(_Parcel(chunk, 1, on_taken))
            if self._giving_up is None:
                self._giving_up = asyncio.get_running_loop().call_later(UNWATCHED_S, self.give_up)
        else:
            on_taken()

    def watch(self, job: Job, with_chunks: bool) -> AsyncIterator[Job | Chunk]:
        """Return what happens from now on, beginning with the job as it stands."""
        watcher = self._join(job, with_chunks)
        if job.state.is_terminal:
            watcher.end(job)
        return watcher.news(lambda: self._watchers.discard(watcher))

    def end(self, job: Job) -> None:
        """Let all know that a job has ended."""
        for watcher in self._watchers:
            watcher.end(job)

    def break_off(self, error: QpbridgeError) -> None:
        """Send all away."""
        self.give_up()
        for watcher in self._watchers:
            watcher.end(None, error)

    def give_up(self) -> None:
        """Wait no longer for the first one who watches."""
        early, self._early = self._early, None
        if self._giving_up is not None:
            self._giving_up.cancel()
        for parcel in early or ():
            parcel.take()

    def _join(self, job: Job, with_chunks: bool) -> _Watcher:
        parcels: deque[_Parcel] | None = None
        if with_chunks:
            parcels, self._early = self._early or deque(), None
            if self._giving_up is not None:
                self._giving_up.cancel()
        watcher = _Watcher(job, parcels)
        self._watchers.add(watcher)
        return watcher
