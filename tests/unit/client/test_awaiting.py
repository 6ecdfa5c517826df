import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_server import LONG_S, TRAINED, Script, Watching, discoverable, job, serving

from qpbridge.client import AsyncClient
from qpbridge.errors import (
    CancelledError,
    JobNotFoundError,
    QueueFullError,
    ServerNotRunningError,
    ServerUnreachableError,
    SlideNotFoundError,
    TokenRefusedError,
    TooLargeError,
)
from qpbridge.jobs.records import Chunk, JobError, JobProgress, JobState
from qpbridge.workflows.requests import InspectRequest, PredictRequest, TrainRequest

TRAIN = TrainRequest(project=Path("/p"), out=Path("/m"), family="dmmn")
PREDICT = PredictRequest(inputs=(Path("/p"),), model=Path("/m"), out=Path("/o"))
RUNNING = job(progress=JobProgress(stage="train", done=3, total=9), warnings=("odd",))

Asking = Callable[[Callable[[AsyncClient], Awaitable[Any]]], Any]


@pytest.fixture
def asking(port: int, state: Path) -> Asking:
    """Let a connected client do something."""

    def ask(work: Callable[[AsyncClient], Awaitable[Any]]) -> Any:
        async def connected() -> Any:
            async with AsyncClient(state_folder=state) as client:
                return await work(client)

        return asyncio.run(asyncio.wait_for(connected(), LONG_S))

    return ask


def test_it_asks_for_work_and_returns_the_job_at_once(asking: Asking, script: Script) -> None:
    async def ask(client: AsyncClient) -> tuple[JobState, str]:
        return (await client.train(TRAIN)).state, (await client.predict(PREDICT)).kind

    assert asking(ask) == (JobState.QUEUED, "predict")
    assert script.names() == ["GetServer", "Train", "Predict"]


def test_more_than_the_server_takes_is_not_even_sent(asking: Asking, script: Script) -> None:
    script.message_bytes_max = 1000

    async def ask(client: AsyncClient) -> None:
        await client.train(replace(TRAIN, annotations={"1": " " * 1000}))

    with pytest.raises(TooLargeError, match="this server takes 1,000 at once"):
        asking(ask)
    assert script.names() == ["GetServer"]


def test_lists_and_documents_are_those_of_the_other_client(asking: Asking) -> None:
    async def ask(client: AsyncClient) -> None:
        assert [one.state async for one in client.jobs()] == [JobState.RUNNING] * 2 + [JobState.CANCELLED]
        assert [one["name"] async for one in client.models()] == ["skin"]
        assert (await client.model("skin"))["path"] == "/models/skin"
        assert [one["name"] async for one in client.families()] == ["dmmn"]
        assert [one["name"] async for one in client.entries(Path("/p"))] == ["a.svs"]
        assert [one["name"] async for one in client.classes(Path("/p"))] == ["Tumor"]
        assert (await client.inspect(InspectRequest(project=Path("/p"))))["qupath_version"] == "0.6.0"
        assert (await client.server())["devices"] == ["cpu"]

    asking(ask)


def test_a_job_is_watched_and_cancelled(asking: Asking, script: Script) -> None:
    script.events = [RUNNING, Chunk(payload=b"{}\n", count=1), job(JobState.SUCCEEDED)]

    async def ask(client: AsyncClient) -> tuple[list[Any], JobState]:
        return [event async for event in client.watch("7")], (await client.cancel("7")).state

    assert asking(ask) == (script.events, JobState.CANCELLED)


def test_work_that_is_run_tells_its_progress_and_gives_its_document(asking: Asking, script: Script) -> None:
    script.events = [RUNNING, job(JobState.SUCCEEDED)]
    progress = Watching()

    document = asking(lambda client: client.run(TRAIN, progress))

    assert {name: document[name] for name in TRAINED} == TRAINED
    assert progress.reports == [("train", 3, 9, {})]
    assert progress.warnings == ["odd"]


def test_work_that_fails_raises_what_it_failed_of(asking: Asking, script: Script) -> None:
    script.job = job(JobState.FAILED, error=JobError(reason="SLIDE_NOT_FOUND", message="looked in /a"))

    with pytest.raises(SlideNotFoundError, match="looked in /a"):
        asking(lambda client: client.run(TRAIN))


def test_errors_of_the_server_are_its_own(asking: Asking, script: Script) -> None:
    with pytest.raises(JobNotFoundError, match="no job '8'"):
        asking(lambda client: client.job("8"))
    script.error = QueueFullError("100 jobs wait")
    with pytest.raises(QueueFullError, match="100 jobs wait"):
        asking(lambda client: client.train(TRAIN))


def test_a_progress_that_asks_to_stop_stops_the_job(asking: Asking, script: Script) -> None:
    script.events, script.waits = [RUNNING], True

    with pytest.raises(CancelledError, match="stopped on request"):
        asking(lambda client: client.run(TRAIN, Watching(stop_at="train")))

    assert script.names()[-1] == "CancelJob"


def test_a_task_that_is_cancelled_stops_its_job(asking: Asking, script: Script) -> None:
    script.events, script.waits = [RUNNING], True
    progress = Watching()

    async def ask(client: AsyncClient) -> None:
        task = asyncio.create_task(client.run(TRAIN, progress))
        while not progress.reports:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asking(ask)
    assert script.names()[-1] == "CancelJob"


def test_a_server_that_starts_again_is_found_again(state: Path, script: Script) -> None:
    script.events, script.waits = [RUNNING], True
    progress = Watching()

    async def ask() -> JobState:
        with serving(script) as port:
            discoverable(state, port)
            client = AsyncClient(state_folder=state)
            task = asyncio.create_task(client.wait("7", progress))
            while not progress.reports:
                await asyncio.sleep(0.01)
        with serving(Script()) as port:
            discoverable(state, port)
            ended = await task
            await client.close()
        return ended.state

    assert asyncio.run(asyncio.wait_for(ask(), LONG_S)) is JobState.SUCCEEDED
    assert "lost the server" in progress.warnings[-1]


def test_a_server_that_stays_away_is_given_up(state: Path, script: Script, impatient: Callable[[float], None]) -> None:
    impatient(0.2)

    async def ask() -> None:
        client = AsyncClient(state_folder=state)
        with serving(script) as port:
            discoverable(state, port)
            await client.job("7")
        try:
            await client.wait("7")
        finally:
            await client.close()

    with pytest.raises(ServerUnreachableError, match="nothing listens"):
        asyncio.run(asyncio.wait_for(ask(), LONG_S))


def test_what_is_wrong_with_the_connection_is_told_on_entering(port: int, tmp_path: Path) -> None:
    async def enter(client: AsyncClient) -> None:
        async with client:
            pass

    with pytest.raises(ServerNotRunningError):
        asyncio.run(enter(AsyncClient(state_folder=tmp_path / "none")))
    with pytest.raises(TokenRefusedError, match="token: "):
        asyncio.run(enter(AsyncClient(f"127.0.0.1:{port}", token="wrong")))


def test_files_are_fetched_into_a_folder(asking: Asking, script: Script, tmp_path: Path) -> None:
    slides = [{"key": "1", "name": "a.svs"}]
    script.job = job(JobState.SUCCEEDED, kind="predict", result={"out": "/o", "slides": slides})
    script.files = {"1": [("1-a.geojson", 2), b"{", b"}"]}

    (path,) = asking(lambda client: client.download("7", tmp_path))

    assert path.read_bytes() == b"{}"
