import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qpbridge.jobs.records import Job, JobProgress, JobState, utc_now
from qpbridge.jobs.store.journal import Entry, Journal
from qpbridge.jobs.store.recovery import ATTEMPTS_MAX, PROCESS_PREFIX, recover, recover_elsewhere, requeued
from qpbridge.jobs.store.state_folder import StateFolder

KILLED = """
import os, signal, sys
from pathlib import Path
from qpbridge.files import atomic_file
from qpbridge.jobs.store.state_folder import StateFolder

folder = Path(sys.argv[1])
with StateFolder(folder / "state").alive(sys.argv[2]), atomic_file(folder / "out" / sys.argv[2]) as file:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


@pytest.fixture
def journal(folder: StateFolder) -> Iterator[Journal]:
    journal = Journal(folder.journal)
    yield journal
    journal.close()


def add(journal: Journal, job_id: str, state: JobState, is_resumable: bool = False, is_elsewhere: bool = False) -> Job:
    progress = JobProgress(stage="a", done=1, total=2)
    fields = {"kind": "k", "title": "t", "client": "c", "device": "auto", "progress": progress, "request": {"a": 1}}
    job = Job(id=job_id, created=utc_now(), state=JobState.QUEUED, **fields)
    journal.add(Entry(job=job, is_resumable=is_resumable), is_elsewhere=is_elsewhere)
    if state is not JobState.QUEUED:
        job = replace(job, state=state, started=utc_now(), device="cuda:0")
        journal.begin(job)
    return job


def killed(tmp_path: Path, name: str) -> None:
    subprocess.run([sys.executable, "-c", KILLED, tmp_path, name], check=False)
    assert len(list((tmp_path / "out").glob(f".{name}.*"))) == 1


def test_jobs_that_waited_wait_on_in_their_order(folder: StateFolder, journal: Journal):
    jobs = [add(journal, job_id, JobState.QUEUED) for job_id in "312"]

    assert [entry.job for entry in recover(folder, journal)] == jobs


def test_a_job_that_can_be_resumed_waits_again(folder: StateFolder, journal: Journal):
    add(journal, "1", JobState.RUNNING, is_resumable=True)

    [entry] = recover(folder, journal)

    assert (entry.job.state, entry.job.device, entry.job.started) == (JobState.QUEUED, "auto", None)
    assert (entry.job.request, entry.attempts) == ({"a": 1}, 1)
    assert journal.get("1").state is JobState.QUEUED


def test_a_job_that_cannot_be_resumed_has_failed(folder: StateFolder, journal: Journal):
    add(journal, "1", JobState.RUNNING)

    assert recover(folder, journal) == []
    job = journal.get("1")
    assert (job.state, job.error.reason) == (JobState.FAILED, "SERVER_STOPPED")
    assert "submit it again" in job.error.message
    assert job.finished is not None


def test_a_job_that_takes_its_server_along_each_time_is_given_up(folder: StateFolder, journal: Journal):
    job = add(journal, "1", JobState.RUNNING, is_resumable=True)
    for _ in range(ATTEMPTS_MAX - 1):
        assert len(recover(folder, journal)) == 1
        journal.begin(job)

    assert recover(folder, journal) == []
    assert f"each of the {ATTEMPTS_MAX} times" in journal.get("1").error.message


def test_jobs_that_have_ended_stay_as_they_are(folder: StateFolder, journal: Journal):
    job = add(journal, "1", JobState.CANCELLED, is_resumable=True)

    assert recover(folder, journal) == []
    assert journal.get("1") == job


def test_what_dead_workers_were_writing_is_removed(folder: StateFolder, journal: Journal, tmp_path: Path):
    killed(tmp_path, "worker-cpu-1")
    killed(tmp_path, f"{PROCESS_PREFIX}0")

    recover(folder, journal)

    assert list((tmp_path / "out").iterdir()) == []
    assert folder.names() == []


def test_a_job_whose_own_process_died_has_failed(folder: StateFolder, journal: Journal, tmp_path: Path):
    add(journal, "1", JobState.RUNNING, is_elsewhere=True)
    killed(tmp_path, f"{PROCESS_PREFIX}1")

    recover_elsewhere(folder, journal)

    assert (journal.get("1").state, journal.get("1").error.reason) == (JobState.FAILED, "WORKER_DIED")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_job_whose_own_process_lives_is_left_alone(folder: StateFolder, journal: Journal):
    job = add(journal, "1", JobState.RUNNING, is_elsewhere=True)

    with folder.alive(f"{PROCESS_PREFIX}1"):
        assert recover(folder, journal) == []
        assert journal.get("1") == job


def test_a_job_that_waits_again_shows_nothing_of_its_last_run(journal: Journal):
    job = requeued(add(journal, "1", JobState.RUNNING), "cuda")

    assert (job.state, job.device, job.started, job.progress) == (JobState.QUEUED, "cuda", None, None)
