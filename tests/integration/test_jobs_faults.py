"""What becomes of jobs when processes are killed, and of the files that they were writing."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import ServerRunningError
from qpbridge.jobs.board import BoardSettings, JobBoard
from qpbridge.jobs.records import Job, JobState
from qpbridge.jobs.store.journal import Journal

WORK = Path(__file__).parent.parent / "unit" / "jobs"
ENTRY = "fake_work:run"
PATIENCE_S = 60.0

SERVER = """
import asyncio, json, sys
from pathlib import Path
from qpbridge.jobs.board import BoardSettings, JobBoard

async def serve(folder, devices, jobs):
    async with JobBoard(folder, BoardSettings(entry="fake_work:run", devices=devices)) as board:
        board.tell_address("127.0.0.1:50051")
        for kind, request, is_resumable in jobs:
            job = await board.submit(kind, request, is_resumable=is_resumable)
            print(job.id, flush=True)
        await asyncio.Event().wait()

asyncio.run(serve(Path(sys.argv[1]), tuple(json.loads(sys.argv[2])), json.loads(sys.argv[3])))
"""


class Server:
    """A server in a process of its own, to be killed."""

    def __init__(self, folder: Path, jobs: list[tuple[str, dict[str, Any], bool]], devices: tuple[str, ...]) -> None:
        command = [sys.executable, "-c", SERVER, str(folder), json.dumps(devices), json.dumps(jobs)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def next_id(self) -> str:
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a server with jobs."""
    monkeypatch.setenv("PYTHONPATH", str(WORK))
    servers: list[Server] = []

    def start_one(*jobs: tuple[str, dict[str, Any], bool], devices: tuple[str, ...] = ("cpu",)) -> Server:
        servers.append(Server(tmp_path / "state", list(jobs), devices))
        return servers[-1]

    yield start_one
    for server in servers:
        if server.process.returncode is None:
            server.kill()


def until(is_so: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)


