"""What a job sits at: it reports here, hands out what it finds, and learns that it shall stop."""

from __future__ import annotations

from typing import Protocol

from qpbridge.core.progress import Progress, SilentProgress
from qpbridge.jobs.records import Chunk


class Desk(Progress, Protocol):
    """Progress of a job, and what else it needs of the house around it."""

    @property
    def job_id(self) -> str:
        """Id of the job, under which what it did may be found again."""

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier run of this job was broken off: what that finished need not be done again."""

    @property
    def device(self) -> str:
        """Where the job has its place, e.g. ``"cuda:0"``; a request's own ``device`` says the same here."""

    def emit(self, payload: bytes, count: int) -> None:
        """Hand a part of the result to those who watch; wait while they have too much of it.

        Parameters
        ----------
        payload : bytes
            Best below 1 MiB. Kept nowhere.
        count : int
            Things in it.

        Raises
        ------
        CancelledError
            If somebody asked to stop.
        """


class SilentDesk(SilentProgress):
    """A desk that nobody watches; keeps warnings and chunks."""

    def __init__(self, device: str = "cpu", is_resumed: bool = False, job_id: str = "job") -> None:
        super().__init__()
        self.job_id = job_id
        self.device = device
        self.is_resumed = is_resumed
        self.chunks: list[Chunk] = []

    def emit(self, payload: bytes, count: int) -> None:
        """Keep the chunk."""
        self.chunks.append(Chunk(payload=payload, count=count))
