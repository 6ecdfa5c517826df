import errno
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qpbridge.errors import DamagedJournalError, DiskFullError, JobNotFoundError, JournalVersionError
from qpbridge.jobs.records import Job, JobError, JobProgress, JobState, utc_now
from qpbridge.jobs.store.journal import Entry, Journal


def job(job_id: str, state: JobState = JobState.QUEUED, kind: str = "train", **fields: object) -> Job:
    finished = utc_now() if state.is_terminal else None
    facts = {"title": "t", "client": "ann", "device": "auto", "created": utc_now(), "finished": finished, **fields}
    return Job(id=job_id, kind=kind, state=state, **facts)


def entry(job_id: str, state: JobState = JobState.QUEUED, is_resumable: bool = False, **fields: object) -> Entry:
    return Entry(job=job(job_id, state, **fields), is_resumable=is_resumable)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "jobs.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path)
    yield journal
    journal.close()


def ids(journal: Journal, **query: object) -> list[str]:
    chosen = {"size": 0, "token": "", "states": (), "kinds": (), **query}
    return [one.id for one in journal.page(**chosen).jobs]


def test_a_job_comes_back_as_it_was(journal: Journal):
    one = job("1", request={"a": [1, None, "ä"], "b": {"c": 0.5}}, warnings=("careful",))
    journal.add(Entry(job=one, is_resumable=True))

    assert journal.get("1") == one


def test_all_that_changes_is_kept(journal: Journal):
    one = job("1", request={"a": 1})
    journal.add(Entry(job=one, is_resumable=False))
    ended = replace(
        one,
        state=JobState.PARTLY_DONE,
        device="cuda:0",
        started=utc_now(),
        finished=utc_now(),
        progress=JobProgress(stage="a", done=1, total=2, rate_per_s=0.5, eta_s=2.0, numbers={"loss": 0.25}),
        warnings=("one", "two"),
        result={"failures": [1]},
        error=JobError(reason="R", message="m"),
    )
    journal.save(ended)

    assert journal.get("1") == ended


def test_numbers_that_are_none_are_left_out(journal: Journal):
    numbers = {"loss": float("nan"), "rate": 2.0}
    journal.add(entry("1", progress=JobProgress(stage="a", done=1, total=2, numbers=numbers)))

    assert journal.get("1").progress.numbers == {"rate": 2.0}


def test_paths_in_requests_are_kept_as_text(journal: Journal):
    journal.add(entry("1", request={"out": Path("/a/b")}))

    assert journal.get("1").request == {"out": "/a/b"}


def test_another_process_sees_what_was_written(journal: Journal, path: Path):
    journal.add(entry("1"))
    other = Journal(path)

    other.save(job("1", JobState.RUNNING))

    assert journal.get("1").state is JobState.RUNNING
    other.close()


def test_what_was_written_is_there_without_closing(path: Path):
    first = Journal(path)
    first.add(entry("1"))

    second = Journal(path)
    assert second.get("1").id == "1"
    first.close()
    second.close()


def test_a_job_that_is_not_there_is_told(journal: Journal):
    with pytest.raises(JobNotFoundError, match="no job 'x'"):
        journal.get("x")


def test_a_list_begins_with_the_newest_and_leaves_out_what_is_large(journal: Journal):
    for number in range(3):
        journal.add(entry(str(number), request={"a": 1}))
        journal.save(job(str(number), JobState.SUCCEEDED, result={"b": 1}))

    jobs = journal.page(0, "", (), ()).jobs
    assert [one.id for one in jobs] == ["2", "1", "0"]
    assert all(one.request == {} and one.result is None for one in jobs)


def test_pages_join_without_gap_or_overlap_while_jobs_come_and_go(journal: Journal):
    for number in range(10):
        journal.add(entry(f"{number}", JobState.SUCCEEDED))
    first = journal.page(4, "", (), ())
    journal.add(entry("new", JobState.SUCCEEDED))
    second = journal.page(4, first.next_page_token, (), ())
    journal.prune(6)
    third = journal.page(4, second.next_page_token, (), ())

    assert [one.id for one in (*first.jobs, *second.jobs)] == list("98765432")
    assert (third.jobs, third.next_page_token) == ((), "")


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
def test_the_last_page_says_that_it_is(journal: Journal, count: int, pages: int):
    for number in range(count):
        journal.add(entry(f"{number}"))
    token, seen = "", 0
    for _ in range(pages):
        assert bool(token) == bool(seen)
        page = journal.page(3, token, (), ())
        token, seen = page.next_page_token, seen + len(page.jobs)

    assert (token, seen) == ("", count)


