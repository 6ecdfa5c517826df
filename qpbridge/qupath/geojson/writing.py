"""Objects to GeoJSON that QuPath 0.5, 0.6 and 0.7 accept; coordinates in level-0 px on a grid of 0.01 px.

One feature that QuPath refuses makes it refuse the whole file, so nothing is written that any of them refuses.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import math
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import orjson
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.files import atomic_file
from qpbridge.qupath.geojson.outlines import on_grid, to_members

_BATCH: Final = 2048
"""Objects held at a time."""

_GZIP_LEVEL: Final = 1
"""Six times as fast as the default and a quarter larger."""

_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY
_NO_PLANE: Final = Plane()
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a GeoJSON file holds.

    Parameters
    ----------
    count : int
        Objects written.
    mended : int
        Outlines and nuclei that were invalid on the grid of 0.01 px and had to be changed.
    dropped : int
        Objects left out, since nothing of their outline remains on that grid.
    """

    count: int
    mended: int
    dropped: int


def write_objects(path: Path, objects: Iterable[PathObject]) -> Written:
    """Write objects as a FeatureCollection, one feature a line.

    Objects are taken as they come, so a generator of any length needs little memory. The same objects give
    the same bytes. Parents are not written, as QuPath does not either; it finds them by position on request.

    Parameters
    ----------
    path : Path
        Replaced if it exists, and only when all is written; a name that ends with ``.gz`` is compressed.
    objects : iterable of PathObject
        Geometries in level-0 px.

    Returns
    -------
    Written
        How many were written, mended, dropped.

    Raises
    ------
    DiskFullError
        If the disk has no space left.
    """
    tally = _Tally()
    separator = b"\n"
    with atomic_file(path) as file, _compressed(file, path) as out:
        out.write(b'{"type":"FeatureCollection","features":[')
        for batch in _batches(objects):
            for line in _features(batch, tally):
                out.write(separator + line)
                separator = b",\n"
        out.write(b"\n]}\n")
    return Written(count=tally.count, mended=tally.mended, dropped=tally.dropped)


def feature_lines(objects: Iterable[PathObject]) -> Iterator[bytes]:
    """Yield each object as the line that ``write_objects`` writes for it, without a comma and an end of line.

    An object of which nothing is left on the grid of 0.01 px has none.
    """
    tally = _Tally()
    for batch in _batches(objects):
        yield from _features(batch, tally)


def uuid_of(text: str) -> str:
    """Return an id as it is where it is a UUID, and else one made of it; QuPath would replace it by a random one."""
    return text if _UUID.fullmatch(text) else str(uuid.uuid5(uuid.NAMESPACE_OID, text))


@dataclass(slots=True)
class _Tally:
    count: int = 0
    mended: int = 0
    dropped: int = 0
    classes: dict[PathClass, orjson.Fragment | None] = field(default_factory=dict)


def _batches(objects: Iterable[PathObject]) -> Iterator[list[PathObject]]:
    iterator = iter(objects)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch


@contextlib.contextmanager
def _compressed(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    if path.suffix.lower() != ".gz":
        yield file
        return
    # Without name and time the bytes depend on the objects only.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=_GZIP_LEVEL, mtime=0) as out:
        yield cast(BinaryIO, out)


def _features(batch: Sequence[PathObject], tally: _Tally) -> Iterator[bytes]:
    outlines = _written([item.geometry for item in batch], batch, tally)
    cells = [item for item in batch if item.kind is ObjectKind.CELL and item.nucleus is not None]
    nuclei = dict(zip(map(id, cells), _written([item.nucleus for item in cells], cells, tally), strict=True))
    for item, outline in zip(batch, outlines, strict=True):
        if outline is None:
            tally.dropped += 1
            continue
        feature: dict[str, Any] = {"type": "Feature", "id": uuid_of(item.id), "geometry": outline}
        if item.is_ellipse and outline["type"] == "Polygon":
            outline["isEllipse"] = True
        if (nucleus := nuclei.get(id(item))) is not None:
            feature["nucleusGeometry"] = nucleus
        feature["properties"] = _properties(item, tally)
        tally.count += 1
        yield _dump(feature)


def _dump(feature: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(feature, option=_OPTIONS)
    except orjson.JSONEncodeError:
        # Java allows half of a surrogate pair in a text, UTF-8 does not.
        feature["properties"] = _printable(feature["properties"])
        return orjson.dumps(feature, option=_OPTIONS)


def _printable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_printable(key): _printable(member) for key, member in value.items()}
    return value


def _properties(item: PathObject, tally: _Tally) -> dict[str, object]:
    # QuPath refuses null for most of these, so what is not set is left out.
    properties: dict[str, object] = {"objectType": item.kind.value}
    if item.name is not None:
        properties["name"] = item.name
    if item.color_rgb is not None:
        properties["color"] = item.color_rgb
    if item.path_class is not None and (classification := _classification(item.path_class, tally)) is not None:
        properties["classification"] = classification
    if item.is_locked:
        properties["isLocked"] = True
    if item.kind is ObjectKind.TMA_CORE:
        properties["isMissing"] = item.is_missing
    if item.measurements:
        properties["measurements"] = _measurements(item.measurements)
    if item.metadata:
        properties["metadata"] = dict(item.metadata)
    return properties


def _classification(path_class: PathClass, tally: _Tally) -> orjson.Fragment | None:
    if path_class not in tally.classes:
        # QuPath refuses an empty name, and a class without color.
        names = [part for part in path_class.parts if part.strip()]
        naming: dict[str, object] = {"name": names[0]} if len(names) == 1 else {"names": names}
        text = _dump({"properties": {**naming, "color": path_class.color_rgb}}).removeprefix(b'{"properties":')[:-1]
        tally.classes[path_class] = orjson.Fragment(text) if names else None
    return tally.classes[path_class]


def _measurements(measurements: Mapping[str, float]) -> dict[str, float | str]:
    return {name: value if math.isfinite(value) else _not_finite(value) for name, value in measurements.items()}


def _not_finite(value: float) -> str:
    # JSON has no numbers for these; QuPath writes and reads Java's names.
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _written(
    geometries: Sequence[BaseGeometry | None], items: Sequence[PathObject], tally: _Tally
) -> list[dict[str, Any] | None]:
    """Return the GeoJSON members of geometries, None for those of which nothing is left."""
    if not geometries:
        return []
    sound, is_mended = on_grid(geometries)
    tally.mended += int(is_mended.sum())
    members = to_members(sound)
    for member, item in zip(members, items, strict=True):
        if member is not None and item.plane != _NO_PLANE:
            member["plane"] = {"c": item.plane.c, "z": item.plane.z, "t": item.plane.t}
    return members
