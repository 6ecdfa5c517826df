"""The board of all jobs of a server: takes them in, has them done, tells how they stand."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from qpbridge.errors import InvalidValueError, JobElsewhereError, QueueFullError, ServerStoppingError
from qpbridge.jobs.fair_queue import ANY_DEVICE, FairQueue, Ticket, suits_any
from qpbridge.jobs.live import LiveJob
from qpbridge.jobs.notes import Notes
from qpbridge.jobs.records import Chunk, Job, JobError, JobPage, JobState, utc_now
from qpbridge.jobs.store.journal import KEPT_MAX, Entry
from qpbridge.jobs.store.state_folder import ServerLock, StateFolder
from qpbridge.jobs.watching import UNWATCHED_S
from qpbridge.jobs.workers.messages import Answer, Begin, Failed, News, Outcome, Stopped
from qpbridge.jobs.workers.station import Station

LOG: Final = logging.getLogger(__name__)

FOREIGN_POLL_S: Final = 1.0
"""Between two looks into the journal for a job that runs elsewhere, s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSettings:
    """How jobs are done.

    Parameters
    ----------
    entry : str
        ``"module:function"``, called in a worker process with kind, request and desk; returns JSON values, of which
        ``failures``, where it is there and not empty, makes the job partly done.
    devices : tuple of str
        One worker each.
    interactive_kinds : collection of str
        Jobs for which somebody sits and waits: they pass all others that wait.
    queued_max : int
        Jobs that may wait.
    kept_max : int
        Ended jobs that are kept.
    is_warmed_up : bool
        Whether workers load their work before there is a job.
    """

    entry: str
    devices: tuple[str, ...] = ("cpu",)
    interactive_kinds: Collection[str] = ("predict_region",)
    queued_max: int = 100
    kept_max: int = KEPT_MAX
    is_warmed_up: bool = False


