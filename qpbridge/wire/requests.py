"""Request messages and the requests of workflows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from qpbridge.errors import InvalidValueError
from qpbridge.v1 import evaluation_pb2, job_pb2, model_pb2, prediction_pb2, project_pb2, training_pb2
from qpbridge.wire.records import pack, unpack
from qpbridge.workflows.kinds import Request, from_json, to_json

RequestMessage: TypeAlias = (
    training_pb2.TrainRequest
    | prediction_pb2.PredictRequest
    | prediction_pb2.PredictRegionRequest
    | evaluation_pb2.EvaluateRequest
    | project_pb2.ExportProjectRequest
    | project_pb2.InspectProjectRequest
    | model_pb2.ExportModelRequest
    | job_pb2.UndoJobRequest
)

MESSAGES: Final[Mapping[str, type[RequestMessage]]] = {
    "train": training_pb2.TrainRequest,
    "predict": prediction_pb2.PredictRequest,
    "predict_region": prediction_pb2.PredictRegionRequest,
    "evaluate": evaluation_pb2.EvaluateRequest,
    "export": project_pb2.ExportProjectRequest,
    "inspect": project_pb2.InspectProjectRequest,
    "export_model": model_pb2.ExportModelRequest,
    "undo": job_pb2.UndoJobRequest,
}
"""Message of each kind of work."""


class Places(Protocol):
    """Says where on this machine the things lie that a request names, or refuses them.

    Every path of a request goes through here, so that none is used unseen.
    """

    def read(self, path: str) -> Path:
        """Return the place of a project, a slide or a folder of predictions."""

    def write(self, path: str) -> Path:
        """Return the place of a file or folder to be written."""

    def new_project(self, path: str) -> Path:
        """Return the place of a folder that is made anew."""

    def model(self, name: str) -> Path:
        """Return the bundle of a name or path."""

    def new_model(self, name: str) -> Path:
        """Return where a bundle of a name or path is to be written."""

    def results(self, inputs: Sequence[Path], model: Path) -> Path:
        """Return where predictions go that nobody gave a folder for."""

    def path_rule(self, rule: str) -> str:
        """Return a rule ``FROM=TO`` whose ``TO`` may be looked at."""


def kind_of(message: RequestMessage) -> str:
    """Return the kind of work that a message asks for."""
    return next(kind for kind, messages in MESSAGES.items() if isinstance(message, messages))


def request_of(message: RequestMessage, places: Places) -> Request:
    """Return the request that a message carries; what it leaves out has the workflow's default.

    Parameters
    ----------
    message : message
        One of ``MESSAGES``.
    places : Places
        Asked for every path; what it raises is raised.

    Raises
    ------
    InvalidValueError
        If something is missing, or has a value that is not taken.
    """
    kind = kind_of(message)
    values = {name: value for name, value in unpack(message).items() if value not in (None, "", [], {})}
    values = _FLATTENED.get(kind, dict)(values)
    find = _finders(places) | ({"out": places.new_model} if kind == "train" else {})
    values |= {name: _found(values[name], find[name]) for name in values.keys() & find.keys()}
    if kind == "predict" and values.keys() >= {"inputs", "model"}:
        values.setdefault("out", str(places.results([Path(one) for one in values["inputs"]], Path(values["model"]))))
    return from_json(kind, values)


def message_of(request: Request) -> RequestMessage:
    """Return the message that carries a request.

    A single input counts as a project where it is a folder, ends with ``.qpproj`` or has no ending, or where
    entries or path rules come with it: it may lie on another machine, and cannot be looked at.

    Raises
    ------
    InvalidValueError
        If an empty list of entries or classes was given, which would ask for all of them.
    """
    values = to_json(request)
    for name in ("entries", "classes"):
        if values.get(name) == []:
            raise InvalidValueError(f"{name} is an empty list, which asks for nothing: leave it out to ask for all")
    kind = _KIND_OF[type(request).__name__]
    return pack(MESSAGES[kind], _SOURCED.get(kind, dict)(values))


_KIND_OF: Final = {"".join(word.title() for word in kind.split("_")) + "Request": kind for kind in MESSAGES}
"""Kinds of work by the names of the workflows' records."""


def _finders(places: Places) -> dict[str, Callable[[str], object]]:
    reading = dict.fromkeys(("project", "input", "inputs", "predictions"), places.read)
    return {
        **reading,
        "model": places.model,
        "base": places.model,
        "out": places.write,
        "pictures": places.write,
        "project_out": places.new_project,
        "path_map": places.path_rule,
    }


def _found(value: Any, find: Callable[[str], object]) -> Any:
    return [str(find(one)) for one in value] if isinstance(value, list) else str(find(value))


def _inputs_of(values: dict[str, Any]) -> dict[str, Any]:
    project, slides = values.pop("project", None), values.pop("slides", None)
    source = {**(project or {}), **(slides or {})}
    inputs = source.get("paths", [source["project"]] if source.get("project") else [])
    rest = {name: source[name] for name in ("entries", "path_map") if source.get(name)}
    return {**values, **rest, **({"inputs": inputs} if inputs else {})}


def _input_of(values: dict[str, Any]) -> dict[str, Any]:
    entry, slide = values.pop("entry", {}), values.pop("slide", None)
    rest = {name: entry[name] for name in ("entry", "path_map") if entry.get(name)}
    path = slide or entry.get("project")
    return {**values, **rest, **({"input": path} if path else {})}


def _sources_of(values: dict[str, Any]) -> dict[str, Any]:
    inputs, entries, path_map = values.pop("inputs"), values.pop("entries"), values.pop("path_map")
    if len(inputs) == 1 and (entries or path_map or _looks_like_project(inputs[0])):
        return {**values, "project": {"project": inputs[0], "entries": entries, "path_map": path_map}}
    if entries:
        raise InvalidValueError(f"entries {', '.join(entries)} belong to a project, but slides were given")
    return {**values, "slides": {"paths": inputs}}


def _source_of(values: dict[str, Any]) -> dict[str, Any]:
    path, entry, path_map = values.pop("input"), values.pop("entry"), values.pop("path_map")
    if entry or path_map or _looks_like_project(path):
        return {**values, "entry": {"project": path, "entry": entry, "path_map": path_map}}
    return {**values, "slide": path}


def _looks_like_project(path: str) -> bool:
    return Path(path).suffix in {"", ".qpproj"} or Path(path).is_dir()


_Shaped: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

_FLATTENED: Final[Mapping[str, _Shaped]] = {"predict": _inputs_of, "predict_region": _input_of}
_SOURCED: Final[Mapping[str, _Shaped]] = {"predict": _sources_of, "predict_region": _source_of}
"""Where a record holds a path, messages tell projects from slides."""
