"""The models in the model folders, read without loading a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from qpbridge.errors import BundleNotFoundError, DamagedBundleError, PathRefusedError, QpbridgeError
from qpbridge.models.spec import SCHEMA_VERSION, Manifest
from qpbridge.service.places import AllowedPlaces
from qpbridge.v1 import model_pb2, objects_pb2
from qpbridge.wire.records import pack
from qpbridge.workflows.entries.roots import may_read

SPEC_FILE: Final = "spec.json"
SPEC_BYTES_MAX: Final = 4 * 2**20
"""A spec is some KB long; what is far longer is none."""

_OF_MODEL: Final = ("family", "variant", "classes", "views", "heads", "config", "staining")

Stamp = tuple[int, int]
"""Time and size of a file: the same stamp means the same content."""


class Catalog:
    """Models by name; threads may share it.

    Parameters
    ----------
    places : AllowedPlaces
        Where models may be read.
    """

    def __init__(self, places: AllowedPlaces) -> None:
        self._places = places
        self._known: dict[Path, tuple[Stamp, model_pb2.Model]] = {}

    def listing(self) -> tuple[Sequence[model_pb2.Model], Sequence[objects_pb2.Failure]]:
        """Return the models by name, and the folders that look like models and cannot be read."""
        models, failures = {}, []
        for name in sorted(set(self._names()), key=str.casefold):
            try:
                models[name] = self.model(name)
            except QpbridgeError as error:
                failures.append(objects_pb2.Failure(entry=name, reason=error.reason, message=str(error)))
        return list(models.values()), failures

    def model(self, name: str) -> model_pb2.Model:
        """Return a model by its name or path.

        Raises
        ------
        PathRefusedError, BundleNotFoundError, DamagedBundleError
            If it may not be read, is not there, or cannot be read.
        """
        folder = self._places.model(name)
        stamp = _stamp(folder)
        known = self._known.get(folder)
        if known is not None and known[0] == stamp:
            return known[1]
        model = _read(folder, self._name_of(folder))
        self._known[folder] = stamp, model
        return model

    def _names(self) -> Iterator[str]:
        for folder in self._places.model_folders:
            # Files being written begin with a dot.
            yield from (path.parent.name for path in folder.glob(f"[!.]*/{SPEC_FILE}"))

    def _name_of(self, folder: Path) -> str:
        """Return the name by which a folder is found again, or else its path."""
        owner = next((one for one in self._places.model_folders if folder.parent == one), None)
        return folder.name if owner is not None and self._places.model(folder.name) == folder else str(folder)


def _stamp(folder: Path) -> Stamp:
    try:
        found = (folder / SPEC_FILE).stat()
    except OSError as error:
        raise BundleNotFoundError(f"no model at {folder}: it has no {SPEC_FILE}; training makes models") from error
    return found.st_mtime_ns, found.st_size


def _read(folder: Path, name: str) -> model_pb2.Model:
    path = folder / SPEC_FILE
    if not may_read(path):
        raise PathRefusedError(f"{path} is a link out of the folders that this server may touch; copy the file there")
    try:
        with path.open("rb") as file:
            content = file.read(SPEC_BYTES_MAX)
        manifest = msgspec.json.decode(content, type=Manifest)
        values: Mapping[str, Any] = msgspec.json.decode(content)
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedBundleError(f"{path} is no model spec: {error}; take another copy of the bundle") from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise DamagedBundleError(
            f"{path} has schema_version {manifest.schema_version}, this qpbridge reads {SCHEMA_VERSION}; use the"
            " version of qpbridge that wrote the bundle"
        )
    own = {"name": name, "path": str(folder), "digest": manifest.weights_sha256}
    of_model = {key: values["model"].get(key) for key in _OF_MODEL}
    return pack(model_pb2.Model, {**own, **of_model, "provenance": values["provenance"]})
