import threading
import time
from collections.abc import Iterator

import pytest

from qpbridge.client.polling import Patience, polled
from qpbridge.errors import ServerUnreachableError

LONG_S = 20.0


class Stream:
    """Brings pieces, then waits for being cancelled, ends, or fails."""

    def __init__(self, pieces: list[object], end: Exception | None = None, *, stays: bool = False) -> None:
        self._pieces = pieces
        self._end = end
        self._stays = stays
        self.cancelled = threading.Event()
        self.ended = threading.Event()
        self.brought = 0

    def __iter__(self) -> Iterator[object]:
        try:
            for piece in self._pieces:
                self.brought += 1
                yield piece
            if self._stays:
                self.cancelled.wait(LONG_S)
            if self._end is not None:
                raise self._end
        finally:
            self.ended.set()

    def cancel(self) -> None:
        self.cancelled.set()


def test_a_stream_brings_its_pieces_in_order() -> None:
    assert [piece for piece in polled(Stream(list(range(100)))) if piece is not None] == list(range(100))


def test_where_nothing_comes_one_may_look_up() -> None:
    stream = Stream([1], stays=True)
    looking = polled(stream, poll_s=0.01)

    assert next(looking) == 1
    assert [next(looking) for _ in range(3)] == [None] * 3
    looking.close()

    assert stream.ended.wait(LONG_S)


def test_what_the_stream_raises_is_raised() -> None:
    looking = polled(Stream([1], ValueError("gone")))

    assert next(looking) == 1
    with pytest.raises(ValueError, match="gone"):
        list(looking)


def test_who_stops_looking_stops_the_stream_even_where_it_brings_more_than_is_wanted() -> None:
    stream = Stream(list(range(1000)))
    looking = polled(stream)

    next(looking)
    time.sleep(0.05)
    brought = stream.brought
    looking.close()

    assert brought <= 4
    assert stream.cancelled.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "qpbridge stream"]


def test_patience_ends_some_time_after_the_last_sign_of_life() -> None:
    now = [0.0]
    patience, gone = Patience(60, clock=lambda: now[0]), ServerUnreachableError("nothing listens")

    now[0] = 59
    assert "trying again for 60 s (nothing listens)" in patience.spend(gone)
    patience.renew()
    now[0] = 118
    patience.spend(gone)
    now[0] = 119

    with pytest.raises(ServerUnreachableError):
        patience.spend(gone)
