import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qpbridge.errors import DamagedJournalError, JobNotFoundError
from qpbridge.jobs import notes as notes_module
from qpbridge.jobs.notes import Notes
from qpbridge.jobs.records import Job, JobState, utc_now
from qpbridge.jobs.store.journal import Entry, Journal
from qpbridge.jobs.store.state_folder import StateFolder


def job(job_id: str, state: JobState = JobState.QUEUED) -> Job:
    return Job(id=job_id, kind="k", title="t", client="c", device="auto", created=utc_now(), state=state)


def entry(job_id: str) -> Entry:
    return Entry(job=job(job_id), is_resumable=True)


def with_notes(tmp_path: Path, act: Callable[[Notes, list[Entry]], Awaitable[None]], kept_max: int = 10) -> None:
    async def act_and_close() -> None:
        notes, waiting = await Notes.recover(StateFolder(tmp_path / "state"), kept_max)
        try:
            await act(notes, waiting)
        finally:
            await notes.close()

    asyncio.run(act_and_close())


def test_what_is_noted_is_there_next_time(tmp_path: Path):
    async def write(notes: Notes, waiting: list[Entry]) -> None:
        assert waiting == []
        for job_id in "123":
            await notes.add(entry(job_id))
        await notes.begin(job("1", JobState.RUNNING))
        await notes.end(job("2", JobState.FAILED))
        notes.note(job("3", JobState.RUNNING))

    async def read(notes: Notes, waiting: list[Entry]) -> None:
        assert [(one.job.id, one.attempts) for one in waiting] == [("1", 1), ("3", 0)]
        assert (await notes.get("2")).state is JobState.FAILED
        assert [one.id for one in (await notes.page(2, "", (), ())).jobs] == ["3", "2"]

    with_notes(tmp_path, write)
    with_notes(tmp_path, read)


def test_errors_of_the_journal_reach_whoever_asks(tmp_path: Path):
    async def ask(notes: Notes, _: list[Entry]) -> None:
        with pytest.raises(JobNotFoundError):
            await notes.get("x")

    with_notes(tmp_path, ask)
    (tmp_path / "state" / "jobs.sqlite3").write_bytes(b"no database at all" * 100)
    for leftover in (tmp_path / "state").glob("jobs.sqlite3-*"):
        leftover.unlink()
    with pytest.raises(DamagedJournalError):
        with_notes(tmp_path, ask)


def test_a_failure_that_nobody_waits_for_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async def write(notes: Notes, _: list[Entry]) -> None:
        notes._journal._db.execute("DROP TABLE jobs")
        notes.note(job("1"))

    with caplog.at_level(logging.ERROR):
        with_notes(tmp_path, write)
    assert "progress is not in the journal: no such table: jobs" in caplog.text


def test_only_the_newest_ended_jobs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notes_module, "PRUNE_EVERY", 5)

    async def write(notes: Notes, _: list[Entry]) -> None:
        for number in range(10):
            await notes.add(entry(f"{number}"))
            await notes.end(job(f"{number}", JobState.FAILED))
        assert len((await notes.page(0, "", (), ())).jobs) == 3

    async def read(notes: Notes, _: list[Entry]) -> None:
        assert [one.id for one in (await notes.page(0, "", (), ())).jobs] == ["9"]

    with_notes(tmp_path, write, kept_max=3)
    with_notes(tmp_path, read, kept_max=1)


def test_what_is_written_comes_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []
    monkeypatch.setattr(Journal, "save", lambda _, one: written.append(one.title))

    async def write(notes: Notes, _: list[Entry]) -> None:
        for number in range(50):
            notes.note(replace(job("1"), title=str(number)))
        await notes.end(job("1", JobState.FAILED))

    with_notes(tmp_path, write)
    assert written == [*map(str, range(50)), "t"]
