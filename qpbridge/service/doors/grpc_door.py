"""The door of gRPC: bytes -> message -> servicer -> message, and causes of failure as status."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from qpbridge.errors import InvalidValueError
from qpbridge.service.configuration import Limits
from qpbridge.service.doors.calls import Streams, answer_of, logged
from qpbridge.service.servicers.caller import Caller, caller_named
from qpbridge.wire.errors import call_status, cause_of
from qpbridge.wire.metadata import CLIENT
from qpbridge.wire.size import check_size

LOG: Final = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[bytes, Context], Awaitable[Any]]


class GrpcDoor:
    """Lets calls through to servicers.

    Parameters
    ----------
    limits : Limits
        Of messages.
    streams : Streams
        That are open.
    """

    def __init__(self, limits: Limits, streams: Streams) -> None:
        self._limits = limits
        self._streams = streams

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
        answer = answer_of(servicer, method)
        kind = GetMessageClass(method.input_type)
        # Without a deserializer the bytes come as they are: what is too large, or no message, is refused in our words.
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(answer, kind), response_serializer=_serialized)
        return grpc.unary_unary_rpc_method_handler(self._unary(answer, kind), response_serializer=_serialized)

    def _unary(self, answer: Callable[[Any, Caller], Awaitable[Message]], kind: type[Message]) -> Handler:
        async def handle(content: bytes, context: Context) -> Message:
            with logged(kind, lambda: caller_of(context).client):
                try:
                    return await answer(self._message(kind, content), caller_of(context))
                except Exception as error:  # noqa: BLE001
                    await refuse(context, error)

        return handle

    def _stream(self, answer: Callable[[Any, Caller], Any], kind: type[Message]) -> Handler:
        async def handle(content: bytes, context: Context) -> None:
            with logged(kind, lambda: caller_of(context).client):
                try:
                    with self._streams.counted():
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


def caller_of(context: Context) -> Caller:
    """Return who asks, as far as that is told."""
    told = (str(value) for key, value in context.invocation_metadata() or () if key == CLIENT)
    return caller_named(next(told, ""), context.peer().rpartition(":")[0])


async def refuse(context: Context, error: Exception) -> NoReturn:
    """End a call with an error; one that nobody foresaw is logged with its trace."""
    if cause_of(error).code is grpc.StatusCode.INTERNAL:
        LOG.error("fault", exc_info=error)
    status = call_status(error)
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort returns never")


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()