def workers(state: Path) -> list[int]:
    """Return the processes that work for a state folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"qpbridge.jobs.workers.child" in command and str(state).encode() in command:
            found.append(int(path.name))
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def after_restart(tmp_path: Path, *job_ids: str) -> list[Job]:
    """Let another server take the state folder, and return how the jobs end there."""

    async def serve() -> list[Job]:
        async with JobBoard(tmp_path / "state", BoardSettings(entry=ENTRY)) as board:
            return [[news async for news in board.watch(job_id)][-1] for job_id in job_ids]

    return asyncio.run(asyncio.wait_for(serve(), PATIENCE_S))


needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to see other processes")


@needs_proc
@pytest.mark.parametrize("kind", ["stubborn", "busy"])
def test_a_killed_server_leaves_no_worker_behind(start: Start, tmp_path: Path, kind: str):
    server = start((kind, {}, False))
    job_id = server.next_id()
    journal = Journal(tmp_path / "state" / "jobs.sqlite3")
    until(lambda: journal.get(job_id).progress is not None, "the job does not begin")
    journal.close()
    time.sleep(0.5)
    assert len(workers(tmp_path / "state")) == 1

    server.kill()

    until(lambda: workers(tmp_path / "state") == [], "a worker outlives its server")


def test_a_job_that_can_be_resumed_goes_on_after_its_server_was_killed(start: Start, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    request = {"total": 30, "out": str(out), "step_s": 0.03, "write_s": 0.03}
    server = start(("slides", request, True))
    job_id = server.next_id()
    until(lambda: len(files(out)) > 8, "nothing is written")
    server.kill()
    until(lambda: workers(tmp_path / "state") == [], "a worker outlives its server")
    before = {name: (out / name).stat().st_mtime_ns for name in files(out) if name.endswith(".txt") and name[0] != "."}
    assert 0 < len(before) < 30

    [job] = after_restart(tmp_path, job_id)

    assert (job.state, job.result) == (JobState.SUCCEEDED, {"slides": 30})
    assert files(out) == sorted([*(f"{number}.txt" for number in range(30)), "written.log"])
    assert all((out / f"{number}.txt").read_bytes() == b"whole" for number in range(30))
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    numbers = [line.split()[0] for line in (out / "written.log").read_text().splitlines()]
    assert len(numbers) == len(set(numbers))


def test_a_job_that_cannot_be_resumed_has_failed_and_left_nothing(start: Start, tmp_path: Path):
    out = tmp_path / "out"
    server = start(("write_half", {"out": str(out)}, False), ("echo", {"a": 1}, False))
    broken_off, waiting = server.next_id(), server.next_id()
    until(lambda: len(files(out)) == 2, "nothing is written")
    server.kill()

    first, second = after_restart(tmp_path, broken_off, waiting)

    assert (first.state, first.error.reason) == (JobState.FAILED, "SERVER_STOPPED")
    assert files(out) == []
    assert (second.state, second.result["a"]) == (JobState.SUCCEEDED, 1)


def test_a_job_that_takes_its_server_along_is_given_up_and_the_others_go_on(start: Start, tmp_path: Path):
    server = start(("stubborn", {}, True), ("echo", {}, False))
    job_id, other = server.next_id(), server.next_id()
    for attempts in (1, 2, 3):
        journal = Journal(tmp_path / "state" / "jobs.sqlite3")
        until(lambda n=attempts, now=journal: now.unfinished()[0].attempts == n, "the job does not begin")
        journal.close()
        server.kill()
        server = start() if attempts < 3 else server

    first, second = after_restart(tmp_path, job_id, other)

    assert (first.state, first.error.reason) == (JobState.FAILED, "SERVER_STOPPED")
    assert "each of the 3 times" in first.error.message
    assert second.state is JobState.SUCCEEDED


def test_every_job_that_was_answered_is_in_the_journal_whenever_its_server_is_killed(start: Start, tmp_path: Path):
    answered: list[str] = []
    for count in (7, 23):  # a third time would be one too many for the job that runs each time
        server = start(*(("echo", {"number": number}, True) for number in range(60)))
        answered += [server.next_id() for _ in range(count)]
        server.kill()

    database = sqlite3.connect(tmp_path / "state" / "jobs.sqlite3")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    ended = after_restart(tmp_path, *answered)
    assert [job.id for job in ended] == answered
    assert {job.state for job in ended} == {JobState.SUCCEEDED}


def test_a_second_server_is_refused_until_the_first_is_gone(start: Start, tmp_path: Path):
    server = start(("echo", {}, True))
    job_id = server.next_id()

    with pytest.raises(ServerRunningError, match=rf"process {server.process.pid} at 127\.0\.0\.1:50051"):
        after_restart(tmp_path)
    server.kill()

    assert after_restart(tmp_path, job_id)[0].state is JobState.SUCCEEDED


@needs_proc
def test_a_killed_worker_fails_its_own_job_only(start: Start, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    slides = {"total": 40, "out": str(out), "step_s": 0.05}
    server = start(("stubborn", {}, False), ("slides", slides, False), ("echo", {}, False), devices=("x:0", "x:1"))
    ids = [server.next_id() for _ in range(3)]
    state = tmp_path / "state"
    journal = Journal(state / "jobs.sqlite3")
    until(lambda: all(journal.get(one).progress for one in ids[:2]), "the jobs do not begin")
    device = journal.get(ids[0]).device
    [victim] = [pid for pid in workers(state) if device.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]

    os.kill(victim, signal.SIGKILL)
    until(lambda: all(journal.get(one).state.is_terminal for one in ids), "the jobs do not end")

    killed, *others = [journal.get(one) for one in ids]
    journal.close()
    assert (killed.state, killed.error.reason) == (JobState.FAILED, "WORKER_DIED")
    assert "SIGKILL" in killed.error.message
    assert [job.state for job in others] == [JobState.SUCCEEDED] * 2


@pytest.mark.parametrize("kind", ["stubborn", "busy", "write_half"])
def test_work_that_hears_nothing_is_cancelled_all_the_same(start: Start, tmp_path: Path, kind: str):
    async def cancel() -> tuple[Job, Job, float]:
        async with JobBoard(tmp_path / "state", BoardSettings(entry=ENTRY)) as board:
            job = await board.submit(kind, {"out": str(tmp_path / "out")})
            async for news in board.watch(job.id, with_chunks=False):
                if news.progress is not None:
                    break
            await asyncio.sleep(0.5)
            begin_s = time.monotonic()
            cancelled = await board.cancel(job.id)
            took_s = time.monotonic() - begin_s
            echo = await board.submit("echo", {})
            return cancelled, [news async for news in board.watch(echo.id)][-1], took_s

    cancelled, echo, took_s = asyncio.run(asyncio.wait_for(cancel(), PATIENCE_S))

    assert cancelled.state is JobState.CANCELLED
    assert took_s < 10  # of 600; on a machine at rest 0.5
    assert files(tmp_path / "out") == []
    assert echo.state is JobState.SUCCEEDED
