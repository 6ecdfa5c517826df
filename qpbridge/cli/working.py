"""Where a request is carried out: in this process, noted in the journal, or on a server."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qpbridge.cli.options import Place
from qpbridge.cli.running import Document
from qpbridge.cli.verb import AUTO
from qpbridge.core.processes import process_number
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError

if TYPE_CHECKING:
    from qpbridge.client import Client
    from qpbridge.workflows.kinds import Request

TOKEN_VARIABLE: Final = "QPBRIDGE_TOKEN"

_NOT_NOTED: Final = {"inspect"}
"""Kinds of work that write nothing, not even into the journal."""

_PATHS: Final = ("project", "inputs", "out", "project_out", "predictions")


def working(make: Callable[[], Request], place: Place) -> Callable[[Progress], Document]:
    """Return the work that carries a request out.

    Parameters
    ----------
    make : callable
        Makes the request; what it raises is told as an error of the work.
    place : Place
        Where.
    """

    def work(progress: Progress) -> Document:
        request = make()
        if place.server is None:
            return work_here(request, progress)
        with client_of(place) as client:
            return client.run(as_seen_by_server(request) if client.access.is_local else request, progress)

    return work


def client_of(place: Place) -> Client:
    """Return a client of the server that the options name; it is not connected yet.

    Raises
    ------
    InvalidValueError
        If the file of the token cannot be read.
    """
    from qpbridge.client import Client, Tls

    files = (place.tls_ca, place.tls_certificate, place.tls_key)
    tls = Tls(ca=place.tls_ca, certificate=place.tls_certificate, key=place.tls_key) if any(files) else None
    return Client(None if place.server in (None, AUTO) else place.server, token=_token(place), tls=tls)


def work_here(request: Request, progress: Progress) -> Document:
    """Carry a request out in this process."""
    from qpbridge.jobs.in_process import journaled
    from qpbridge.jobs.store.state_folder import default_state_folder
    from qpbridge.workflows.kinds import KINDS, title_of, to_json
    from qpbridge.workflows.worker import run

    kind = next(kind for kind, record in KINDS.items() if isinstance(request, record))
    values = to_json(request)
    if kind in _NOT_NOTED or process_number():
        return run(kind, values, _OwnDesk(progress, ""))
    title, device = title_of(request), values.get("device", "cpu")
    # As the journal is read in other folders, too.
    noted = to_json(as_seen_by_server(request))
    with journaled(default_state_folder(), kind, noted, progress, title=title, device=device) as recording:
        result = run(kind, values, _OwnDesk(recording, recording.job.id))
        recording.finish(result)
    return result


def as_seen_by_server(request: Request) -> Request:
    """Return a request whose paths do not depend on the working folder; names of models stay names.

    Parameters
    ----------
    request : request
        For a server on this machine.
    """
    changes: dict[str, Any] = {}
    for name in _PATHS:
        value = getattr(request, name, None)
        if value is not None:
            changes[name] = tuple(map(Path.absolute, value)) if isinstance(value, tuple) else value.absolute()
    model = getattr(request, "model", None)
    if model is not None and model.exists():
        changes["model"] = model.absolute()
    if rules := getattr(request, "path_map", ()):
        changes["path_map"] = tuple(map(_absolute_rule, rules))
    return replace(request, **changes)


class _OwnDesk:
    """Progress of work that is done in this process, for the first time, and watched by nobody else."""

    is_resumed = False
    device = "auto"

    def __init__(self, progress: Progress, job_id: str) -> None:
        self._progress = progress
        self.job_id = job_id

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """Pass it on."""
        self._progress.report(stage, done, total, **numbers)

    def warn(self, message: str) -> None:
        """Pass it on."""
        self._progress.warn(message)

    def raise_if_cancelled(self) -> None:
        """Pass it on."""
        self._progress.raise_if_cancelled()

    def emit(self, payload: bytes, count: int) -> None:
        """Do nothing: no verb hands out parts of its result."""


def _token(place: Place) -> str | None:
    if place.token_file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return place.token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"the token's file {place.token_file} cannot be read: {error}") from error


def _absolute_rule(rule: str) -> str:
    stored, equals, now = rule.partition("=")
    return f"{stored}={Path(now.strip()).absolute()}" if equals and now.strip() else rule
