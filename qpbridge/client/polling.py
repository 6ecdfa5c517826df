"""Look up now and then while a stream brings nothing, and try again for a while where a server is gone."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from qpbridge.errors import QpbridgeError, ServerNotRunningError, ServerStoppingError, ServerUnreachableError

POLL_S: Final = 0.1
"""Between two looks, s."""

PATIENCE_S: Final = 60.0
"""How long a server may be gone that somebody waits for, s: enough to start it anew."""

PAUSE_S: Final = 1.0
"""Between two tries, s."""

LOST: Final = (ServerNotRunningError, ServerUnreachableError, ServerStoppingError)
"""Errors that may pass."""

_END: Final = object()
_AHEAD: Final = 2
"""Pieces that are read before somebody wants them: few, since a server waits while nobody does."""


def polled(stream: Any, poll_s: float = POLL_S) -> Iterator[Any]:
    """Yield what a stream brings, and None whenever it has brought nothing for a while.

    Parameters
    ----------
    stream : grpc.Call
        Iterable; cancelled when the iteration ends early.
    poll_s : float
        How long to wait before None, s.

    Raises
    ------
    Exception
        As the stream does.
    """
    pieces: queue.Queue[Any] = queue.Queue(_AHEAD)
    reader = threading.Thread(target=_read, args=(stream, pieces), daemon=True, name="qpbridge stream")
    reader.start()
    try:
        yield from _taken(pieces, poll_s)
    finally:
        stream.cancel()
        while reader.is_alive():
            with contextlib.suppress(queue.Empty):
                pieces.get(timeout=0.01)


def _read(stream: Any, pieces: queue.Queue[Any]) -> None:
    try:
        for piece in stream:
            pieces.put(piece)
        pieces.put(_END)
    except Exception as error:  # noqa: BLE001
        pieces.put(error)


def _taken(pieces: queue.Queue[Any], poll_s: float) -> Iterator[Any]:
    while True:
        try:
            piece = pieces.get(timeout=poll_s)
        except queue.Empty:
            piece = None
        if piece is _END:
            return
        if isinstance(piece, Exception):
            raise piece
        yield piece


class Patience:
    """How long to go on although the server is gone.

    Parameters
    ----------
    patience_s : float or None
        From the last sign of life, s; ``PATIENCE_S`` where None.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, patience_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._clock = clock
        self._alive_s = clock()

    def renew(self) -> None:
        """Note a sign of life."""
        self._alive_s = self._clock()

    def spend(self, error: QpbridgeError) -> str:
        """Return what to tell while trying again, or raise the error where it has been long enough."""
        if self._clock() - self._alive_s >= self._patience_s:
            raise error
        return f"lost the server; trying again for {self._patience_s:g} s ({error})"
