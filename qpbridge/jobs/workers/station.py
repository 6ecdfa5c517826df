"""A device and the worker that sits there, warm between jobs and replaced when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from qpbridge.jobs.records import WORKER_DIED
from qpbridge.jobs.store.state_folder import StateFolder
from qpbridge.jobs.workers.messages import Answer, Begin, Failed, News, Outcome, Stop, Stopped
from qpbridge.jobs.workers.process import WorkerProcess

LOG: Final = logging.getLogger(__name__)

COOPERATION_S: Final = 0.5
"""How long work that is asked to stop may take for it, s; then its process is killed."""

KILL_S: Final = 0.3
"""How long to wait for the end of a killed process before its job is called stopped, s."""

CLOSE_S: Final = 10.0
"""How long to wait for the end of all processes when the server stops, s."""

Hear = Callable[[News, Answer], None]
"""Receives news of a worker, and what sends it an answer."""


class Station:
    """Does jobs on a device, one at a time.

    Parameters
    ----------
    device : str
        E.g. ``"cuda:0"``.
    entry : str
        ``"module:function"`` that does the work.
    folder : StateFolder
        Receives logs.
    """

    def __init__(self, device: str, entry: str, folder: StateFolder) -> None:
        self.device = device
        self._entry = entry
        self._folder = folder
        self._hiring: asyncio.Task[WorkerProcess] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def warm_up(self) -> None:
        """Have a worker that loads its work before there is a job."""
        self._hired().add_done_callback(_log_failure)

    async def run(self, job: Begin, stop: asyncio.Event, hear: Hear) -> Outcome:
        """Do a job.

        Parameters
        ----------
        job : Begin
            What to do.
        stop : asyncio.Event
            Set where somebody asks to stop: within a second it is.
        hear : Hear
            Called while the job runs.

        Returns
        -------
        Outcome
            ``Stopped`` only where that was asked for.

        Raises
        ------
        OSError
            If the system cannot start a process.
        """
        hiring = self._hired()
        working = asyncio.create_task(self._work(hiring, job, hear))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and hiring.done():
                hiring.result().send(Stop())
                await asyncio.wait({working}, timeout=COOPERATION_S)
            if working.done():
                return await self._judged(working.result(), hiring.result())
            if hiring.done():
                await self._replace()
            return Stopped()
        except BaseException:
            self._dismiss()
            raise
        finally:
            working.cancel()
            stopping.cancel()

    async def close(self) -> None:
        """End the worker."""
        self._dismiss()
        if self._ending:
            await asyncio.wait(self._ending, timeout=CLOSE_S)

    def _hired(self) -> asyncio.Task[WorkerProcess]:
        if self._hiring is not None and self._hiring.done() and not _is_fit(self._hiring):
            self._dismiss()
        if self._hiring is None:
            self._hiring = asyncio.create_task(self._hire())
        return self._hiring

    async def _hire(self) -> WorkerProcess:
        if self._ending:
            await asyncio.wait(self._ending)
        return await WorkerProcess.start(self._entry, self.device, self._folder)

    async def _work(self, hiring: asyncio.Task[WorkerProcess], job: Begin, hear: Hear) -> Outcome:
        worker = await asyncio.shield(hiring)
        worker.begin_log()
        worker.send(job)
        while (message := await worker.receive()) is not None:
            if not isinstance(message, News):
                return message
            hear(message, worker.send)
        return Failed(WORKER_DIED, await worker.death(), is_defect=True)

    async def _judged(self, outcome: Outcome, worker: WorkerProcess) -> Outcome:
        """Replace a worker that has died, or whose memory may be in any state."""
        if not isinstance(outcome, Failed) or not outcome.is_defect:
            return outcome
        if worker.is_ready:
            await self._replace()
        else:
            # It could not even load its work: another would not do better before something is mended.
            self._dismiss()
        return Failed(outcome.reason, f"{outcome.message}; see {worker.log}", is_defect=True)

    async def _replace(self) -> None:
        """End the worker and have another load its work; a system that is slow to end it is not waited for."""
        self._dismiss()
        await asyncio.wait(self._ending, timeout=KILL_S)
        self.warm_up()

    def _dismiss(self) -> None:
        if self._hiring is not None:
            ending = asyncio.create_task(_end(self._hiring))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        self._hiring = None


def _is_fit(hiring: asyncio.Task[WorkerProcess]) -> bool:
    return hiring.exception() is None and hiring.result().is_alive


async def _end(hiring: asyncio.Task[WorkerProcess]) -> None:
    with contextlib.suppress(OSError):
        worker = await hiring
        await worker.end()


def _log_failure(hiring: asyncio.Task[WorkerProcess]) -> None:
    if not hiring.cancelled() and (error := hiring.exception()):
        LOG.error("no worker process could be started: %s", error)
