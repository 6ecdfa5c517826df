"""Kinds of work: which request asks for which, and how requests are written as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, TypeAlias

from qpbridge.errors import InvalidValueError, UnknownNameError
from qpbridge.workflows.requests import (
    EvaluateRequest,
    ExportModelRequest,
    ExportRequest,
    InspectRequest,
    PredictRegionRequest,
    PredictRequest,
    TrainRequest,
    UndoRequest,
)

Request: TypeAlias = (
    TrainRequest
    | PredictRequest
    | PredictRegionRequest
    | EvaluateRequest
    | ExportRequest
    | InspectRequest
    | ExportModelRequest
    | UndoRequest
)

KINDS: Final[Mapping[str, type[Request]]] = {
    "train": TrainRequest,
    "predict": PredictRequest,
    "predict_region": PredictRegionRequest,
    "evaluate": EvaluateRequest,
    "export": ExportRequest,
    "inspect": InspectRequest,
    "export_model": ExportModelRequest,
    "undo": UndoRequest,
}
"""Kinds of work, by the name of the workflow."""

_SUBJECTS: Final = ("project", "input", "inputs")


def title_of(request: Request) -> str:
    """Return what a request works on, for a reader: ``"skin, model tissue"``."""
    subject = next((value for name in _SUBJECTS if (value := getattr(request, name, None))), None)
    paths: Sequence[Path] = subject if isinstance(subject, tuple) else [] if subject is None else [subject]
    names = [path.parent.name if path.name == "project.qpproj" else path.name for path in paths]
    more = [f"and {len(names) - 1} more"] if len(names) > 1 else []
    model: Path | None = getattr(request, "model", None)
    undone = [f"job {request.job_id}"] if isinstance(request, UndoRequest) else []
    parts = [*names[:1], *more, *([] if model is None else [f"model {model.name}"]), *undone]
    return ", ".join(parts)


def to_json(request: Request) -> dict[str, Any]:
    """Return a request as JSON values."""
    import msgspec

    # By way of the text, which turns tuples into lists.
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(request, enc_hook=str))
    return values


def from_json(kind: str, values: Mapping[str, Any]) -> Request:
    """Return a request from JSON values, as ``to_json`` made them; what is left out has its default.

    Raises
    ------
    UnknownNameError
        If there is no such kind of work, or no such field.
    InvalidValueError
        If a field is missing or has a value that it does not take.
    """
    import msgspec

    if kind not in KINDS:
        raise UnknownNameError("kind of work", kind, list(KINDS))
    record = KINDS[kind]
    known = [item.name for item in fields(record)]
    for name in values:
        if name not in known:
            raise UnknownNameError("field", name, known, f"a request to {kind}")
    try:
        return msgspec.convert(dict(values), record, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise InvalidValueError(f"a request to {kind} cannot be read: {error}") from error


def _path(kind: type[Path], value: str) -> Path:
    if not isinstance(value, str):
        raise TypeError(f"expected the text of a path, got {type(value).__name__}")
    return kind(value)
