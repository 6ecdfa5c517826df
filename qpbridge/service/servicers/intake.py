"""Requests on their way to the board: read, checked, and given a device and a title."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qpbridge.errors import InvalidValueError, QpbridgeError
from qpbridge.jobs.board import JobBoard
from qpbridge.jobs.fair_queue import ANY_DEVICE, suits_any
from qpbridge.jobs.records import Job
from qpbridge.service.configuration import Limits
from qpbridge.service.limits import check_annotations, check_disk
from qpbridge.service.servicers.caller import Caller
from qpbridge.wire.requests import Places, RequestMessage, kind_of, request_of
from qpbridge.workflows.kinds import Request, title_of, to_json

LOG: Final = logging.getLogger(__name__)

FILES_WORKER: Final = "files"
"""Does what needs no device, so that a look at a project does not wait for the end of a training."""

ATTENDED_KINDS: Final = frozenset({"predict_region", "inspect"})
"""Work for which somebody sits and waits: it passes other work, and is of no use once they are gone."""

_FILE_SUFFIXES: Final[Mapping[str, str]] = {"evaluate": ".json", "export_model": ".onnx"}
"""Of the one file that such work writes, so that it cannot take the place of a slide or a project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request that was found good.

    Parameters
    ----------
    kind : str
        Of the work.
    request : mapping
        JSON values.
    device : str
        One of the board's, or a kind of them.
    title : str
        What it works on, for a reader.
    """

    kind: str
    request: Mapping[str, Any]
    device: str
    title: str


class Intake:
    """Takes requests in.

    Parameters
    ----------
    board : JobBoard
        Does them.
    places : Places
        Where requests may read and write.
    limits : Limits
        How much they may bring.
    devices : sequence of str
        That networks run on; ``"auto"`` means those of the first one's kind.
    state : Path
        The state folder, which needs free space, too.
    """

    def __init__(self, board: JobBoard, places: Places, limits: Limits, devices: Sequence[str], state: Path) -> None:
        self._board = board
        self._places = places
        self._limits = limits
        self._devices = devices
        self._state = state

    async def submit(self, message: RequestMessage, caller: Caller) -> Job:
        """Take a request in and return its job at once.

        Raises
        ------
        PathRefusedError, TooLargeError, InvalidValueError, UnknownNameError
            If it asks for what it may not have, brings too much, or cannot be read.
        DiskFullError, QueueFullError, ServerStoppingError
            If there is no room for it.
        """
        order = await asyncio.to_thread(self.order, message)
        job = await self._board.submit(
            order.kind,
            order.request,
            client=caller.client,
            device=order.device,
            title=order.title,
            is_resumable=order.kind not in ATTENDED_KINDS,
        )
        LOG.info("job taken in", extra={"job": job.id, "kind": job.kind, "client": job.client, "title": job.title})
        return job

    @contextlib.asynccontextmanager
    async def attended(self, message: RequestMessage, caller: Caller) -> AsyncIterator[Job]:
        """Take a request in for somebody who waits for its end; if they do not, it is stopped.

        Raises
        ------
        QpbridgeError
            As ``submit``.
        """
        submitting = asyncio.create_task(self.submit(message, caller))
        try:
            yield await asyncio.shield(submitting)
        finally:
            # In a task of its own: this one may have been cancelled, and may be so again.
            await asyncio.shield(asyncio.create_task(self._stop(submitting)))

    def order(self, message: RequestMessage) -> Order:
        """Return what a message asks for; looks at disks, and takes a while where annotations are many."""
        check_annotations(getattr(message, "annotations", ()), self._limits)
        kind, request = kind_of(message), request_of(message, self._places)
        out: Path | None = getattr(request, "out", None)
        _check_suffix(kind, out)
        places: list[Path | None] = [out, getattr(request, "project_out", None)]
        check_disk([self._state, *(place for place in places if place is not None)], self._limits)
        return Order(kind=kind, request=to_json(request), device=self._device(request), title=title_of(request))

    def _device(self, request: Request) -> str:
        wanted: str | None = getattr(request, "device", None)
        if wanted is None:
            return FILES_WORKER
        if not suits_any(wanted, self._devices):
            raise InvalidValueError(f"no device '{wanted}' here; there are: auto, {', '.join(self._devices)}")
        return self._devices[0].partition(":")[0] if wanted == ANY_DEVICE else wanted

    async def _stop(self, submitting: asyncio.Task[Job]) -> None:
        with contextlib.suppress(QpbridgeError):
            await self._board.cancel((await submitting).id)


def _check_suffix(kind: str, out: Path | None) -> None:
    suffix = _FILE_SUFFIXES.get(kind, "")
    if out is not None and not out.name.endswith(suffix):
        raise InvalidValueError(f"{out} does not end in {suffix}, as the file that is written there must")
