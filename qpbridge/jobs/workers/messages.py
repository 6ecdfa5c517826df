"""What server and worker say to each other: MessagePack behind its length, one line of bytes each way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final

import msgspec

LENGTH: Final = struct.Struct(">I")


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all that is said."""


class Begin(_Message, frozen=True):
    """Do a job; ``request`` is JSON."""

    job_id: str
    kind: str
    request: bytes
    is_resumed: bool


class Stop(_Message, frozen=True):
    """Somebody asked to stop."""


class Taken(_Message, frozen=True):
    """So many bytes of chunks have been taken."""

    size: int


ToWorker = Begin | Stop | Taken


class Reported(_Message, frozen=True):
    """See ``Progress.report``."""

    stage: str
    done: int
    total: int
    numbers: dict[str, float]


class Warned(_Message, frozen=True):
    """See ``Progress.warn``."""

    message: str


class Emitted(_Message, frozen=True):
    """See ``Desk.emit``."""

    payload: bytes
    count: int


class Ready(_Message, frozen=True):
    """The worker has loaded its work."""


class Ended(_Message, frozen=True):
    """The job gave a result, as JSON."""

    result: bytes


class Stopped(_Message, frozen=True):
    """The job stopped as it was asked to."""


class Failed(_Message, frozen=True):
    """The job failed; ``is_defect`` says that the worker should not be trusted any more."""

    reason: str
    message: str
    is_defect: bool


News = Reported | Warned | Emitted
Outcome = Ended | Stopped | Failed
FromWorker = News | Ready | Outcome

Answer = Callable[[ToWorker], None]
"""Sends a message to the worker that said something."""

_ENCODER: Final = msgspec.msgpack.Encoder()
_TO_WORKER: Final = msgspec.msgpack.Decoder(ToWorker)
_FROM_WORKER: Final = msgspec.msgpack.Decoder(FromWorker)


def packed(message: ToWorker | FromWorker) -> bytes:
    """Return the bytes of a message."""
    body = _ENCODER.encode(message)
    return LENGTH.pack(len(body)) + body


def receive(connection: socket.socket) -> ToWorker | None:
    """Wait for the server's next message; None where it is gone."""
    head = _exactly(connection, LENGTH.size)
    body = head and _exactly(connection, *LENGTH.unpack(head))
    return _TO_WORKER.decode(body) if body else None


async def heard(reader: asyncio.StreamReader) -> FromWorker | None:
    """Wait for the worker's next message; None where it is gone."""
    try:
        head = await reader.readexactly(LENGTH.size)
        body = await reader.readexactly(*LENGTH.unpack(head))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    message: FromWorker = _FROM_WORKER.decode(body)
    return message


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 2**20))
        if not part:
            return None
        parts += part
    return bytes(parts)
