"""Ctrl-C: the first one asks the work to stop, the second one stops it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

from qpbridge.errors import CancelledError

_NOTE = b"\nstopping as soon as nothing is left half-written; press Ctrl-C again to stop at once\n"


class Cancellation:
    """Whether somebody asked to stop, by Ctrl-C or by a TERM signal; a context manager.

    Outside the main thread, where Python delivers no signals, it never is.
    """

    def __init__(self) -> None:
        self._is_asked = False
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def raise_if_asked(self) -> None:
        """Raise ``CancelledError`` if somebody asked to stop."""
        if self._is_asked:
            raise CancelledError("stopped on request")

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._is_asked = True
        self._restore()
        # Not through sys.stderr: its buffer may be in use by what the signal interrupts.
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _NOTE)

    def _restore(self) -> None:
        while self._former:
            signal.signal(*self._former.popitem())
