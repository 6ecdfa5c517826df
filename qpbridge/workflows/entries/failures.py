"""Entries one after the other; a failure of one does not end a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from qpbridge.core.progress import Progress
from qpbridge.errors import CancelledError, DiskFullError, QpbridgeError

Item = TypeVar("Item")

OUT_OF_MEMORY = "OUT_OF_MEMORY"
"""Reason of a failure for lack of memory, which is nobody's error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an entry could not be worked on.

    Parameters
    ----------
    entry : str
        Label of the entry or slide.
    reason : str
        Stable name of the cause, e.g. ``SLIDE_NOT_FOUND``.
    message : str
        What happened, and what to do.
    """

    entry: str
    reason: str
    message: str

    @classmethod
    def of(cls, entry: str, error: QpbridgeError) -> Failure:
        """Return the failure that an error means for an entry."""
        return cls(entry=entry, reason=error.reason, message=str(error))


class Failures:
    """Failures of single entries, told when they happen.

    Parameters
    ----------
    progress : Progress
        Hears of each.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._first: QpbridgeError | None = None
        self.found: list[Failure] = []

    @contextlib.contextmanager
    def kept(self, entry: str) -> Iterator[None]:
        """Keep and tell what goes wrong in the block; what ends the whole batch is let through.

        Parameters
        ----------
        entry : str
            Label of the entry that the block works on.

        Raises
        ------
        CancelledError, DiskFullError
            As the block did.
        """
        try:
            yield
        except (CancelledError, DiskFullError):
            raise
        except QpbridgeError as error:
            self._first = self._first or error
            self._keep(Failure.of(entry, error))
        except MemoryError:
            message = f"{entry} needs more memory than this machine has free; crop it in QuPath, or free some"
            self._keep(Failure(entry=entry, reason=OUT_OF_MEMORY, message=message))

    def first_or(self, default: QpbridgeError) -> QpbridgeError:
        """Return the error that came first; the default where there was none."""
        return self._first or default

    def _keep(self, failure: Failure) -> None:
        self.found.append(failure)
        self._progress.warn(failure.message)


def one_by_one(items: Sequence[Item], stage: str, progress: Progress) -> Iterator[Item]:
    """Yield items in their order; between them, tell how many are done and stop if somebody asked to.

    Raises
    ------
    CancelledError
        If somebody asked to stop.
    """
    for done, item in enumerate(items):
        progress.report(stage, done, len(items))
        progress.raise_if_cancelled()
        yield item
    progress.report(stage, len(items), len(items))
