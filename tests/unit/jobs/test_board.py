import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import (
    DamagedJournalError,
    InvalidValueError,
    JobElsewhereError,
    JobNotFoundError,
    QueueFullError,
    ServerRunningError,
    ServerStoppingError,
)
from qpbridge.jobs import board as board_module
from qpbridge.jobs.board import JobBoard
from qpbridge.jobs.records import Chunk, Job, JobState, utc_now
from qpbridge.jobs.store.journal import Entry, Journal
from qpbridge.jobs.store.state_folder import StateFolder

MakeBoard = Callable[..., JobBoard]
Act = Callable[[JobBoard], Awaitable[None]]


def at_board(board: JobBoard, act: Act) -> None:
    async def act_there() -> None:
        async with board:
            await act(board)

    asyncio.run(act_there())


async def end_of(board: JobBoard, job: Job) -> Job:
    return [news async for news in board.watch(job.id)][-1]


async def done(board: JobBoard, kind: str, **request: Any) -> Job:
    return await end_of(board, await board.submit(kind, request))


async def until_running(board: JobBoard, job: Job) -> None:
    async for news in board.watch(job.id, with_chunks=False):
        assert not news.state.is_terminal
        if news.progress is not None:
            return


def test_a_job_is_answered_at_once_and_then_done(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        job = await board.submit("echo", {"a": 1}, client="ann", title="one slide")
        assert (job.state, job.kind, job.title, job.client) == (JobState.QUEUED, "echo", "one slide", "ann")

        ended = await end_of(board, job)
        assert (ended.state, ended.device, ended.request, ended.error) == (JobState.SUCCEEDED, "cpu", {"a": 1}, None)
        assert ended.result["a"] == 1
        assert not ended.result["is_resumed"]
        assert ended.created <= ended.started <= ended.finished
        assert await board.get(job.id) == ended

    at_board(make_board(), act)


def test_progress_comes_with_rate_numbers_and_an_end(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        job = await board.submit("count", {"total": 20, "step_s": 0.05})
        seen = [news async for news in board.watch(job.id)]

        states = [news.state for news in seen]
        assert states[-1] is JobState.SUCCEEDED
        assert JobState.RUNNING in states
        told = [news.progress for news in seen if news.progress]
        assert [one.done for one in told] == sorted(one.done for one in told)
        assert any("loss" in one.numbers and one.rate_per_s and one.eta_s for one in told)
        assert (told[-1].done, told[-1].total) == (20, 20)

    at_board(make_board(), act)


@pytest.mark.parametrize(
    ("kind", "state", "reason"),
    [
        ("partly", JobState.PARTLY_DONE, None),
        ("fail", JobState.FAILED, "SLIDE_NOT_FOUND"),
        ("defect", JobState.FAILED, "INTERNAL"),
        ("die", JobState.FAILED, "WORKER_DIED"),
    ],
)
def test_a_job_that_goes_wrong_says_so_and_takes_nothing_along(
    make_board: MakeBoard, kind: str, state: JobState, reason: str | None
):
    async def act(board: JobBoard) -> None:
        bad, good = await board.submit(kind, {"code": 3}), await board.submit("echo", {})

        ended = await end_of(board, bad)
        assert (ended.state, ended.error and ended.error.reason) == (state, reason)
        assert (await end_of(board, good)).state is JobState.SUCCEEDED

    at_board(make_board(), act)


@pytest.mark.parametrize(("kind", "total"), [("count", 10_000), ("stubborn", 1)])
def test_a_running_job_is_cancelled(make_board: MakeBoard, kind: str, total: int):
    async def act(board: JobBoard) -> None:
        job = await board.submit(kind, {"total": total})
        await until_running(board, job)
        watching = asyncio.create_task(end_of(board, job))

        first, second = await asyncio.gather(board.cancel(job.id), board.cancel(job.id))
        assert first.state is second.state is JobState.CANCELLED
        assert first.error is None
        assert await watching == first == await board.get(job.id) == await board.cancel(job.id)
        assert (await done(board, "echo")).state is JobState.SUCCEEDED

    at_board(make_board(), act)


def test_a_waiting_job_is_cancelled_and_never_begun(make_board: MakeBoard, tmp_path: Path):
    async def act(board: JobBoard) -> None:
        first = await board.submit("count", {"total": 10_000})
        waiting = await board.submit("slides", {"total": 1, "out": str(tmp_path)})

        assert (await board.cancel(waiting.id)).state is JobState.CANCELLED
        await board.cancel(first.id)
        await done(board, "echo")
        assert not (tmp_path / "0.txt").exists()

    at_board(make_board(), act)


def test_chunks_reach_every_one_who_watches_before_the_end(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        job = await board.submit("emit", {"chunks": 12, "size": 2**20})

        async def numbers() -> list[int]:
            news = [one async for one in board.watch(job.id)]
            assert isinstance(news[-1], Job)
            return [int.from_bytes(one.payload[:4], "big") for one in news if isinstance(one, Chunk)]

        everything, also, none = await asyncio.gather(numbers(), numbers(), end_of_states(board, job))
        assert everything == also == list(range(12))
        assert all(isinstance(one, Job) for one in none)

    async def end_of_states(board: JobBoard, job: Job) -> list[Job | Chunk]:
        return [one async for one in board.watch(job.id, with_chunks=False)]

    at_board(make_board(), act)


def test_chunks_of_a_job_that_has_ended_wait_for_who_comes_a_little_late(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        job = await board.submit("emit", {"chunks": 2, "size": 4})
        while not (await board.get(job.id)).state.is_terminal:
            await asyncio.sleep(0.01)

        news = [one async for one in board.watch(job.id)]
        assert [type(one) for one in news] == [Chunk, Chunk, Job]

    at_board(make_board(), act)


def test_work_waits_for_whoever_watches_slowly(make_board: MakeBoard, tmp_path: Path):
    async def act(board: JobBoard) -> None:
        job = await board.submit("emit", {"chunks": 30, "size": 2**20, "told": str(tmp_path / "told")})
        news = board.watch(job.id)
        while not isinstance(await anext(news), Chunk):
            pass
        for _ in range(30):
            await asyncio.sleep(0.02)

        assert int((tmp_path / "told").read_text()) <= 1 + 4 + 1
        count = sum([isinstance(one, Chunk) async for one in news])
        assert count == 29

    at_board(make_board(), act)


def test_interactive_jobs_pass_and_clients_take_turns(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        first = await board.submit("count", {"total": 10_000}, client="ann")
        await until_running(board, first)
        jobs = [await board.submit("echo", {}, client=client) for client in ("ann", "ann", "bob")]
        jobs.append(await board.submit("partly", {}, client="cid"))
        await board.cancel(first.id)

        ended = [await end_of(board, job) for job in jobs]
        order = sorted(range(4), key=lambda i: ended[i].started)
        assert order == [3, 2, 0, 1]

    at_board(make_board(interactive_kinds={"partly"}), act)


def test_every_device_has_a_worker_of_its_own(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        jobs = [await board.submit("count", {"total": 10_000, "device": "auto"}, device=one) for one in ("x:1", "auto")]
        for job in jobs:
            await until_running(board, job)

        assert {(await board.get(job.id)).device for job in jobs} == {"x:0", "x:1"}
        assert (await board.get(jobs[0].id)).device == "x:1"
        for job in jobs:
            await board.cancel(job.id)

    at_board(make_board(devices=("x:0", "x:1"), is_warmed_up=True), act)


def test_a_device_that_is_not_there_is_refused(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        with pytest.raises(InvalidValueError, match="no device 'cuda:7' here; there are: auto, cpu"):
            await board.submit("echo", {}, device="cuda:7")
        assert (await board.list()).jobs == ()

    at_board(make_board(), act)


def test_a_full_queue_refuses_with_its_limit(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        running = await board.submit("count", {"total": 10_000})
        await until_running(board, running)
        await board.submit("echo", {})
        both = await asyncio.gather(*(board.submit("echo", {}) for _ in range(2)), return_exceptions=True)

        [refused] = [one for one in both if isinstance(one, QueueFullError)]
        assert str(refused).startswith("2 jobs wait, and 2 may: wait for one to end")
        await board.cancel(running.id)

    at_board(make_board(queued_max=2), act)


def test_jobs_are_listed_in_pages_as_they_stand_now(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        await done(board, "echo", a=1)
        running = await board.submit("count", {"total": 10_000})
        await until_running(board, running)

        page = await board.list(page_size=1)
        assert [(job.id, job.state, job.request) for job in page.jobs] == [(running.id, JobState.RUNNING, {})]
        assert page.jobs[0].progress is not None
        [echo] = (await board.list(page_size=1, page_token=page.next_page_token)).jobs
        assert (echo.kind, echo.result) == ("echo", None)
        assert (await board.list(states=[JobState.RUNNING], kinds=["echo"])).jobs == ()
        await board.cancel(running.id)

    at_board(make_board(), act)


def test_a_job_that_is_not_there_is_told(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        for ask in (board.get("x"), board.cancel("x"), anext(board.watch("x"))):
            with pytest.raises(JobNotFoundError, match="no job 'x'"):
                await ask

    at_board(make_board(), act)


def test_a_hundred_who_watch_all_see_the_end(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        job = await board.submit("count", {"total": 50})
        ends = await asyncio.gather(*(end_of(board, job) for _ in range(100)))

        assert all(end is ends[0] for end in ends)
        assert ends[0].state is JobState.SUCCEEDED

    at_board(make_board(), act)


def test_a_job_that_runs_elsewhere_is_seen_but_not_stopped(
    make_board: MakeBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(board_module, "FOREIGN_POLL_S", 0.01)
    facts = {"kind": "k", "title": "t", "client": "c", "device": "cpu", "created": utc_now()}
    running = Job(id="1", state=JobState.RUNNING, **facts)

    async def act(board: JobBoard) -> None:
        journal = Journal(tmp_path / "state" / "jobs.sqlite3")
        with StateFolder(tmp_path / "state").alive("job-1"):
            journal.add(Entry(job=running, is_resumable=False), is_elsewhere=True)
            news = board.watch("1")
            assert await anext(news) == running
            with pytest.raises(JobElsewhereError, match="job '1' runs in a process of its own"):
                await board.cancel("1")
        journal.close()
        assert [one.error.reason async for one in news] == ["WORKER_DIED"]

    at_board(make_board(), act)


def test_drain_lets_what_runs_end_and_takes_nothing_new(make_board: MakeBoard, tmp_path: Path):
    async def act(board: JobBoard) -> None:
        running = await board.submit("count", {"total": 30})
        waiting = await board.submit("echo", {})
        await until_running(board, running)
        watching = asyncio.create_task(end_of(board, waiting))
        draining = asyncio.create_task(board.drain(60))
        await asyncio.sleep(0)
        with pytest.raises(ServerStoppingError):
            await board.submit("echo", {})

        assert (await end_of(board, running)).state is JobState.SUCCEEDED
        await draining
        with pytest.raises(ServerStoppingError):
            await watching
        assert (await board.get(waiting.id)).state is JobState.QUEUED

    at_board(make_board(), act)

    async def again(board: JobBoard) -> None:
        [job] = [one for one in (await board.list()).jobs if one.kind == "echo"]
        assert (await end_of(board, job)).state is JobState.SUCCEEDED

    at_board(make_board(), again)


def test_drain_stops_what_takes_too_long_and_the_next_server_goes_on(make_board: MakeBoard, tmp_path: Path):
    ids = []

    async def act(board: JobBoard) -> None:
        for is_resumable, kind in [(True, "slides"), (False, "stubborn")]:
            job = await board.submit(kind, {"total": 100, "out": str(tmp_path)}, is_resumable=is_resumable)
            ids.append(job.id)
            await until_running(board, job)
        await board.drain(0.1)
        slides, stubborn = [await board.get(one) for one in ids]
        assert (slides.state, slides.device, slides.started) == (JobState.QUEUED, "auto", None)
        assert (stubborn.state, stubborn.error.reason) == (JobState.FAILED, "SERVER_STOPPED")

    at_board(make_board(devices=("x:0", "x:1")), act)
    before = (tmp_path / "written.log").read_text().splitlines()

    async def again(board: JobBoard) -> None:
        assert (await end_of(board, await board.get(ids[0]))).result == {"slides": 100}
        after = (tmp_path / "written.log").read_text().splitlines()
        assert after[: len(before)] == before
        assert len(set(after)) == 100
        assert len(after) <= 101

    at_board(make_board(), again)


def test_a_job_for_a_device_that_has_gone_fails_at_the_next_start(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        await until_running(board, await board.submit("stubborn", {}))
        await board.submit("echo", {}, device="x:1")

    async def again(board: JobBoard) -> None:
        [job] = (await board.list(kinds=["echo"])).jobs
        assert (job.state, job.error.reason) == (JobState.FAILED, "INVALID_VALUE")

    at_board(make_board(devices=("x:1",)), act)
    at_board(make_board(devices=("cpu",)), again)


def test_a_second_server_is_refused_with_the_address_of_the_first(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        board.tell_address("127.0.0.1:50051")
        with pytest.raises(ServerRunningError, match=r"at 127\.0\.0\.1:50051"):
            await make_board().start()

    at_board(make_board(), act)
    at_board(make_board(), lambda board: board.list())


def test_a_start_that_fails_leaves_the_folder_free(make_board: MakeBoard, tmp_path: Path):
    board = make_board()
    (tmp_path / "state" / "jobs.sqlite3").write_bytes(b"no database at all" * 100)
    for _ in range(2):
        with pytest.raises(DamagedJournalError):
            asyncio.run(board.start())


def test_a_journal_that_fails_loses_no_end_that_this_server_tells(
    make_board: MakeBoard, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise OSError("the disk is on fire")

    async def act(board: JobBoard) -> None:
        job = await board.submit("count", {"total": 5})
        monkeypatch.setattr(Journal, "save", fail)
        assert (await end_of(board, job)).state is JobState.SUCCEEDED
        assert (await board.get(job.id)).state is JobState.SUCCEEDED

    with caplog.at_level(logging.ERROR):
        at_board(make_board(), act)
    assert "is not in the journal" in caplog.text
    assert "the disk is on fire" in caplog.text


def test_a_job_that_cannot_be_begun_fails(make_board: MakeBoard, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError("the disk is on fire")

    async def act(board: JobBoard) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "begin", fail)
            ended = await done(board, "echo")
        assert (ended.state, ended.error.reason) == (JobState.FAILED, "FILE_ACCESS")
        assert (await done(board, "echo")).state is JobState.SUCCEEDED

    at_board(make_board(), act)


def test_a_client_that_goes_away_while_it_submits_leaves_a_whole_job(make_board: MakeBoard):
    async def act(board: JobBoard) -> None:
        submitting = asyncio.create_task(board.submit("echo", {}))
        await asyncio.sleep(0)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting

        while not (page := await board.list(states=[JobState.SUCCEEDED])).jobs:
            await asyncio.sleep(0.02)
        assert page.jobs[0].kind == "echo"

    at_board(make_board(), act)
