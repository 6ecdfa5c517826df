"""One entry's failure, which does not end a batch."""

from __future__ import annotations

from dataclasses import dataclass

from qpbridge.errors import QpbridgeError


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
