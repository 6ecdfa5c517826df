import asyncio
from pathlib import Path

import pytest
from fake_server import LONG_S, Script, Watching, feature, job

from qpbridge.client import AsyncClient, Client
from qpbridge.core.geometry import Region
from qpbridge.errors import CancelledError, QueueFullError, ServerFaultError, SlideNotFoundError
from qpbridge.jobs.records import Chunk, JobError, JobProgress, JobState
from qpbridge.v1.reports_pb2 import PredictRegionReport
from qpbridge.workflows.requests import PredictRegionRequest

REQUEST = PredictRegionRequest(
    input=Path("/a.svs"), model=Path("/m"), region=Region(x_px=0, y_px=0, width_px=8, height_px=8)
)
RUNNING = job(kind="predict_region", progress=JobProgress(stage="predict a", done=1, total=4))
ENDED = job(JobState.SUCCEEDED, kind="predict_region")
REPORT = PredictRegionReport(objects=3, mpp_x=0.5)
LINES = [feature(number) + b"\n" for number in range(3)]


@pytest.fixture(autouse=True)
def region(port: int, script: Script) -> None:
    long, cut = LINES[1] + LINES[2], len(LINES[1]) // 2
    script.region = [
        RUNNING,
        Chunk(payload=LINES[0], count=1),
        Chunk(payload=long[:cut], count=0),
        Chunk(payload=long[cut:], count=2),
        ENDED,
        REPORT,
    ]


@pytest.fixture
def client(state: Path) -> Client:
    return Client(state_folder=state)


def test_objects_come_with_the_job_before_and_the_report_after_them(client: Client) -> None:
    with client, client.predict_region(REQUEST, progress := Watching()) as stream:
        ids = []
        for found in stream:
            assert stream.job is not None
            assert stream.report is None
            ids.append(found.id[-1])

    assert ids == ["0", "1", "2"]
    assert stream.report is not None
    assert (stream.report["objects"], stream.report["mpp_x"]) == (3, 0.5)
    assert ("predict a", 1, 4, {}) in progress.reports


def test_chunks_hold_whole_lines_however_they_were_cut(client: Client) -> None:
    with client, client.predict_region(REQUEST) as stream:
        chunks = list(stream.chunks())

    assert [chunk.count for chunk in chunks] == [1, 2]
    assert b"".join(chunk.payload for chunk in chunks) == b"".join(LINES)


def test_who_leaves_the_block_stops_the_work(client: Client, script: Script) -> None:
    script.region, script.waits = script.region[:2], True

    with client, client.predict_region(REQUEST) as stream:
        assert next(iter(stream)).id[-1] == "0"

    assert script.let_go.wait(LONG_S)


def test_a_progress_can_stop_the_work(client: Client, script: Script) -> None:
    script.region, script.waits = script.region[:1], True

    with client, pytest.raises(CancelledError, match="stopped on request"):
        list(client.predict_region(REQUEST, Watching(stop_at="predict a")))

    assert script.let_go.wait(LONG_S)


def test_a_call_that_is_refused_raises_what_the_server_says(client: Client, script: Script) -> None:
    script.region = [RUNNING, QueueFullError("100 jobs wait")]

    with client, pytest.raises(QueueFullError, match="100 jobs wait"):
        list(client.predict_region(REQUEST))


def test_a_job_that_failed_raises_what_it_failed_of(client: Client, script: Script) -> None:
    error = JobError(reason="SLIDE_NOT_FOUND", message="looked in /a")
    script.region = [RUNNING, job(JobState.FAILED, kind="predict_region", error=error)]

    with client, pytest.raises(SlideNotFoundError, match="looked in /a"):
        list(client.predict_region(REQUEST))


def test_an_end_without_a_report_is_a_fault(client: Client, script: Script) -> None:
    script.region = [RUNNING]

    with client, pytest.raises(ServerFaultError, match="without a word"):
        list(client.predict_region(REQUEST))


def test_it_can_be_awaited_too(state: Path, script: Script) -> None:
    async def ask() -> tuple[list[str], int, int]:
        async with AsyncClient(state_folder=state) as client:
            async with client.predict_region(REQUEST) as stream:
                ids = [found.id[-1] async for found in stream]
            assert stream.report is not None
            chunks = [chunk async for chunk in client.predict_region(REQUEST).chunks()]
            return ids, stream.report["objects"], sum(chunk.count for chunk in chunks)

    assert asyncio.run(asyncio.wait_for(ask(), LONG_S)) == (["0", "1", "2"], 3, 3)


def test_who_leaves_the_block_while_awaiting_stops_the_work(state: Path, script: Script) -> None:
    script.region, script.waits = script.region[:2], True

    async def ask() -> str:
        async with AsyncClient(state_folder=state) as client, client.predict_region(REQUEST) as stream:
            async for found in stream:
                return found.id[-1]
        return ""

    assert asyncio.run(asyncio.wait_for(ask(), LONG_S)) == "0"
    assert script.let_go.wait(LONG_S)
