"""The door of gRPC: bytes -> message -> servicer -> message, and causes of failure as status."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from qpbridge.errors import InvalidValueError, TooManyStreamsError
from qpbridge.service.configuration import Limits
from qpbridge.service.servicers.caller import Caller
from qpbridge.wire.errors import call_status, cause_of
from qpbridge.wire.metadata import CLIENT
from qpbridge.wire.size import check_size

LOG: Final = logging.getLogger(__name__)

CLIENT_LENGTH_MAX: Final = 100
"""Characters of a client's name that are kept."""

_BEFORE_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[bytes, Context], Awaitable[Any]]


class GrpcDoor:
    """Lets calls through to servicers.

    Parameters
    ----------
    limits : Limits
        Of messages and of streams at once.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._streams = 0

    def handler(self, service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
        """Return what gRPC calls for the methods of a service.

        Parameters
        ----------
        service : ServiceDescriptor
            As the protos describe it.
        servicer : object
            Has a method for each of the service's, in snake_case, that takes a message and a ``Caller``. It returns a
            message, or an async iterator of them where the answer is a stream.
        """
        methods = {method.name: self._method(method, servicer) for method in service.methods}
        return grpc.method_handlers_generic_handler(service.full_name, methods)

    def _method(self, method: MethodDescriptor, servicer: object) -> grpc.RpcMethodHandler[Any, Any]:
        answer = getattr(servicer, _BEFORE_CAPITAL.sub("_", method.name).lower())
        kind = GetMessageClass(method.input_type)
        # Without a deserializer the bytes come as they are: what is too large, or no message, is refused in our words.
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(answer, kind), response_serializer=_serialized)
        return grpc.unary_unary_rpc_method_handler(self._unary(answer, kind), response_serializer=_serialized)

    def _unary(self, answer: Callable[[Any, Caller], Awaitable[Message]], kind: type[Message]) -> Handler:
        async def handle(content: bytes, context: Context) -> Message:
            with _logged(kind, context):
                try:
                    return await answer(self._message(kind, content), caller_of(context))
                except Exception as error:  # noqa: BLE001
                    await refuse(context, error)

        return handle

    def _stream(self, answer: Callable[[Any, Caller], Any], kind: type[Message]) -> Handler:
        async def handle(content: bytes, context: Context) -> None:
            with _logged(kind, context):
                try:
                    with self._stream_counted():
                        # Closed here and now where the client goes away: its work must stop, not some time later.
                        async with contextlib.aclosing(
                            answer(self._message(kind, content), caller_of(context))
                        ) as messages:
                            async for message in messages:
                                await context.write(message)
                except Exception as error:  # noqa: BLE001
                    await refuse(context, error)

        return handle

    def _message(self, kind: type[Message], content: bytes) -> Message:
        check_size(len(content), self._limits.message_bytes_max)
        message = kind()
        try:
            message.ParseFromString(content)
        except DecodeError as error:
            raise InvalidValueError(f"the request is no {kind.DESCRIPTOR.full_name}: {error}") from error
        return message

    @contextlib.contextmanager
    def _stream_counted(self) -> Iterator[None]:
        if self._streams >= self._limits.streams_max:
            raise TooManyStreamsError(
                f"{self._streams} streams are open, and {self._limits.streams_max} may: close one, or raise"
                " limits.streams_max in the server's configuration"
            )
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1


def caller_of(context: Context) -> Caller:
    """Return who asks, as far as that is told."""
    told = (str(value) for key, value in context.invocation_metadata() or () if key == CLIENT)
    name = "".join(character for character in next(told, "") if character.isprintable())[:CLIENT_LENGTH_MAX]
    return Caller(client=name or context.peer().rpartition(":")[0])


async def refuse(context: Context, error: Exception) -> NoReturn:
    """End a call with an error; one that nobody foresaw is logged with its trace."""
    if cause_of(error).code is grpc.StatusCode.INTERNAL:
        LOG.error("fault", exc_info=error)
    status = call_status(error)
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort returns never")


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


@contextlib.contextmanager
def _logged(kind: type[Message], context: Context) -> Iterator[None]:
    start_s = time.monotonic()
    try:
        yield
    finally:
        if LOG.isEnabledFor(logging.DEBUG):
            fields: Mapping[str, object] = {
                "request": kind.DESCRIPTOR.name,
                "client": caller_of(context).client,
                "duration_s": round(time.monotonic() - start_s, 4),
            }
            LOG.debug("call", extra=fields)