def test_lists_hold_the_states_and_kinds_asked_for(journal: Journal):
    for number, (state, kind) in enumerate((s, k) for s in JobState for k in ("train", "predict")):
        journal.add(entry(f"{number}", state, kind=kind))

    assert ids(journal, states=[JobState.RUNNING, JobState.FAILED]) == ["9", "8", "3", "2"]
    assert ids(journal, kinds=["predict"]) == ["11", "9", "7", "5", "3", "1"]
    assert ids(journal, states=[JobState.RUNNING, JobState.FAILED], kinds=["train", "none"]) == ["8", "2"]
    assert ids(journal, states=[JobState.QUEUED], kinds=["none"]) == []


def test_lists_of_few_among_many_never_read_all(journal: Journal):
    from qpbridge.jobs.store.paging import PageQuery

    for states, kinds in [((), ()), ((JobState.FAILED,), ()), ((), ("train",)), (tuple(JobState), ("a", "b"))]:
        query = PageQuery.of(50, "", states, kinds)
        plan = journal._read(f"EXPLAIN QUERY PLAN {query.sql('sequence')}", query.values())
        steps = [row[3] for row in plan]
        assert any(step.startswith("SEARCH jobs USING") for step in steps)
        assert not any(step == "SCAN jobs" for step in steps)


def test_unfinished_jobs_come_with_what_is_needed_to_go_on(journal: Journal):
    journal.add(entry("done", JobState.SUCCEEDED))
    journal.add(entry("1", is_resumable=True, request={"a": 1}))
    journal.add(entry("2", device="cuda"))
    journal.add(entry("here", JobState.RUNNING), is_elsewhere=True)
    journal.begin(job("1", JobState.RUNNING, device="cuda:1"))

    first, second = journal.unfinished()
    assert (first.job.id, first.job.state, first.job.device) == ("1", JobState.RUNNING, "auto")
    assert (first.job.request, first.is_resumable, first.attempts) == ({"a": 1}, True, 1)
    assert (second.job.id, second.job.device, second.is_resumable, second.attempts) == ("2", "cuda", False, 0)
    assert [one.job.id for one in journal.unfinished(elsewhere=True)] == ["here"]


def test_old_ended_jobs_are_forgotten_with_their_documents(journal: Journal):
    journal.add(entry("waits"))
    for number in range(5):
        journal.add(entry(f"{number}", JobState.FAILED))

    assert journal.prune(2) == 3
    assert journal.prune(2) == 0
    assert ids(journal) == ["4", "3", "waits"]
    assert journal._read("SELECT count(*) FROM documents", ()) == [(3,)]


def test_ids_are_unique(journal: Journal):
    journal.add(entry("1"))

    with pytest.raises(sqlite3.IntegrityError):
        journal.add(entry("1"))
    assert ids(journal) == ["1"]


def test_half_a_job_is_never_written(journal: Journal):
    journal.add(entry("1", request={"a": 1}))
    journal._db.execute("DROP TABLE documents")

    with pytest.raises(sqlite3.OperationalError):
        journal.add(entry("2"))
    assert ids(journal) == ["1"]


def test_threads_share_a_journal(journal: Journal):
    journal.add(entry("1"))

    def write() -> None:
        for done in range(50):
            journal.save(job("1", progress=JobProgress(stage="a", done=done, total=50)))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert journal.get("1").progress.done == 49


def test_a_file_that_is_no_journal_is_told(path: Path):
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)

    with pytest.raises(DamagedJournalError, match=r"jobs\.sqlite3 is damaged .*: move it away"):
        Journal(path)
    assert path.read_bytes().startswith(b"no database")


def test_a_journal_of_a_newer_version_is_left_alone(journal: Journal, path: Path):
    journal._db.execute("PRAGMA user_version = 99")

    with pytest.raises(JournalVersionError, match="its version is 99, this one knows 1"):
        Journal(path)


def test_a_full_disk_is_told_and_changes_nothing(journal: Journal):
    journal.add(entry("1"))
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(DiskFullError, match="no space left for"):
        journal.add(entry("2", request={"a": "x" * 10**6}))

    journal._db.execute(f"PRAGMA max_page_count = {pages * 1000}")
    journal.add(entry("3"))
    assert ids(journal) == ["3", "1"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="file") as told:
        Journal(tmp_path / "file" / "jobs.sqlite3")
    assert told.value.errno in {errno.ENOTDIR, errno.EEXIST}
