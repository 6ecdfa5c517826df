"""A server of HTTP around a servicer of a few lines, and calls by nothing but sockets."""

import asyncio
import contextlib
import http.client
import json
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import InvalidValueError, JobNotFoundError
from qpbridge.service.binding import bind_http
from qpbridge.service.configuration import ServerConfiguration
from qpbridge.service.doors.calls import Streams
from qpbridge.service.doors.http_server import HttpServer
from qpbridge.service.doors.token import Token
from qpbridge.service.servicers.caller import Caller
from qpbridge.v1 import job_pb2, prediction_pb2
from qpbridge.wire.metadata import AUTHORIZATION, BEARER

SERVICES = (
    job_pb2.DESCRIPTOR.services_by_name["JobService"],
    prediction_pb2.DESCRIPTOR.services_by_name["PredictionService"],
)


class Answers:
    """Some of ``JobService`` and ``PredictionService``."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.callers: list[Caller] = []
        self.files: dict[str, tuple[prediction_pb2.ResultsFile, list[bytes]]] = {}
        self.asked: list[tuple[str, str]] = []

    async def get_job(self, request: job_pb2.GetJobRequest, caller: Caller) -> job_pb2.GetJobResponse:
        self.callers.append(caller)
        if request.job_id == "none":
            raise JobNotFoundError("no job 'none'; µ")
        if request.job_id == "defect":
            raise ZeroDivisionError("1 / 0")
        return job_pb2.GetJobResponse(job={"id": request.job_id, "progress": {"done": 2**60}})

    async def watch_job(
        self, request: job_pb2.WatchJobRequest, _: Caller
    ) -> AsyncGenerator[job_pb2.WatchJobResponse, None]:
        try:
            for number in range(3):
                yield job_pb2.WatchJobResponse(job={"id": str(number)})
            if request.job_id == "fails":
                raise InvalidValueError("not that")
            if request.job_id == "endless":
                await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def list_jobs(self, _request: job_pb2.ListJobsRequest, _: Caller) -> job_pb2.ListJobsResponse:
        return job_pb2.ListJobsResponse()

    def __getattr__(self, name: str) -> Any:
        """Be there for every other method, which no test asks."""
        return None

    predict_region = watch_job

    async def get_results(
        self, request: prediction_pb2.GetResultsRequest, _: Caller
    ) -> AsyncGenerator[prediction_pb2.GetResultsResponse, None]:
        self.asked.append((request.job_id, request.entry))
        if request.entry not in self.files:
            raise JobNotFoundError(f"no job '{request.job_id}'")
        file, parts = self.files[request.entry]
        yield prediction_pb2.GetResultsResponse(file=file)
        for part in parts:
            yield prediction_pb2.GetResultsResponse(data=part)


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def reason(self) -> str:
        return str(self.json["details"][0]["debug"]["reason"])


@dataclass
class Door:
    """A server of HTTP that listens."""

    address: str
    server: HttpServer
    answers: Answers
    context: Any = None
    own: dict[str, str] = field(default_factory=lambda: {AUTHORIZATION: f"{BEARER}s3cret"})

    async def ask(self, path: str, body: bytes | None = b"{}", verb: str = "POST", **headers: str | None) -> Reply:
        """Ask with the headers that a good client sends, and others over them; None leaves one out."""
        given = {"content-type": "application/json", **self.own, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return await asyncio.to_thread(self._ask, verb, path, body, {k: v for k, v in given.items() if v is not None})

    async def job(self, job_id: str, **headers: str | None) -> Reply:
        return await self.ask("/qpbridge.v1.JobService/GetJob", json.dumps({"jobId": job_id}).encode(), **headers)

    async def watch(self, job_id: str) -> tuple[Reply, list[Any]]:
        """Return the answer and its frames; the last one is the end."""
        content = json.dumps({"jobId": job_id}).encode()
        reply = await self.ask(
            "/qpbridge.v1.JobService/WatchJob", framed(content), content_type="application/connect+json"
        )
        return reply, frames(reply.content)

    def connection(self) -> http.client.HTTPConnection:
        if self.context is not None:
            return http.client.HTTPSConnection(self.address, timeout=30, context=self.context)
        return http.client.HTTPConnection(self.address, timeout=30)

    def _ask(self, verb: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        with contextlib.closing(self.connection()) as connection:
            connection.putrequest(verb, path, skip_host="host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None and "content-length" not in headers:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Reply(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())


def framed(content: bytes) -> bytes:
    return struct.pack(">BI", 0, len(content)) + content


def frames(content: bytes) -> list[Any]:
    found = []
    while content:
        _, length = struct.unpack(">BI", content[:5])
        found.append(json.loads(content[5 : 5 + length]))
        content = content[5 + length :]
    return found


@contextlib.asynccontextmanager
async def opened(answers: Answers, tmp_path: Path, context: Any = None, **options: Any) -> AsyncIterator[Door]:
    configuration = ServerConfiguration.load(None, state=tmp_path / "state", **options)
    server = HttpServer(
        dict.fromkeys(SERVICES, answers), answers, configuration, Streams(configuration.limits), Token("s3cret")
    )
    listening, address = bind_http(configuration)
    await server.start(listening)
    try:
        yield Door(address, server, answers, context)
    finally:
        await server.stop(0)


@pytest.fixture
def behind(finish: Callable[..., Any], tmp_path: Path) -> Callable[..., None]:
    """Run something async with an open door: ``behind(work, **options_of_the_configuration)``."""

    def run(work: Callable[[Door], Any], context: Any = None, **options: Any) -> None:
        async def begin() -> None:
            async with opened(Answers(), tmp_path, context, **options) as door:
                await work(door)

        finish(begin())

    return run
