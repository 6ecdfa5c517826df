import asyncio
import importlib
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import qpbridge
from qpbridge import errors
from qpbridge.errors import QpbridgeError, ServerFaultError, UnknownNameError
from qpbridge.jobs.records import JobError
from qpbridge.v1 import server_pb2, server_pb2_grpc
from qpbridge.wire.errors import (
    CAUSES,
    DOMAIN,
    MESSAGE_MAX_BYTES,
    OTHER_CAUSES,
    call_status,
    cause_of,
    error_of,
    error_of_reason,
    status_of,
)

HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: {400},
    grpc.StatusCode.NOT_FOUND: {404},
    grpc.StatusCode.ALREADY_EXISTS: {409},
    grpc.StatusCode.FAILED_PRECONDITION: {409},
    grpc.StatusCode.ABORTED: {409, 503},
    grpc.StatusCode.RESOURCE_EXHAUSTED: {413, 429, 507},
    grpc.StatusCode.CANCELLED: {499},
    grpc.StatusCode.UNAUTHENTICATED: {401},
    grpc.StatusCode.PERMISSION_DENIED: {403},
    grpc.StatusCode.DATA_LOSS: {500},
    grpc.StatusCode.INTERNAL: {500},
    grpc.StatusCode.UNIMPLEMENTED: {501},
    grpc.StatusCode.UNAVAILABLE: {503},
}


def leaves(kind: type[QpbridgeError] = QpbridgeError) -> Iterator[type[QpbridgeError]]:
    children = [child for child in kind.__subclasses__() if child.__module__.startswith("qpbridge.")]
    for child in children:
        yield from leaves(child)
    if not children:
        yield kind


def made(kind: type[QpbridgeError], message: str = "slide 'Ä/µ' has no pixel size\nset it in QuPath") -> QpbridgeError:
    return kind.__new__(kind, message) if kind is UnknownNameError else kind(message)


LEAVES = sorted(leaves(), key=lambda kind: kind.__name__)


class Failing(server_pb2_grpc.ServerServiceServicer):
    """Ends each call with the error given."""

    error: BaseException

    def GetServer(self, request: Any, context: Any) -> Any:  # noqa: N802
        del request
        context.abort_with_status(call_status(self.error))


@pytest.fixture(scope="module")
def failing() -> Iterator[tuple[Failing, str]]:
    servicer = Failing()
    server = grpc.server(ThreadPoolExecutor(1))
    server_pb2_grpc.add_ServerServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(0).wait()


def asked(address: str) -> QpbridgeError:
    with grpc.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as ended:
            server_pb2_grpc.ServerServiceStub(channel).GetServer(server_pb2.GetServerRequest(), timeout=20)
        return error_of(ended.value)


def asked_async(address: str) -> QpbridgeError:
    async def ask() -> QpbridgeError:
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.RpcError) as ended:
                await server_pb2_grpc.ServerServiceStub(channel).GetServer(server_pb2.GetServerRequest(), timeout=20)
            return error_of(ended.value)

    return asyncio.run(ask())


def test_every_cause_has_its_row() -> None:
    assert set(CAUSES) == set(LEAVES)


def test_no_cause_is_defined_where_this_test_would_not_see_it() -> None:
    for module in pkgutil.walk_packages(qpbridge.__path__, "qpbridge."):
        if not module.name.startswith(("qpbridge.v1", "qpbridge.__main__")):
            importlib.import_module(module.name)

    assert {kind.__module__ for kind in leaves()} == {errors.__name__}


def test_no_two_causes_share_a_reason() -> None:
    reasons = [*(made(kind).reason for kind in CAUSES), *OTHER_CAUSES]

    assert len(set(reasons)) == len(reasons)


@pytest.mark.parametrize("cause", sorted({*CAUSES.values(), *OTHER_CAUSES.values()}, key=str), ids=str)
def test_http_and_grpc_say_the_same(cause: Any) -> None:
    assert cause.http_status in HTTP[cause.code]


@pytest.mark.parametrize("ask", [asked, asked_async])
@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_a_client_gets_the_error_that_the_server_raised(
    kind: type[QpbridgeError], ask: Any, failing: tuple[Failing, str]
) -> None:
    servicer, address = failing
    servicer.error = made(kind)

    error = ask(address)

    assert type(error) is kind
    assert str(error) == str(servicer.error)
    assert error.reason == servicer.error.reason


