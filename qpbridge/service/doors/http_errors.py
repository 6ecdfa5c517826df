"""Causes of failure at the door of HTTP: status, code, message and reason, in answers and at the end of streams."""

from __future__ import annotations

import contextvars
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from protobuf import Message
from protobuf.wkt import Any as AnyMessage
from protobuf.wkt import Struct

from qpbridge.wire.connect import error_json
from qpbridge.wire.errors import cause_of, error_info, status_of

LOG: Final = logging.getLogger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ANY_ANSWER: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""Headers of each answer: nobody keeps it, and no browser takes it for a page."""

_STATUS: Final = contextvars.ContextVar[int | None]("status", default=None)
"""HTTP status of the call at hand, where one of our errors ended it; each call has a task of its own."""


class _Info(ErrorDetail):
    """Our detail, which connectrpc also shows as plain JSON."""

    def __init__(self, error: BaseException) -> None:
        info = error_info(status_of(error))
        assert info is not None
        super().__init__(AnyMessage(type_url=f"type.googleapis.com/{info.DESCRIPTOR.full_name}"))
        self._any.value = info.SerializeToString()
        self._plain = Struct.from_json(json.dumps({"reason": info.reason, "domain": info.domain}))

    def value(self, *_: object) -> Message | None:  # type: ignore[override]
        return self._plain


def refused(error: Exception) -> ConnectError:
    """Return the error by which connectrpc ends the call at hand; one that nobody foresaw is logged with its trace."""
    cause = cause_of(error)
    if cause.code is grpc.StatusCode.INTERNAL:
        LOG.error("fault", exc_info=error)
    _STATUS.set(cause.http_status)
    values = error_json(error)
    return ConnectError(Code(values["code"]), values["message"], [_Info(error)])


async def answer_error(send: Send, error: Exception) -> None:
    """End a call that connectrpc never sees."""
    cause, content = cause_of(error), json.dumps(error_json(error), ensure_ascii=False).encode()
    if cause.code is grpc.StatusCode.INTERNAL:
        LOG.error("fault", exc_info=error)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": cause.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def sending(send: Send) -> Send:
    """Return how the call at hand is answered: with the status that our table gives, and the headers of each answer."""
    _STATUS.set(None)

    async def send_on(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            told = _STATUS.get()
            status = told if told is not None and message["status"] >= 400 else message["status"]
            message = {**message, "status": status, "headers": [*message["headers"], *ANY_ANSWER]}
        await send(message)

    return send_on