class JobBoard:
    """All jobs of a state folder; belongs to one event loop, and is a context manager there.

    Parameters
    ----------
    folder : Path
        The state folder.
    settings : BoardSettings
        How jobs are done.
    """

    def __init__(self, folder: Path, settings: BoardSettings) -> None:
        self._settings = settings
        self._folder = StateFolder(folder)
        self._stations = [Station(device, settings.entry, self._folder) for device in settings.devices]
        self._queue = FairQueue()
        self._live: dict[str, LiveJob] = {}
        self._changed = asyncio.Condition()
        self._serving: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._lock: ServerLock
        self._notes: Notes

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Take the state folder, go on with what was broken off, and begin to work.

        Raises
        ------
        ServerRunningError
            If another server has the folder.
        DamagedJournalError, JournalVersionError, DiskFullError
            If the journal cannot be used.
        """
        self._lock = ServerLock(self._folder)
        try:
            self._notes, waiting = await Notes.recover(self._folder, self._settings.kept_max)
        except BaseException:
            self._lock.release()
            raise
        for entry in waiting:
            await self._take_up(self._enter(entry))
        self._serving = {asyncio.create_task(self._serve(station)) for station in self._stations}

    def tell_address(self, address: str) -> None:
        """Let a second server know where this one listens, e.g. ``"127.0.0.1:50051"``."""
        self._lock.tell(address)

    async def submit(
        self,
        kind: str,
        request: Mapping[str, Any],
        *,
        client: str = "",
        device: str = ANY_DEVICE,
        title: str = "",
        is_resumable: bool = False,
    ) -> Job:
        """Take in a job and return it at once.

        Parameters
        ----------
        kind : str
            What to do.
        request : mapping
            JSON values; its ``device``, where it has one, is replaced by that of the worker.
        client : str
            Who asks; clients take turns.
        device : str
            One of the board's devices, a kind of them (``"cuda"``), or ``"auto"``.
        title : str
            What it works on, for a reader.
        is_resumable : bool
            Whether the work may begin again after the end of a server, knowing that it does.

        Raises
        ------
        QueueFullError
            If too many jobs wait.
        InvalidValueError
            If there is no such device.
        ServerStoppingError
            If no work is taken any more.
        """
        self._check_open()
        self._check_device(device)
        waiting = sum(live.job.state is JobState.QUEUED for live in self._live.values())
        if waiting >= self._settings.queued_max:
            raise QueueFullError(
                f"{waiting} jobs wait, and {self._settings.queued_max} may: wait for one to end, cancel one, or raise"
                " the limit in the server's configuration"
            )
        job = Job(
            id=secrets.token_hex(6),
            kind=kind,
            title=title or kind,
            client=client,
            device=device,
            state=JobState.QUEUED,
            created=utc_now(),
            request=request,
        )
        # A caller who goes away in this moment must not leave half a job.
        await asyncio.shield(self._take_in(self._enter(Entry(job=job, is_resumable=is_resumable))))
        return job

    async def get(self, job_id: str) -> Job:
        """Return a job as it stands.

        Raises
        ------
        JobNotFoundError
            If there is none of that id.
        """
        live = self._live.get(job_id)
        return live.job if live else await self._notes.get(job_id)

    async def list(
        self,
        page_size: int = 0,
        page_token: str = "",
        states: Collection[JobState] = (),
        kinds: Collection[str] = (),
    ) -> JobPage:
        """Return a part of the list of jobs, the newest first, without their requests and results.

        Parameters
        ----------
        page_size : int
            Jobs a page; 0 means the default, more than the limit is cut.
        page_token : str
            ``next_page_token`` of the page before.
        states, kinds : collection
            Only these; all where empty.

        Raises
        ------
        InvalidValueError
            If the size is negative, or the token belongs to another list.
        """
        page = await self._notes.page(page_size, page_token, states, kinds)
        return replace(page, jobs=tuple(self._newest(job) for job in page.jobs))

    def watch(self, job_id: str, *, with_chunks: bool = True) -> AsyncIterator[Job | Chunk]:
        """Return how a job stands, then every change, until it has ended; all who watch get the same ``Job`` objects.

        Watching begins with this call, not with the first step of the iterator, which must follow. Somebody slow gets
        the newest state of each stage, but all chunks: the work waits for them.

        Parameters
        ----------
        job_id : str
            Of the job.
        with_chunks : bool
            Whether to receive what it emits. Chunks of the time before anybody did so are kept for a while.

        Raises
        ------
        JobNotFoundError
            If there is none of that id; raised by the first step.
        ServerStoppingError
            If the server stops before the job has ended; raised by a later step.
        """
        live = self._live.get(job_id)
        return live.watch(with_chunks) if live else self._watch_journal(job_id)

    async def cancel(self, job_id: str) -> Job:
        """Stop a job within a second and return it ended; one that has ended already is returned as it is.

        Raises
        ------
        JobNotFoundError
            If there is none of that id.
        JobElsewhereError
            If it does not run in this server.
        """
        live = self._live.get(job_id)
        if live is None:
            job = await self.get(job_id)
            if not job.state.is_terminal:
                self._check_open()
                raise JobElsewhereError(f"job '{job_id}' runs in a process of its own: stop it there, with Ctrl-C")
            return job
        live.is_cancelled = True
        if self._queue.remove(job_id):
            await asyncio.shield(self._end(live, Stopped()))
        live.stop.set()
        await live.ended.wait()
        if not live.job.state.is_terminal:
            self._check_open()
        return live.job

    async def drain(self, grace_s: float) -> None:
        """Take no more work, and wait for what runs.

        Jobs that still run then are stopped: those that can be resumed wait for the next server, like all that wait
        already; the others fail.

        Parameters
        ----------
        grace_s : float
            How long they may take, s.
        """
        self._is_stopping = True
        async with self._changed:
            self._changed.notify_all()
        if self._serving:
            _, late = await asyncio.wait(self._serving, timeout=grace_s)
            for live in self._live.values():
                live.stop.set()
            if late:
                await asyncio.wait(late)
        for live in self._live.values():
            live.audience.break_off(self._stopping())
        self._live.clear()

    async def close(self) -> None:
        """Stop everything and let another server in."""
        await self.drain(0)
        await asyncio.gather(*(station.close() for station in self._stations))
        await self._notes.close()
        self._lock.release()

    def _check_device(self, device: str) -> None:
        if not suits_any(device, self._settings.devices):
            raise InvalidValueError(f"no device '{device}' here; there are: auto, {', '.join(self._settings.devices)}")

    def _check_open(self) -> None:
        if self._is_stopping:
            raise self._stopping()

    def _stopping(self) -> ServerStoppingError:
        return ServerStoppingError("the server stops: jobs that wait go on when it runs again; ask it then")

    def _enter(self, entry: Entry) -> LiveJob:
        live = LiveJob(entry)
        self._live[entry.job.id] = live
        return live

    async def _take_in(self, live: LiveJob) -> None:
        try:
            await self._notes.add(live.entry)
        except BaseException:
            del self._live[live.job.id]
            raise
        await self._queue_up(live)

    async def _take_up(self, live: LiveJob) -> None:
        try:
            self._check_device(live.job.device)
        except InvalidValueError as error:
            await self._end(live, Failed(error.reason, str(error), is_defect=False))
        else:
            await self._queue_up(live)

    async def _queue_up(self, live: LiveJob) -> None:
        job = live.job
        is_interactive = job.kind in self._settings.interactive_kinds
        self._queue.add(Ticket(job_id=job.id, client=job.client, device=job.device, is_interactive=is_interactive))
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, station: Station) -> None:
        if self._settings.is_warmed_up:
            station.warm_up()
        while (ticket := await self._next(station.device)) is not None:
            live = self._live[ticket.job_id]
            try:
                outcome = await self._do(live, station)
            except Exception as error:
                LOG.exception("job %s", live.job.id)
                cause = JobError.of(error)
                outcome = Failed(cause.reason, cause.message, is_defect=True)
            await self._end(live, outcome)

    async def _next(self, device: str) -> Ticket | None:
        async with self._changed:
            while not self._is_stopping:
                if (ticket := self._queue.take(device)) is not None:
                    return ticket
                await self._changed.wait()
        return None

    async def _do(self, live: LiveJob, station: Station) -> Outcome:
        live.change(state=JobState.RUNNING, started=utc_now(), device=station.device)
        await self._notes.begin(live.job)
        is_resumed = live.entry.attempts > 0
        begin = Begin(live.job.id, live.job.kind, msgspec.json.encode(live.job.request), is_resumed)

        def hear(news: News, answer: Answer) -> None:
            live.hear(news, answer)
            if live.is_due():
                self._notes.note(live.job)

        return await station.run(begin, live.stop, hear)

    async def _end(self, live: LiveJob, outcome: Outcome) -> None:
        job = live.after(outcome)
        is_written = True
        try:
            await self._notes.end(job)
        except Exception:
            # Whoever asks this server still learns the truth; the next one finds a job that was broken off.
            LOG.exception("the end of job %s is not in the journal", job.id)
            is_written = False
        if not job.state.is_terminal:
            live.wait_again(job)
            return
        live.end(job)
        LOG.info("job ended", extra={"job": job.id, "kind": job.kind, "state": job.state.value})
        if live.audience.is_awaited:
            asyncio.get_running_loop().call_later(UNWATCHED_S, self._live.pop, job.id, None)
        elif is_written:
            self._live.pop(job.id, None)

    async def _watch_journal(self, job_id: str) -> AsyncIterator[Job | Chunk]:
        told: Job | None = None
        while told is None or not told.state.is_terminal:
            job = await self._notes.get(job_id)
            if job != told:
                told = job
                yield job
            elif not job.state.is_terminal:
                await asyncio.sleep(FOREIGN_POLL_S)
                self._check_open()

    def _newest(self, job: Job) -> Job:
        live = self._live.get(job.id)
        return replace(live.job, request={}, result=None) if live else job