def test_the_status_is_that_of_google(failing: tuple[Failing, str]) -> None:
    status = status_of(errors.QueueFullError("100 jobs wait"))

    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("QUEUE_FULL", DOMAIN)
    assert (status.code, status.message) == (8, "100 jobs wait")
    assert cause_of(errors.QueueFullError("")).http_status == 429


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (MemoryError(), grpc.StatusCode.RESOURCE_EXHAUSTED, "OUT_OF_MEMORY"),
        (PermissionError(13, "denied", "/x"), grpc.StatusCode.FAILED_PRECONDITION, "FILE_ACCESS"),
        (KeyError("x"), grpc.StatusCode.INTERNAL, "INTERNAL"),
        (ServerFaultError("killed by signal 9", "WORKER_DIED"), grpc.StatusCode.INTERNAL, "WORKER_DIED"),
        (ServerFaultError("it stopped", "SERVER_STOPPED"), grpc.StatusCode.ABORTED, "SERVER_STOPPED"),
    ],
)
def test_what_is_no_cause_of_ours_comes_as_a_fault_of_the_server(
    error: BaseException, code: Any, reason: str, failing: tuple[Failing, str]
) -> None:
    servicer, address = failing
    servicer.error = error

    met = asked(address)

    assert isinstance(met, ServerFaultError)
    assert met.reason == reason
    assert str(met) == JobError.of(error).message
    assert cause_of(error).code is code


def test_a_kind_of_a_cause_is_told_as_that_cause() -> None:
    class TooManyJobs(errors.QueueFullError):
        """Local."""

    assert cause_of(TooManyJobs("")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    del TooManyJobs


@pytest.mark.parametrize("letter", ["a", "µ", "漢", "%", "\n"])
def test_a_message_however_long_gets_through_with_its_beginning_and_end(
    letter: str, failing: tuple[Failing, str]
) -> None:
    servicer, address = failing
    servicer.error = errors.InvalidValueError(f"begin{letter * 100_000}end")

    error = asked(address)

    assert type(error) is errors.InvalidValueError
    assert str(error).startswith(f"begin{letter}")
    assert str(error).endswith(f"{letter}end")
    assert MESSAGE_MAX_BYTES - 10 < len(str(error).encode()) <= MESSAGE_MAX_BYTES


def test_a_path_that_is_no_text_gets_through(failing: tuple[Failing, str]) -> None:
    servicer, address = failing
    servicer.error = errors.SlideNotFoundError("no /slides/\udcff.svs")

    assert str(asked(address)) == "no /slides/\\udcff.svs"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.ServerUnreachableError),
        (grpc.StatusCode.UNAUTHENTICATED, errors.TokenRefusedError),
        (grpc.StatusCode.UNIMPLEMENTED, errors.ServerVersionError),
        (grpc.StatusCode.CANCELLED, errors.CancelledError),
        (grpc.StatusCode.OUT_OF_RANGE, ServerFaultError),
    ],
)
def test_what_grpc_says_by_itself_is_told_by_its_code(code: Any, kind: type[QpbridgeError]) -> None:
    error = error_of(Ended(code, "as grpc says"))

    assert type(error) is kind
    assert str(error) == "as grpc says"


def test_a_fault_that_nobody_explains_still_has_a_reason() -> None:
    assert error_of(Ended(grpc.StatusCode.OUT_OF_RANGE, None)).reason == "OUT_OF_RANGE"
    assert str(error_of(Ended(grpc.StatusCode.UNAVAILABLE, None))) == "UNAVAILABLE"


def test_details_that_contradict_the_code_are_not_believed() -> None:
    told = rpc_status.to_status(status_of(errors.QueueFullError("100 jobs wait"))).trailing_metadata

    error = error_of(Ended(grpc.StatusCode.UNAVAILABLE, "proxy: no route", told))

    assert type(error) is errors.ServerUnreachableError
    assert str(error) == "proxy: no route"


def test_nobody_there_is_told_as_unreachable() -> None:
    with grpc.insecure_channel("127.0.0.1:1") as channel, pytest.raises(grpc.RpcError) as ended:
        server_pb2_grpc.ServerServiceStub(channel).GetServer(server_pb2.GetServerRequest(), timeout=20)

    assert type(error_of(ended.value)) is errors.ServerUnreachableError


def test_the_error_of_a_failed_job_is_an_error_again() -> None:
    gone = error_of_reason("SLIDE_NOT_FOUND", "no a.svs")

    assert type(gone) is errors.SlideNotFoundError
    assert str(gone) == "no a.svs"
    assert error_of_reason("WORKER_DIED", "signal 9").reason == "WORKER_DIED"
    assert error_of_reason("SERVER_FAULT", "x").reason == "SERVER_FAULT"


class Ended(grpc.RpcError):
    """The end of a call."""

    def __init__(self, code: Any, details: str | None, metadata: Any = ()) -> None:
        self._parts = (code, details, metadata)

    def code(self) -> Any:
        return self._parts[0]

    def details(self) -> str | None:
        return self._parts[1]

    def trailing_metadata(self) -> Any:
        return self._parts[2]
