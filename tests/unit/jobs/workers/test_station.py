import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.jobs.store.state_folder import StateFolder
from qpbridge.jobs.workers import station as stations
from qpbridge.jobs.workers.messages import (
    Answer,
    Begin,
    Emitted,
    Ended,
    Failed,
    News,
    Outcome,
    Reported,
    Stopped,
    Taken,
)
from qpbridge.jobs.workers.station import Station


class Office:
    """A station, and what is heard of its jobs."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.heard: list[News] = []
        self.stop = asyncio.Event()
        self.stop_at: type[News] | None = None

    async def run(self, kind: str, **request: Any) -> Outcome:
        return await self.station.run(Begin("job", kind, json.dumps(request).encode(), False), self.stop, self.hear)

    async def pid(self) -> int:
        return json.loads((await self.run("echo")).result)["pid"]

    def hear(self, news: News, answer: Answer) -> None:
        self.heard.append(news)
        if isinstance(news, Emitted):
            answer(Taken(len(news.payload)))
        if self.stop_at is not None and isinstance(news, self.stop_at):
            self.stop.set()


def at_station(folder: StateFolder, entry: str, act: Callable[[Office], Awaitable[None]]) -> None:
    async def act_and_close() -> None:
        office = Office(Station("cpu", entry, folder))
        try:
            await act(office)
        finally:
            await office.station.close()
        assert folder.names() == []

    asyncio.run(act_and_close())


def test_one_worker_does_all_jobs(folder: StateFolder, entry: str):
    async def act(office: Office) -> None:
        assert isinstance(await office.run("count", total=3), Ended)
        assert await office.pid() == await office.pid()
        assert isinstance(office.heard[0], Reported)

    at_station(folder, entry, act)


def test_chunks_come_and_are_answered(folder: StateFolder, entry: str):
    async def act(office: Office) -> None:
        assert isinstance(await office.run("emit", chunks=20, size=2**20), Ended)
        assert sum(len(news.payload) for news in office.heard) == 20 * 2**20

    at_station(folder, entry, act)


def test_a_failure_of_the_input_keeps_the_worker(folder: StateFolder, entry: str):
    async def act(office: Office) -> None:
        before = await office.pid()
        assert await office.run("fail") == Failed("SLIDE_NOT_FOUND", "slide 'A12' is not there", False)
        assert await office.pid() == before

    at_station(folder, entry, act)


@pytest.mark.parametrize(("kind", "reason"), [("defect", "INTERNAL"), ("no_memory", "OUT_OF_MEMORY")])
def test_a_worker_that_failed_by_itself_is_replaced_and_its_log_named(
    folder: StateFolder, entry: str, kind: str, reason: str
):
    async def act(office: Office) -> None:
        before = await office.pid()
        failed = await office.run(kind)
        assert failed.reason == reason
        assert failed.message.endswith(f"see {folder.log('cpu')}")
        assert await office.pid() != before

    at_station(folder, entry, act)


def test_a_worker_that_dies_fails_its_job_and_is_replaced_before_the_next(folder: StateFolder, entry: str):
    async def act(office: Office) -> None:
        failed = await office.run("die", code=3)
        assert failed.reason == "WORKER_DIED"
        assert "my last words" in failed.message
        assert len(folder.names()) <= 1
        warm = office.station._hiring
        assert warm is not None
        assert await office.pid() == warm.result().pid

    at_station(folder, entry, act)


def test_a_worker_that_died_at_rest_is_replaced_without_a_failure(folder: StateFolder, entry: str):
    async def act(office: Office) -> None:
        before = await office.pid()
        worker = office.station._hiring.result()
        worker.kill()
        while worker.is_alive:
            await asyncio.sleep(0.01)
        assert await office.pid() != before

    at_station(folder, entry, act)


def test_work_that_cannot_be_loaded_fails_each_job_and_is_not_tried_in_between(folder: StateFolder):
    async def act(office: Office) -> None:
        for _ in range(2):
            failed = await office.run("echo")
            assert failed.reason == "WORKER_DIED"
            assert "no_such_module" in failed.message
            assert office.station._hiring is None

    at_station(folder, "no_such_module:run", act)


def test_work_that_looks_up_stops_and_its_worker_stays(folder: StateFolder, entry: str):
    async def act(office: Office) -> None:
        before = await office.pid()
        office.stop_at = Reported
        assert await office.run("count", total=10_000) == Stopped()
        office.stop.clear()
        assert await office.pid() == before

    at_station(folder, entry, act)


def test_work_that_does_not_look_up_is_killed_leaves_nothing_and_is_replaced(
    folder: StateFolder, entry: str, tmp_path: Path
):
    async def act(office: Office) -> None:
        before = await office.pid()
        office.stop_at = Reported
        assert await office.run("write_half", out=str(tmp_path / "out")) == Stopped()
        assert list((tmp_path / "out").iterdir()) == []
        office.stop.clear()
        assert await office.pid() != before

    at_station(folder, entry, act)


def test_a_job_that_is_stopped_before_it_begins_costs_no_worker(folder: StateFolder, entry: str):
    async def act(office: Office) -> None:
        office.stop.set()
        begin_s = time.monotonic()
        assert await office.run("stubborn") == Stopped()
        assert time.monotonic() - begin_s < 5
        office.stop.clear()
        assert await office.pid()

    at_station(folder, entry, act)


def test_a_stop_does_not_wait_for_a_system_that_is_slow_to_end_a_process(
    folder: StateFolder, entry: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stations, "KILL_S", 0.01)

    async def act(office: Office) -> None:
        office.stop_at = Reported
        slow = asyncio.Event()
        office.station._ending.add(asyncio.create_task(slow.wait()))
        working = asyncio.create_task(office.run("count", total=10_000))
        await asyncio.sleep(0.05)
        assert not working.done()
        office.stop.set()

        assert await asyncio.wait_for(working, 10) == Stopped()
        slow.set()

    at_station(folder, entry, act)


def test_a_station_can_be_warm_before_its_first_job(folder: StateFolder, entry: str):
    async def act(office: Office) -> None:
        office.station.warm_up()
        worker = await office.station._hiring
        assert await office.pid() == worker.pid

    at_station(folder, entry, act)


def test_a_system_without_room_for_a_process_fails_the_job_not_the_station(
    folder: StateFolder, entry: str, monkeypatch: pytest.MonkeyPatch
):
    async def act(office: Office) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/nowhere")
            with pytest.raises(OSError, match="nowhere"):
                await office.run("echo")
            office.station.warm_up()
            await asyncio.sleep(0.05)
        assert await office.pid()

    at_station(folder, entry, act)
