"""What is known of a job."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from qpbridge.errors import QpbridgeError

SERVER_STOPPED: Final = "SERVER_STOPPED"
"""Reason of a job that the end of its server took along."""

WORKER_DIED: Final = "WORKER_DIED"
"""Reason of a job whose process ended without a word."""

DEFECT: Final = "INTERNAL"
"""Reason of what nobody foresaw."""

WARNINGS_MAX: Final = 200
"""Warnings of a job that are kept; the later ones of more nobody would read."""


class JobState(enum.StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTLY_DONE = "partly_done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing happens any more."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed.

    Parameters
    ----------
    reason : str
        Stable name of the cause in UPPER_SNAKE.
    message : str
        What happened, and what to do.
    """

    reason: str
    message: str

    @classmethod
    def of(cls, error: BaseException) -> JobError:
        """Return what an error means for a user; ``DEFECT`` where it is one of ours."""
        if isinstance(error, QpbridgeError):
            return cls(reason=error.reason, message=str(error))
        told = f"{type(error).__name__}: {error}".removesuffix(": ")
        found = (known for known in _FOREIGN_ERRORS if isinstance(error, known[0]))
        _, reason, message = next(found, _DEFECT)
        return cls(reason=reason, message=message.format(told))


_FOREIGN_ERRORS: Final[tuple[tuple[type[BaseException], str, str], ...]] = (
    (MemoryError, "OUT_OF_MEMORY", "the machine has too little free memory for that; free some"),
    (ImportError, "INSTALLATION", "a library does not load ({}); run qpbridge doctor"),
    (OSError, "FILE_ACCESS", "{}; check that path, its rights and its disk"),
)

_DEFECT: Final = (BaseException, DEFECT, "a defect of qpbridge, not of your input: {}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a stage of a job is.

    Parameters
    ----------
    stage : str
        What is going on, e.g. ``"train"``.
    done, total : int
        Steps; ``total`` is 0 where it is not known.
    rate_per_s : float or None
        Steps a second; None before that is known.
    eta_s : float or None
        To the end of the stage, s; None before that is known.
    numbers : mapping of str to float
        What else is worth showing, e.g. ``loss`` or ``objects``.
    """

    stage: str
    done: int
    total: int
    rate_per_s: float | None = None
    eta_s: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Long work and how it goes.

    Parameters
    ----------
    id : str
        Unique in a state folder.
    kind : str
        What it does, e.g. ``"train"``.
    title : str
        What it works on, for a reader.
    client : str
        Who asked for it; clients take turns.
    device : str
        Where it runs, e.g. ``"cuda:0"``; before that, where it was asked to, e.g. ``"auto"``.
    state : JobState
        How far it is.
    created, started, finished : datetime
        In UTC; None where that is still to come.
    request : mapping
        JSON values; empty on the pages of a list.
    progress : JobProgress or None
        The last that was heard.
    warnings : tuple of str
        What the user should know although the work goes on.
    result : mapping or None
        JSON values that the work gave; None on the pages of a list.
    error : JobError or None
        Why it failed; only in the state ``FAILED``.
    """

    id: str
    kind: str
    title: str
    client: str
    device: str
    state: JobState
    created: datetime.datetime
    started: datetime.datetime | None = None
    finished: datetime.datetime | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    progress: JobProgress | None = None
    warnings: tuple[str, ...] = ()
    result: Mapping[str, Any] | None = None
    error: JobError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """A part of a list of jobs.

    Parameters
    ----------
    jobs : sequence of Job
        The newest first, without their requests and results.
    next_page_token : str
        Gives the next page; empty on the last one.
    """

    jobs: Sequence[Job]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Part of what a job found, on its way to those who watch.

    Parameters
    ----------
    payload : bytes
        As the work encoded it.
    count : int
        Things in it, e.g. objects.
    """

    payload: bytes
    count: int


def ended_well(result: Mapping[str, Any]) -> JobState:
    """Return the state of a job that gave a result: partly done where that names failures."""
    return JobState.PARTLY_DONE if result.get("failures") else JobState.SUCCEEDED


def with_warning(warnings: tuple[str, ...], message: str) -> tuple[str, ...]:
    """Return warnings with one more, unless it is known or there are too many."""
    return warnings if message in warnings or len(warnings) >= WARNINGS_MAX else (*warnings, message)


def utc_now() -> datetime.datetime:
    """Return the time, in UTC."""
    return datetime.datetime.now(datetime.UTC)
