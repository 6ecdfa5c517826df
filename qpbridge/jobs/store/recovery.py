"""How a server goes on after an end that was not planned."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qpbridge.jobs.records import SERVER_STOPPED, WORKER_DIED, Job, JobError, JobState, utc_now
from qpbridge.jobs.store.journal import Entry, Journal
from qpbridge.jobs.store.state_folder import StateFolder

ATTEMPTS_MAX: Final = 3
"""How often a job is begun: one that takes its server along each time must not do so for ever."""

WORKER_END_S: Final = 2.0
"""How long to wait for the end of workers whose server is gone, s; the system kills them with it."""

PROCESS_PREFIX: Final = "job-"
"""Begins the names of processes that carry out one job, which follows."""


def recover(folder: StateFolder, journal: Journal) -> list[Entry]:
    """Tidy up after processes that died, and return the jobs of the server that wait, the oldest first.

    What ran is queued again if it can be resumed, and failed otherwise.
    """
    recover_elsewhere(folder, journal)
    for name in folder.names():
        folder.remove_leftovers(name, 0.0 if name.startswith(PROCESS_PREFIX) else WORKER_END_S)
    waiting = []
    for entry in journal.unfinished():
        job = _recovered(entry)
        if job != entry.job:
            journal.save(job)
        if job.state is JobState.QUEUED:
            waiting.append(replace(entry, job=job))
    return waiting


def recover_elsewhere(folder: StateFolder, journal: Journal) -> None:
    """Fail the jobs whose own process died, and remove what that left half-written."""
    for entry in journal.unfinished(elsewhere=True):
        name = PROCESS_PREFIX + entry.job.id
        if not folder.is_alive(name):
            folder.remove_leftovers(name)
            journal.save(_failed(entry.job, WORKER_DIED, "the process that ran it ended without a word; run it again"))


def requeued(job: Job, device: str) -> Job:
    """Return a job as it waits once more, for the device that was asked for."""
    return replace(job, state=JobState.QUEUED, device=device, started=None, progress=None)


def stopped_with_server(job: Job) -> Job:
    """Return a job that ended with its server and cannot be resumed."""
    return _failed(job, SERVER_STOPPED, "the server stopped while this job ran; submit it again")


def _recovered(entry: Entry) -> Job:
    job = entry.job
    if job.state is JobState.QUEUED:
        return job
    if not entry.is_resumable:
        return stopped_with_server(job)
    if entry.attempts >= ATTEMPTS_MAX:
        return _failed(
            job,
            SERVER_STOPPED,
            f"the server stopped each of the {entry.attempts} times that this job ran: look into the server's log, then"
            " submit it again",
        )
    return requeued(job, job.device)


def _failed(job: Job, reason: str, message: str) -> Job:
    error = JobError(reason=reason, message=message)
    return replace(job, state=JobState.FAILED, finished=utc_now(), error=error)
