"""What comes in about a job, passed on: its news to a progress, its end to the caller, its objects one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpbridge.core.progress import Progress, SilentProgress
from qpbridge.jobs.records import Job, JobState
from qpbridge.wire.jobs import event_of

if TYPE_CHECKING:
    from qpbridge.core.objects import PathObject


class News:
    """Tells a progress how a job stands, and each of its warnings once.

    Parameters
    ----------
    progress : Progress or None
        Nobody is told where None.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress or SilentProgress()
        self._told: set[str] = set()

    def tell(self, job: Job) -> None:
        """Tell how the job stands now."""
        for warning in job.warnings:
            self.warn(warning)
        if job.progress is not None:
            now = job.progress
            self._progress.report(now.stage, now.done, now.total, **now.numbers)
        elif job.state is JobState.QUEUED:
            self._progress.report("wait in the queue", 0, 0)

    def hear(self, answer: Any) -> None:
        """Tell what an answer of ``WatchJob`` says of the job, None being none; stop where somebody asks to.

        Raises
        ------
        CancelledError
            If somebody does.
        """
        self.raise_if_cancelled()
        event = None if answer is None else event_of(answer)
        if isinstance(event, Job):
            self.tell(event)

    def warn(self, message: str) -> None:
        """Tell a warning, if it is new."""
        if message not in self._told:
            self._told.add(message)
            self._progress.warn(message)

    def raise_if_cancelled(self) -> None:
        """Raise ``CancelledError`` if somebody asked to stop."""
        self._progress.raise_if_cancelled()


class Lines:
    """Puts lines together that come in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def whole(self, payload: bytes) -> list[bytes]:
        """Return the lines that end in a piece."""
        *lines, self._rest = (self._rest + payload).split(b"\n")
        return lines


def objects_of(lines: list[bytes]) -> tuple[PathObject, ...]:
    """Return the objects of some Features, one a line.

    Raises
    ------
    DamagedGeoJsonError
        If a line is no Feature.
    """
    from qpbridge.qupath.geojson import parse_objects

    return parse_objects(b"[" + b",".join(lines) + b"]", "what the server sent").objects
