import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from qpbridge.errors import ServerStoppingError
from qpbridge.jobs import watching
from qpbridge.jobs.records import Chunk, Job, JobProgress, JobState, utc_now
from qpbridge.jobs.watching import Audience

JOB = Job(id="1", kind="k", title="t", client="c", device="cpu", state=JobState.RUNNING, created=utc_now())
DONE = replace(JOB, state=JobState.SUCCEEDED)


def at(stage: str, done: int) -> Job:
    return replace(JOB, progress=JobProgress(stage=stage, done=done, total=10))


def chunk(number: int) -> Chunk:
    return Chunk(payload=bytes([number]), count=1)


class Taken:
    """Counts the chunks that all have."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


async def rest_of(news: AsyncIterator[Job | Chunk]) -> list[Job | Chunk]:
    return [one async for one in news]


def test_who_watches_sees_the_state_then_every_change_then_the_end():
    async def watch() -> None:
        audience = Audience()
        news = audience.watch(JOB, with_chunks=True)
        seen = [await anext(news)]
        for done in (1, 2):
            audience.tell("a", at("a", done))
            seen.append(await anext(news))
        audience.end(DONE)

        assert seen == [JOB, at("a", 1), at("a", 2)]
        assert await rest_of(news) == [DONE]

    asyncio.run(watch())


def test_somebody_slow_gets_the_newest_of_each_stage():
    async def watch() -> None:
        audience = Audience()
        news = audience.watch(JOB, with_chunks=True)
        await anext(news)
        for done in range(1000):
            audience.tell("slides", at("slides", done // 100))
            audience.tell("predict", at("predict", done))

        assert [await anext(news), await anext(news)] == [at("slides", 9), at("predict", 999)]
        audience.tell("predict", at("predict", 1000))
        audience.end(DONE)
        assert await rest_of(news) == [DONE]

    asyncio.run(watch())


def test_news_of_many_stages_do_not_pile_up():
    async def watch() -> None:
        audience = Audience()
        news = audience.watch(JOB, with_chunks=True)
        for number in range(1000):
            audience.tell(str(number), at(str(number), 1))

        seen = [await anext(news) for _ in range(watching.STAGES)]
        assert seen[-1] == at("999", 1)
        audience.end(DONE)
        assert await rest_of(news) == [DONE]

    asyncio.run(watch())


def test_all_who_watch_get_the_same_objects():
    async def watch() -> None:
        audience = Audience()
        all_news = [audience.watch(JOB, with_chunks=False) for _ in range(100)]
        audience.end(DONE)

        ends = [await rest_of(news) for news in all_news]
        assert all(one[0] is DONE and len(one) == 1 for one in ends)

    asyncio.run(watch())


def test_every_chunk_arrives_in_order_before_the_end():
    async def watch() -> None:
        audience, taken = Audience(), Taken()
        news = audience.watch(JOB, with_chunks=True)
        for number in range(5):
            audience.hand(chunk(number), taken)
            audience.tell("a", at("a", number))
        audience.end(DONE)

        assert taken.count == 0
        assert await rest_of(news) == [*map(chunk, range(5)), DONE]
        assert taken.count == 5

    asyncio.run(watch())


def test_a_chunk_is_taken_once_the_slowest_has_it():
    async def watch() -> None:
        audience, taken = Audience(), Taken()
        quick, slow = audience.watch(JOB, with_chunks=True), audience.watch(JOB, with_chunks=True)
        audience.watch(JOB, with_chunks=False)
        audience.hand(chunk(0), taken)

        assert [await anext(quick), await anext(quick)] == [JOB, chunk(0)]
        assert taken.count == 0
        assert [await anext(slow), await anext(slow)] == [JOB, chunk(0)]
        assert taken.count == 1

    asyncio.run(watch())


def test_who_goes_away_holds_up_nobody():
    async def watch() -> None:
        audience, taken = Audience(), Taken()
        news = audience.watch(JOB, with_chunks=True)
        await anext(news)
        audience.hand(chunk(0), taken)
        await news.aclose()
        assert taken.count == 1

        audience.hand(chunk(1), taken)
        assert taken.count == 2

    asyncio.run(watch())


def test_who_only_forgets_the_iterator_is_gone_too():
    async def watch() -> None:
        audience, taken = Audience(), Taken()
        async for _ in audience.watch(JOB, with_chunks=True):
            break
        gc.collect()
        await asyncio.sleep(0.01)

        audience.hand(chunk(0), taken)
        assert taken.count == 1

    asyncio.run(watch())


def test_chunks_wait_for_the_first_who_wants_them():
    async def watch() -> None:
        audience, taken = Audience(), Taken()
        audience.watch(JOB, with_chunks=False)
        audience.hand(chunk(0), taken)
        audience.hand(chunk(1), taken)
        assert audience.is_awaited
        news = audience.watch(DONE, with_chunks=True)

        assert not audience.is_awaited
        assert await rest_of(news) == [chunk(0), chunk(1), DONE]
        assert taken.count == 2

    asyncio.run(watch())


def test_chunks_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch):
    async def watch() -> None:
        monkeypatch.setattr(watching, "UNWATCHED_S", 0.01)
        audience, taken = Audience(), Taken()
        audience.hand(chunk(0), taken)
        assert taken.count == 0
        while audience.is_awaited:
            await asyncio.sleep(0.01)

        assert taken.count == 1
        audience.hand(chunk(1), taken)
        assert taken.count == 2

    asyncio.run(watch())


def test_a_job_that_has_ended_is_told_once():
    async def watch() -> None:
        assert await rest_of(Audience().watch(DONE, with_chunks=True)) == [DONE]

    asyncio.run(watch())


def test_all_are_sent_away_with_a_reason_and_nothing_waits_any_more():
    async def watch() -> None:
        audience, taken = Audience(), Taken()
        audience.hand(chunk(0), taken)
        news = audience.watch(JOB, with_chunks=False)
        await anext(news)
        audience.break_off(ServerStoppingError("the server stops"))

        with pytest.raises(ServerStoppingError):
            await anext(news)
        assert taken.count == 1

    asyncio.run(watch())
