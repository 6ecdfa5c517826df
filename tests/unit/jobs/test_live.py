import asyncio

import pytest

from qpbridge.jobs.live import LiveJob
from qpbridge.jobs.records import Chunk, Job, JobState, utc_now
from qpbridge.jobs.store.journal import Entry
from qpbridge.jobs.workers.messages import Emitted, Ended, Failed, Outcome, Reported, Stopped, Taken, Warned


def live_job(is_resumable: bool = False) -> LiveJob:
    facts = {"kind": "k", "title": "t", "client": "c", "device": "cuda", "request": {"a": 1}}
    live = LiveJob(Entry(job=Job(id="1", state=JobState.QUEUED, created=utc_now(), **facts), is_resumable=is_resumable))
    live.change(state=JobState.RUNNING, started=utc_now(), device="cuda:1")
    return live


def ignore(_: object) -> None:
    raise AssertionError


def test_what_the_worker_says_becomes_the_state_of_the_job():
    async def listen() -> None:
        live = live_job()
        news = live.watch(with_chunks=True)
        assert await anext(news) is live.job
        live.hear(Reported("a", 1, 2, {"loss": 0.5}), ignore)
        live.hear(Warned("careful"), ignore)
        live.hear(Warned("careful"), ignore)

        progress = live.job.progress
        assert (progress.stage, progress.done, progress.total, progress.numbers) == ("a", 1, 2, {"loss": 0.5})
        assert live.job.warnings == ("careful",)
        seen = [await anext(news), await anext(news)]
        assert seen[0].progress == progress
        assert seen[1] is live.job

    asyncio.run(listen())


def test_chunks_go_to_those_who_watch_and_the_worker_learns_of_it():
    async def listen() -> None:
        live, answers = live_job(), []
        news = live.watch(with_chunks=True)
        live.hear(Emitted(b"abc", 2), answers.append)
        assert answers == []

        assert [await anext(news), await anext(news)] == [live.job, Chunk(payload=b"abc", count=2)]
        assert answers == [Taken(3)]

    asyncio.run(listen())


def test_a_chunk_taken_after_the_end_is_no_business_of_the_worker():
    async def listen() -> None:
        live = live_job()
        news = live.watch(with_chunks=True)
        live.hear(Emitted(b"abc", 2), ignore)
        live.end(live.after(Ended(b"{}")))

        assert [one async for one in news] == [Chunk(payload=b"abc", count=2), live.job]
        assert live.ended.is_set()

    asyncio.run(listen())


@pytest.mark.parametrize(
    ("outcome", "is_cancelled", "state"),
    [
        (Ended(b'{"a": 1}'), False, JobState.SUCCEEDED),
        (Ended(b'{"failures": [1]}'), False, JobState.PARTLY_DONE),
        (Ended(b"{}"), True, JobState.SUCCEEDED),
        (Failed("R", "m", False), False, JobState.FAILED),
        (Stopped(), True, JobState.CANCELLED),
    ],
)
def test_an_outcome_becomes_a_state(outcome: Outcome, is_cancelled: bool, state: JobState):
    live = live_job()
    live.is_cancelled = is_cancelled

    job = live.after(outcome)

    assert job.state is state
    assert job.finished is not None
    assert (job.error is not None) == (state is JobState.FAILED)
    assert job.device == "cuda:1"


def test_results_and_errors_are_kept():
    assert live_job().after(Ended(b'{"a": [1]}')).result == {"a": [1]}
    error = live_job().after(Failed("R", "m", True)).error
    assert (error.reason, error.message) == ("R", "m")


def test_a_job_that_the_end_of_the_server_stopped_waits_again_if_it_can():
    live = live_job(is_resumable=True)

    job = live.after(Stopped())
    assert (job.state, job.device, job.started, job.finished) == (JobState.QUEUED, "cuda", None, None)
    live.wait_again(job)
    assert live.job is job
    assert live.ended.is_set()


def test_a_job_that_the_end_of_the_server_stopped_has_failed_if_it_cannot_be_resumed():
    job = live_job().after(Stopped())

    assert (job.state, job.error.reason) == (JobState.FAILED, "SERVER_STOPPED")
