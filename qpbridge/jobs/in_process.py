"""Jobs that run in the process of whoever wants them, noted in the same journal as those of a server."""

from __future__ import annotations

import contextlib
import getpass
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from qpbridge.core.progress import Progress
from qpbridge.errors import CancelledError, QpbridgeError
from qpbridge.jobs.pace import Due, Pace
from qpbridge.jobs.records import Job, JobError, JobState, ended_well, utc_now, with_warning
from qpbridge.jobs.store.journal import KEPT_MAX, Entry, Journal
from qpbridge.jobs.store.recovery import PROCESS_PREFIX, recover_elsewhere
from qpbridge.jobs.store.state_folder import StateFolder


class Recording:
    """Progress of a job in this process that is noted in a journal too; threads may share it.

    Parameters
    ----------
    job : Job
        As it begins.
    journal : Journal or None
        Knows the job.
    progress : Progress
        Receives everything as well.
    """

    def __init__(self, job: Job, journal: Journal | None, progress: Progress) -> None:
        self.job = job
        self._journal = journal
        self._progress = progress
        self._pace = Pace()
        self._due = Due()
        self._lock = threading.Lock()

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """Pass progress on, and note it now and then."""
        self._progress.report(stage, done, total, **numbers)
        with self._lock:
            progress = self._pace.progress(stage, done, total, numbers)
            self._change(progress=progress)

    def warn(self, message: str) -> None:
        """Pass a warning on, and note it."""
        self._progress.warn(message)
        with self._lock:
            self._change(warnings=with_warning(self.job.warnings, message))

    def raise_if_cancelled(self) -> None:
        """Raise ``CancelledError`` if somebody asked to stop."""
        self._progress.raise_if_cancelled()

    def finish(self, result: Mapping[str, Any]) -> None:
        """Note what the work gave; without this, the end of the block is an end without a result.

        Parameters
        ----------
        result : mapping
            JSON values; partly done where its ``failures`` are not empty.
        """
        self.job = replace(self.job, result=result, state=ended_well(result))

    def end(self, error: BaseException | None) -> None:
        """Note the end."""
        state = self.job.state if self.job.state.is_terminal else JobState.SUCCEEDED
        cause = None
        if isinstance(error, CancelledError | KeyboardInterrupt):
            state = JobState.CANCELLED
        elif error is not None:
            state, cause = JobState.FAILED, JobError.of(error)
        self.job = replace(self.job, state=state, error=cause, finished=utc_now())
        self._save()

    def _change(self, **changes: Any) -> None:
        self.job = replace(self.job, **changes)
        if self._due():
            self._save()

    def _save(self) -> None:
        if self._journal is not None:
            # The work matters more than its journal.
            with contextlib.suppress(QpbridgeError, sqlite3.Error):
                self._journal.save(self.job)


@contextlib.contextmanager
def journaled(
    folder: Path, kind: str, request: Mapping[str, Any], progress: Progress, *, title: str = "", device: str = ""
) -> Iterator[Recording]:
    """Note a job that the block does in the journal of a state folder.

    Where this process is killed, the next one that looks into the folder fails the job and removes what was being
    written. A journal that cannot be used is told as a warning, and the work goes on without.

    Parameters
    ----------
    folder : Path
        The state folder.
    kind : str
        What is done, e.g. ``"train"``.
    request : mapping
        JSON values.
    progress : Progress
        Receives what the work reports, too.
    title : str
        What it works on, for a reader.
    device : str
        Where.

    Yields
    ------
    Recording
        The progress to give to the work, and what takes its result.
    """
    now = utc_now()
    job = Job(
        id=secrets.token_hex(6),
        kind=kind,
        title=title or kind,
        client=_user(),
        device=device,
        state=JobState.RUNNING,
        created=now,
        started=now,
        request=request,
    )
    with contextlib.ExitStack() as stack:
        recording = _recording(folder, job, progress, stack)
        try:
            yield recording
        except BaseException as error:
            recording.end(error)
            raise
        recording.end(None)


def _recording(folder: Path, job: Job, progress: Progress, stack: contextlib.ExitStack) -> Recording:
    try:
        state = StateFolder(folder)
        journal = Journal(state.journal)
        stack.callback(journal.close)
        recover_elsewhere(state, journal)
        journal.prune(KEPT_MAX)
        stack.enter_context(state.alive(PROCESS_PREFIX + job.id))
        journal.add(Entry(job=job, is_resumable=False), is_elsewhere=True)
    except (QpbridgeError, sqlite3.Error, OSError) as error:
        progress.warn(f"this run is not noted in the journal of {folder}: {error}")
        return Recording(job, None, progress)
    return Recording(job, journal, progress)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""
