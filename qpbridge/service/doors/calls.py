"""What calls have in common at every door."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from qpbridge.errors import TooManyStreamsError
from qpbridge.service.configuration import Limits

LOG: Final = logging.getLogger(__name__)

_BEFORE_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")


def answer_of(servicer: object, method: MethodDescriptor) -> Callable[..., Any]:
    """Return what of a servicer answers a method: the one of its name in snake_case."""
    answer: Callable[..., Any] = getattr(servicer, _BEFORE_CAPITAL.sub("_", method.name).lower())
    return answer


class Streams:
    """Counts the streams that are open, at all doors together.

    Parameters
    ----------
    limits : Limits
        How many there may be.
    """

    def __init__(self, limits: Limits) -> None:
        self._most = limits.streams_max
        self._open = 0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count one more as long as the block lasts.

        Raises
        ------
        TooManyStreamsError
            If there are as many as may be.
        """
        if self._open >= self._most:
            raise TooManyStreamsError(
                f"{self._open} streams are open, and {self._most} may: close one, or raise"
                " limits.streams_max in the server's configuration"
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


@contextlib.contextmanager
def logged(kind: type[Message], client: Callable[[], str]) -> Iterator[None]:
    """Log a call, where each is to be logged."""
    start_s = time.monotonic()
    try:
        yield
    finally:
        if LOG.isEnabledFor(logging.DEBUG):
            duration_s = round(time.monotonic() - start_s, 4)
            LOG.debug("call", extra={"request": kind.DESCRIPTOR.name, "client": client(), "duration_s": duration_s})
