"""The door of HTTP: the servicers by the Connect protocol, in JSON or protobuf, each answer whole or as a stream."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final

from connectrpc.codec import Codec
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from qpbridge.errors import InvalidValueError
from qpbridge.service.configuration import Limits
from qpbridge.service.doors.calls import Streams, answer_of, logged
from qpbridge.service.doors.http_errors import refused
from qpbridge.service.servicers.caller import Caller, caller_named
from qpbridge.wire.metadata import CLIENT
from qpbridge.wire.size import check_size

RECEIVED_FACTOR: Final = 4
"""A body so many times too large is broken off by connectrpc in its own words; what is smaller, by us in ours."""

Context = RequestContext[Any, Any]


class HttpDoor(ConnectASGIApplication[object]):
    """An ASGI application that lets calls through to servicers.

    Parameters
    ----------
    servicers : mapping of ServiceDescriptor to object
        See ``GrpcDoor.handler``.
    limits : Limits
        Of messages.
    streams : Streams
        That are open.
    """

    def __init__(self, servicers: Mapping[ServiceDescriptor, object], limits: Limits, streams: Streams) -> None:
        self._streams = streams
        endpoints: dict[str, Any] = {
            f"/{service.full_name}/{method.name}": self._endpoint(service, method, answer_of(servicer, method))
            for service, servicer in servicers.items()
            for method in service.methods
        }
        self.streamed: Mapping[str, bool] = {
            path: endpoint.method.stream_type is StreamType.SERVER_STREAM for path, endpoint in endpoints.items()
        }
        """Whether the answer is a stream, by the path of each method."""
        super().__init__(
            service=self,
            endpoints=lambda _: endpoints,
            read_max_bytes=RECEIVED_FACTOR * limits.message_bytes_max,
            compressions=(),  # what is small when it comes cannot grow
            codecs=(_Json(limits), _Binary(limits)),
        )

    @property
    def path(self) -> str:
        """Where the methods are: at the root."""
        return ""

    def _endpoint(
        self, service: ServiceDescriptor, method: MethodDescriptor, answer: Callable[..., Any]
    ) -> Endpoint[Any, Any]:
        kind = GetMessageClass(method.input_type)
        about = MethodInfo(
            name=method.name,
            service_name=service.full_name,
            input=kind,
            output=GetMessageClass(method.output_type),
            idempotency_level=IdempotencyLevel.UNKNOWN,
            stream_type=StreamType.SERVER_STREAM if method.server_streaming else StreamType.UNARY,
        )
        if method.server_streaming:
            return Endpoint.server_stream(about, self._stream(answer, kind))
        return Endpoint.unary(about, _unary(answer, kind))

    def _stream(
        self, answer: Callable[[Any, Caller], AsyncGenerator[Message, None]], kind: type[Message]
    ) -> Callable[[Any, Context], AsyncGenerator[Message, None]]:
        async def handle(request: Message, context: Context) -> AsyncGenerator[Message, None]:
            with logged(kind, lambda: caller_of(context).client):
                try:
                    with self._streams.counted():
                        async with contextlib.aclosing(answer(request, caller_of(context))) as messages:
                            async for message in messages:
                                yield message
                except Exception as error:
                    raise refused(error) from error

        return handle


def caller_of(context: Context) -> Caller:
    """Return who asks, as far as that is told."""
    address = (context.client_address or "").rpartition(":")[0]
    return caller_named(context.request_headers.get(CLIENT, ""), address)


def _unary(
    answer: Callable[[Any, Caller], Awaitable[Message]], kind: type[Message]
) -> Callable[[Any, Context], Awaitable[Message]]:
    async def handle(request: Message, context: Context) -> Message:
        with logged(kind, lambda: caller_of(context).client):
            try:
                return await answer(request, caller_of(context))
            except Exception as error:
                raise refused(error) from error

    return handle


class _Json(Codec[Message, Any]):
    """JSON as protobuf maps it; a field that no message has is refused, since it may be one misspelled."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def name(self) -> str:
        return "json"

    def encode(self, message: Message) -> bytes:
        return json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> Any:
        try:
            check_size(len(data), self._limits.message_bytes_max)
            return json_format.Parse(bytes(data) or b"{}", message_class())
        except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
            raise refused(_no_message(message_class, error)) from error
        except Exception as error:
            raise refused(error) from error


class _Binary(Codec[Message, Any]):
    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def name(self) -> str:
        return "proto"

    def encode(self, message: Message) -> bytes:
        return message.SerializeToString()

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> Any:
        try:
            check_size(len(data), self._limits.message_bytes_max)
            return message_class.FromString(bytes(data))
        except DecodeError as error:
            raise refused(_no_message(message_class, error)) from error
        except Exception as error:
            raise refused(error) from error


def _no_message(kind: type[Message], error: Exception) -> InvalidValueError:
    return InvalidValueError(f"the request is no {kind.DESCRIPTOR.full_name}: {error}")
