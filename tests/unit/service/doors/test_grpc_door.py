"""The door of gRPC, with a servicer of a few lines behind it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from qpbridge.errors import InvalidValueError, JobNotFoundError, TooLargeError, TooManyStreamsError
from qpbridge.service.configuration import Limits
from qpbridge.service.doors.calls import Streams
from qpbridge.service.doors.grpc_door import GrpcDoor
from qpbridge.service.servicers.caller import CLIENT_LENGTH_MAX, Caller
from qpbridge.v1 import job_pb2, job_pb2_grpc
from qpbridge.wire.errors import error_of
from qpbridge.wire.metadata import CLIENT

LIMITS = Limits(message_bytes_max=100_000, streams_max=2)


class Answers:
    """Some of ``JobService``."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.callers: list[Caller] = []

    async def get_job(self, request: job_pb2.GetJobRequest, caller: Caller) -> job_pb2.GetJobResponse:
        self.callers.append(caller)
        if request.job_id == "none":
            raise JobNotFoundError("no job 'none'")
        if request.job_id == "defect":
            raise ZeroDivisionError("1 / 0")
        return job_pb2.GetJobResponse(job={"id": request.job_id})

    async def watch_job(
        self, request: job_pb2.WatchJobRequest, _: Caller
    ) -> AsyncGenerator[job_pb2.WatchJobResponse, None]:
        try:
            for number in range(10**9):
                if number == 3 and request.job_id == "fails":
                    raise InvalidValueError("not that")
                yield job_pb2.WatchJobResponse(job={"id": str(number)})
        finally:
            self.closed.set()

    async def list_jobs(self, _request: job_pb2.ListJobsRequest, _: Caller) -> job_pb2.ListJobsResponse:
        return job_pb2.ListJobsResponse()

    async def cancel_job(self, _request: job_pb2.CancelJobRequest, _: Caller) -> job_pb2.CancelJobResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def undo_job(self, _request: job_pb2.UndoJobRequest, _: Caller) -> job_pb2.UndoJobResponse:
        return job_pb2.UndoJobResponse()


@contextlib.asynccontextmanager
async def asked(answers: Answers) -> AsyncIterator[tuple[job_pb2_grpc.JobServiceStub, grpc.aio.Channel]]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [GrpcDoor(LIMITS, Streams(LIMITS)).handler(job_pb2.DESCRIPTOR.services_by_name["JobService"], answers)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield job_pb2_grpc.JobServiceStub(channel), channel
    await server.stop(None)


async def error(call: Any) -> BaseException:
    try:
        await call
    except grpc.RpcError as caught:
        return error_of(caught)
    return AssertionError("it was let through")


Finish = Callable[..., Any]


def test_messages_go_in_and_out(finish: Finish) -> None:
    async def work() -> None:
        answers = Answers()
        async with asked(answers) as (stub, _):
            answer = await stub.GetJob(job_pb2.GetJobRequest(job_id="j1"), metadata=[(CLIENT, "anna")])
            assert answer.job.id == "j1"
            assert answers.callers == [Caller(client="anna")]

    finish(work())


def test_a_client_without_a_name_is_called_by_its_address_and_long_names_are_cut(finish: Finish) -> None:
    async def work() -> None:
        answers = Answers()
        async with asked(answers) as (stub, _):
            await stub.GetJob(job_pb2.GetJobRequest(job_id="a"))
            await stub.GetJob(job_pb2.GetJobRequest(job_id="a"), metadata=[(CLIENT, "x" * 1000)])
            assert [caller.client for caller in answers.callers] == ["ipv4:127.0.0.1", "x" * CLIENT_LENGTH_MAX]

    finish(work())


def test_errors_keep_their_class_and_defects_are_logged_with_their_trace(
    finish: Finish, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with asked(Answers()) as (stub, _):
            assert isinstance(await error(stub.GetJob(job_pb2.GetJobRequest(job_id="none"))), JobNotFoundError)
            assert not caplog.records
            defect = await error(stub.GetJob(job_pb2.GetJobRequest(job_id="defect")))
            assert getattr(defect, "reason", "") == "INTERNAL"

    with caplog.at_level(logging.INFO, logger="qpbridge"):
        finish(work())
    assert "ZeroDivisionError" in caplog.text


def test_what_is_too_large_or_no_message_is_refused_in_our_words(finish: Finish) -> None:
    async def work() -> None:
        async with asked(Answers()) as (stub, channel):
            large = await error(stub.GetJob(job_pb2.GetJobRequest(job_id="x" * 100_000)))
            raw = channel.unary_unary("/qpbridge.v1.JobService/GetJob")
            broken = await error(raw(b"\xff\xff\xff"))
            assert isinstance(large, TooLargeError)
            assert isinstance(broken, InvalidValueError)
            assert "no qpbridge.v1.GetJobRequest" in str(broken)

    finish(work())


def test_a_stream_that_fails_sends_what_it_had_and_then_the_error(finish: Finish) -> None:
    async def work() -> None:
        received = []

        async def read(call: Any) -> None:
            async for event in call:
                received.append(event.job.id)

        async with asked(Answers()) as (stub, _):
            failed = await error(read(stub.WatchJob(job_pb2.WatchJobRequest(job_id="fails"))))
        assert isinstance(failed, InvalidValueError)
        assert received == ["0", "1", "2"]

    finish(work())


def test_a_stream_is_closed_at_once_when_its_client_goes_away(finish: Finish) -> None:
    async def work() -> None:
        answers = Answers()
        async with asked(answers) as (stub, _):
            call = stub.WatchJob(job_pb2.WatchJobRequest(job_id="x"))
            await call.read()
            call.cancel()
            await answers.closed.wait()

    finish(work())


def test_streams_beyond_the_limit_are_refused_until_one_ends(finish: Finish) -> None:
    async def work() -> None:
        answers = Answers()
        async with asked(answers) as (stub, _):
            watched = job_pb2.WatchJobRequest(job_id="x")
            calls = [stub.WatchJob(watched) for _ in range(2)]
            for call in calls:
                await call.read()

            refusal = await error(stub.WatchJob(watched).read())
            calls[0].cancel()
            await answers.closed.wait()

            assert isinstance(refusal, TooManyStreamsError)
            assert "2 streams are open, and 2 may" in str(refusal)
            assert await stub.WatchJob(watched).read()
            for call in calls:
                call.cancel()

    finish(work())
