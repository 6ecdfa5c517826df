"""The journal as an event loop uses it: one thread writes, in order, and a slow disk holds up nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, ParamSpec, Self, TypeVar

from qpbridge.jobs.records import Job, JobPage, JobState
from qpbridge.jobs.store.journal import Entry, Journal
from qpbridge.jobs.store.recovery import recover, recover_elsewhere
from qpbridge.jobs.store.state_folder import StateFolder

LOG: Final = logging.getLogger(__name__)

PRUNE_EVERY: Final = 100
"""Jobs that end between two looks at how many are kept."""

P = ParamSpec("P")
T = TypeVar("T")


class Notes:
    """Journal of a state folder; ``recover`` makes one. Errors are those of ``Journal``.

    Parameters
    ----------
    folder : StateFolder
        Where the journal lies.
    journal : Journal
        Closed with this.
    thread : ThreadPoolExecutor
        Does the writing; shut down with this.
    kept_max : int
        Ended jobs that are kept.
    """

    def __init__(self, folder: StateFolder, journal: Journal, thread: ThreadPoolExecutor, kept_max: int) -> None:
        self._folder = folder
        self._journal = journal
        self._thread = thread
        self._kept_max = kept_max
        self._ended = 0

    @classmethod
    async def recover(cls, folder: StateFolder, kept_max: int) -> tuple[Self, list[Entry]]:
        """Open the journal of a folder, tidy up after processes that died, and return the jobs that wait."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        try:
            journal = await asyncio.wrap_future(thread.submit(Journal, folder.journal))
        except BaseException:
            thread.shutdown(wait=False)
            raise
        notes = cls(folder, journal, thread, kept_max)
        try:
            waiting = await notes._soon(recover, folder, journal)
            await notes._soon(journal.prune, kept_max)
        except BaseException:
            await notes.close()
            raise
        return notes, waiting

    async def close(self) -> None:
        """Write what is still to be written, and close the journal."""
        await self._soon(self._journal.close)
        self._thread.shutdown()

    async def add(self, entry: Entry) -> None:
        """Write a new job down."""
        await self._soon(self._journal.add, entry)

    async def begin(self, job: Job) -> None:
        """Write down that work on a job begins."""
        await self._soon(self._journal.begin, job)

    async def end(self, job: Job) -> None:
        """Write down how a job ended, and now and then forget old ones."""
        await self._soon(self._journal.save, job)
        self._ended += 1
        if self._ended % PRUNE_EVERY == 0:
            await self._soon(self._journal.prune, self._kept_max)

    def note(self, job: Job) -> None:
        """Write down how a job stands, some time soon; where that fails, it is logged."""
        self._thread.submit(self._journal.save, job).add_done_callback(_log_failure)

    async def get(self, job_id: str) -> Job:
        """Return a job as the journal knows it."""
        await self._soon(recover_elsewhere, self._folder, self._journal)
        return await self._soon(self._journal.get, job_id)

    async def page(self, size: int, token: str, states: Collection[JobState], kinds: Collection[str]) -> JobPage:
        """Return a part of the list of jobs as the journal knows them."""
        await self._soon(recover_elsewhere, self._folder, self._journal)
        return await self._soon(self._journal.page, size, token, states, kinds)

    async def _soon(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        return await asyncio.wrap_future(self._thread.submit(function, *arguments, **options))


def _log_failure(written: Future[None]) -> None:
    if error := written.exception():
        LOG.error("progress is not in the journal: %s", error)
