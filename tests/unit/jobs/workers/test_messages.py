import asyncio
import socket

import pytest

from qpbridge.jobs.workers.messages import (
    LENGTH,
    Begin,
    Emitted,
    Ended,
    Failed,
    Ready,
    Reported,
    Stop,
    Stopped,
    Taken,
    Warned,
    heard,
    packed,
    receive,
)

TO_WORKER = [Begin("job", "train", b'{"a": 1}', True), Stop(), Taken(5)]
FROM_WORKER = [
    Ready(),
    Reported("a", 1, 2, {"loss": 0.5}),
    Warned("ä"),
    Emitted(bytes(range(256)) * 10_000, 3),
    Ended(b"{}"),
    Stopped(),
    Failed("R", "m", True),
]


def test_a_worker_receives_what_was_said_and_the_end():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for message in TO_WORKER:
            ours.sendall(packed(message))
        ours.shutdown(socket.SHUT_WR)

        assert [receive(theirs) for _ in range(4)] == [*TO_WORKER, None]


def feed(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


def test_a_server_hears_what_was_said_and_the_end():
    async def listen() -> None:
        reader = feed(b"".join(map(packed, FROM_WORKER)))

        assert [await heard(reader) for _ in range(8)] == [*FROM_WORKER, None]

    asyncio.run(listen())


@pytest.mark.parametrize("kept", [1, LENGTH.size, LENGTH.size + 3])
def test_a_message_that_is_cut_is_the_end(kept: int):
    async def listen() -> None:
        assert await heard(feed(packed(Warned("careful"))[:kept])) is None

    asyncio.run(listen())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(packed(Begin("job", "train", b"{}", False))[:kept])
        ours.shutdown(socket.SHUT_WR)
        assert receive(theirs) is None


def test_what_only_a_server_says_is_no_word_of_a_worker():
    async def listen() -> None:
        with pytest.raises(ValueError, match="Invalid value"):
            await heard(feed(packed(Stop())))

    asyncio.run(listen())
