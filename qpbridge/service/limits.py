"""How much one request may bring, and how much room there must be: each refusal says what would fit."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from qpbridge.errors import DiskFullError, InvalidValueError
from qpbridge.service.configuration import Limits
from qpbridge.v1 import objects_pb2
from qpbridge.wire.size import check_amount

_NOTHING: Final = msgspec.Raw(b"")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_VERTEX: Final = re.compile(rb'\[\s*[-\d"]')
"""A bracket before a number: however a vertex is written, it has one of its own."""


class _Properties(msgspec.Struct, rename="camel", gc=False):
    child_objects: list[_Feature] | None = None
    children: list[_Feature] | None = None


class _Feature(msgspec.Struct, rename="camel"):
    """A Feature or a bare geometry, of which the coordinates stay text."""

    geometry: msgspec.Raw = _NOTHING
    nucleus_geometry: msgspec.Raw = _NOTHING
    coordinates: msgspec.Raw = _NOTHING
    geometries: msgspec.Raw = _NOTHING
    properties: _Properties | None = None

    def vertices(self) -> int:
        parts = (self.geometry, self.nucleus_geometry, self.coordinates, self.geometries)
        return sum(len(_VERTEX.findall(part)) for part in map(bytes, parts) if part)

    def all(self) -> Iterator[_Feature]:
        """Yield this one and all that are nested in it."""
        yield self
        nested = self.properties and (self.properties.child_objects or self.properties.children)
        for feature in nested or ():
            yield from feature.all()


class _Document(_Feature):
    """Whatever may stand at the top of a GeoJSON text that is no list."""

    features: list[_Feature] | None = None


def check_annotations(annotations: Sequence[objects_pb2.EntryAnnotations], limits: Limits) -> None:
    """Refuse more objects or vertices than a request may bring.

    Raises
    ------
    TooLargeError
        If there are more.
    InvalidValueError
        If a text is no GeoJSON.
    """
    objects = vertices = 0
    for given in annotations:
        for feature in _features(given):
            objects += 1
            vertices += feature.vertices()
    fewer = "draw fewer, or save them in the project, which has no such limit"
    check_amount(objects, limits.objects_max, "objects", fewer)
    check_amount(vertices, limits.vertices_max, "vertices", "simplify the outlines, or save them in the project")


def check_disk(places: Iterable[Path], limits: Limits) -> None:
    """Refuse work where there is too little room for what it writes.

    Raises
    ------
    DiskFullError
        If one of the places is on a disk with less free space than there must be.
    """
    for place in places:
        free = shutil.disk_usage(next(path for path in (place, *place.parents) if path.exists())).free
        if free < limits.free_disk_bytes_min:
            raise DiskFullError(
                f"{free / 1e6:,.0f} MB are free at {place}, and no work begins below"
                f" {limits.free_disk_bytes_min / 1e6:,.0f} MB: make room, or write elsewhere"
            )


def _features(given: objects_pb2.EntryAnnotations) -> Iterator[_Feature]:
    try:
        document = _decoded(given.geojson.removeprefix(_BYTE_ORDER_MARK))
        for feature in [document] if isinstance(document, _Feature) else document:
            yield from feature.all()
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"the annotations of '{given.entry}' are no GeoJSON: {error}") from error


def _decoded(content: bytes) -> _Feature | list[_Feature]:
    try:
        document = _DECODE(content)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Java and Python write what is no number as a bare word, which is no JSON.
        document = _DECODE(msgspec.json.encode(json.loads(content, parse_constant=str)))
    return document.features if isinstance(document, _Document) and document.features is not None else document


_DECODE: Final = msgspec.json.Decoder(list[_Feature] | _Document).decode
