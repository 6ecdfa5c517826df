"""GeoJSON to objects: what any of its versions, and people's scripts, have written is read.

Coordinates are in level-0 px.
"""

from __future__ import annotations

import uuid
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import NO_MAPPING, NO_MEASUREMENTS, ObjectKind, PathClass, PathObject, Plane
from qpbridge.errors import DamagedGeoJsonError
from qpbridge.qupath.geojson.containers import raw_features
from qpbridge.qupath.geojson.outlines import DEPTHS, EMPTY_DROPPED, NOT_FINITE_DROPPED, FaultyGeometry, from_members

NUCLEUS_DROPPED: Final = "nucleus left out"
MEASUREMENT_DROPPED: Final = "measurement that is no number left out"
UNKNOWN_KIND: Final = "unknown object type taken as annotation"
ID_GIVEN: Final = "id given"
COLOR_GIVEN: Final = "color given to a class"

_KINDS: Final = {
    **{kind.value: kind for kind in ObjectKind},
    "tma_core": ObjectKind.TMA_CORE,
    # QuPath 0.1 and 0.2 wrote the Java class as id.
    "PathAnnotationObject": ObjectKind.ANNOTATION,
    "PathDetectionObject": ObjectKind.DETECTION,
    "PathCellObject": ObjectKind.CELL,
    "PathTileObject": ObjectKind.TILE,
    "TMACoreObject": ObjectKind.TMA_CORE,
}
_CHUNK: Final = 4096
_NO_GEOJSON: Final = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    msgspec.DecodeError,
    ValueError,
    NotImplementedError,  # of archives with passwords and rare ways of packing
    RuntimeError,
    RecursionError,
)
_NAMESPACE: Final = uuid.UUID("5f0b4b0e-8f6c-5d0a-9a55-6a1f5c9d2e77")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoJsonObjects:
    """What a GeoJSON file held.

    Parameters
    ----------
    objects : tuple of PathObject
        In the order of the file, nested ones after their parent.
    mended : mapping of str to int
        How many were changed or left out, by kind of repair; empty for a sound file.
    """

    objects: tuple[PathObject, ...]
    mended: Mapping[str, int]


def read_objects(path: Path) -> GeoJsonObjects:
    """Read the objects of a GeoJSON file.

    A FeatureCollection, a list of features, one feature, or a bare geometry; compressed, or several in a zip archive.

    Parameters
    ----------
    path : Path
        Of the file; compression is told by its content.

    Returns
    -------
    GeoJsonObjects
        All geometries are valid and not empty; what had to be changed for that is counted. An object without an
        id gets one that depends on its content only.

    Raises
    ------
    DamagedGeoJsonError
        If the file or one of its features cannot be read at all; the message names the feature.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedGeoJsonError(f"{path} cannot be read: {error.strerror or error}") from error
    return parse_objects(content, str(path))


def parse_objects(content: bytes, origin: str) -> GeoJsonObjects:
    """Read the objects in the content of a GeoJSON file; everything else as for ``read_objects``.

    Parameters
    ----------
    content : bytes
        UTF-8, compressed or not.
    origin : str
        How messages call it.
    """
    try:
        reading = _Reading()
        return _objects(list(_placed_features(raw_features(content, reading.mended))), reading)
    except _FaultyFeature as fault:
        raise DamagedGeoJsonError(f"{origin}: feature {fault.place} (counted from 0): {fault.reason}") from fault
    except _NO_GEOJSON as error:
        raise DamagedGeoJsonError(f"{origin} is no GeoJSON: {error}; export it from QuPath again") from error


class _FaultyFeature(Exception):  # noqa: N818
    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place = place
        self.reason = reason


_NOTHING: Final = msgspec.Raw(b"null")


class _Properties(msgspec.Struct, gc=False):
    objectType: Any = None  # noqa: N815
    object_type: Any = None
    type: Any = None
    name: Any = None
    color: Any = None
    classification: msgspec.Raw = _NOTHING
    isLocked: Any = None  # noqa: N815
    isMissing: Any = None  # noqa: N815
    measurements: Any = None
    metadata: Any = None
    childObjects: list[msgspec.Raw] | None = None  # noqa: N815
    children: list[msgspec.Raw] | None = None


class _Feature(msgspec.Struct, gc=False):
    type: str | None = None
    id: Any = None
    geometry: msgspec.Raw = _NOTHING
    nucleusGeometry: msgspec.Raw = _NOTHING  # noqa: N815
    properties: _Properties | None = None


class _Frame(msgspec.Struct, gc=False):
    plane: Any = None
    isEllipse: Any = None  # noqa: N815


_DECODE_FEATURE: Final = msgspec.json.Decoder(_Feature).decode
_DECODE_FRAME: Final = msgspec.json.Decoder(_Frame).decode


@dataclass(slots=True)
class _Placed:
    """A feature, where it stands in the file, and the position of its parent among all."""

    feature: _Feature
    place: str
    parent: int | None


@dataclass(slots=True)
class _Reading:
    mended: Counter[str] = field(default_factory=Counter)
    classes: dict[bytes, PathClass | None] = field(default_factory=dict)
    given: Counter[uuid.UUID] = field(default_factory=Counter)


def _placed_features(raws: Sequence[msgspec.Raw]) -> Iterator[_Placed]:
    position = -1
    pending: list[tuple[msgspec.Raw, str, int | None]] = [(raw, str(index), None) for index, raw in enumerate(raws)]
    pending.reverse()
    while pending:
        raw, place, parent = pending.pop()
        try:
            feature = _DECODE_FEATURE(raw)
        except msgspec.DecodeError as error:
            raise _FaultyFeature(place, str(error)) from error
        if feature.type in DEPTHS or feature.type == "GeometryCollection":
            feature = _Feature(geometry=raw)
        position += 1
        yield _Placed(feature, place, parent)
        properties = feature.properties
        nested = (properties.childObjects or properties.children or []) if properties else []
        pending.extend((child, f"{place}.{index}", position) for index, child in reversed(list(enumerate(nested))))


def _objects(features: list[_Placed], reading: _Reading) -> GeoJsonObjects:
    places = [item.place for item in features]
    outlines = _geometries([item.feature.geometry for item in features], places, reading.mended)
    nuclei = _nuclei(features, reading.mended)
    objects: list[PathObject] = []
    ids: list[str | None] = []
    for index, (item, outline) in enumerate(zip(features, outlines, strict=True)):
        parent_id = None if item.parent is None else ids[item.parent]
        if outline is None:
            ids.append(parent_id)
            continue
        try:
            found = _object(item.feature, outline, nuclei.get(index), parent_id, reading)
        except (AttributeError, TypeError, ValueError, KeyError, OverflowError, msgspec.DecodeError) as error:
            raise _FaultyFeature(item.place, f"{type(error).__name__}: {error}") from error
        ids.append(found.id)
        objects.append(found)
    mended = {repair: count for repair, count in sorted(reading.mended.items()) if count}
    return GeoJsonObjects(objects=tuple(objects), mended=MappingProxyType(mended))


def _object(
    feature: _Feature, outline: BaseGeometry, nucleus: BaseGeometry | None, parent_id: str | None, reading: _Reading
) -> PathObject:
    properties = feature.properties or _Properties()
    kind = _kind(feature, properties, reading)
    path_class = _path_class(properties.classification, reading)
    frame = _frame(feature.geometry)
    name = None if properties.name is None else str(properties.name)
    return PathObject(
        id=_id(feature.id, (kind, outline, path_class, name), reading),
        kind=kind,
        geometry=outline,
        path_class=path_class,
        name=name,
        color_rgb=_color(properties.color),
        measurements=_measurements(properties.measurements, reading),
        metadata=_metadata(properties.metadata),
        is_locked=_is_true(properties.isLocked),
        is_ellipse=_is_true(frame.isEllipse),
        is_missing=_is_true(properties.isMissing),
        nucleus=nucleus if kind is ObjectKind.CELL else None,
        parent_id=parent_id,
        plane=_plane(frame.plane),
    )


def _geometries(raws: Sequence[msgspec.Raw], places: Sequence[str], mended: Counter[str]) -> list[BaseGeometry | None]:
    found: list[BaseGeometry | None] = []
    for start in range(0, len(raws), _CHUNK):
        try:
            found.extend(from_members([bytes(raw) for raw in raws[start : start + _CHUNK]], mended).tolist())
        except FaultyGeometry as fault:
            index, reason = fault.args
            raise _FaultyFeature(places[start + index], reason) from fault
    return found


def _nuclei(features: list[_Placed], mended: Counter[str]) -> dict[int, BaseGeometry | None]:
    indices = [index for index, item in enumerate(features) if bytes(item.feature.nucleusGeometry) != b"null"]
    repairs: Counter[str] = Counter()
    raws = [features[index].feature.nucleusGeometry for index in indices]
    nuclei = _geometries(raws, [f"{features[index].place} (nucleus)" for index in indices], repairs)
    dropped = repairs.pop(EMPTY_DROPPED, 0) + repairs.pop(NOT_FINITE_DROPPED, 0)
    mended.update({**repairs, NUCLEUS_DROPPED: dropped})
    return dict(zip(indices, nuclei, strict=True))


def _kind(feature: _Feature, properties: _Properties, reading: _Reading) -> ObjectKind:
    named = properties.objectType or properties.object_type
    if named is None:
        others = (_KINDS.get(other) for other in (properties.type, feature.id) if isinstance(other, str))
        return next((kind for kind in others if kind is not None), ObjectKind.ANNOTATION)
    kind = _KINDS.get(named) if isinstance(named, str) else None
    reading.mended[UNKNOWN_KIND] += kind is None
    return kind or ObjectKind.ANNOTATION


def _id(given: Any, content: tuple[ObjectKind, BaseGeometry, PathClass | None, str | None], reading: _Reading) -> str:
    if isinstance(given, str) and len(given) == 36:
        try:
            return str(uuid.UUID(given))
        except ValueError:
            pass
    kind, outline, path_class, name = content
    reading.mended[ID_GIVEN] += 1
    text = f"{given}|{kind.value}|{path_class.name if path_class else ''}|{name}|{outline.wkb_hex}"
    made = uuid.uuid5(_NAMESPACE, text)
    reading.given[made] += 1
    return str(made if reading.given[made] == 1 else uuid.uuid5(made, str(reading.given[made])))


def _path_class(raw: msgspec.Raw, reading: _Reading) -> PathClass | None:
    key = bytes(raw)
    if key not in reading.classes:
        value = msgspec.json.decode(raw)
        reading.classes[key] = _decoded_class(value)
        # QuPath refuses such a class, and with it the file.
        if isinstance(value, dict) and not value.keys() & {"color", "colorRGB"}:
            reading.mended[COLOR_GIVEN] += reading.classes[key] is not None
    return reading.classes[key]


def _decoded_class(value: Any) -> PathClass | None:
    if isinstance(value, dict):
        name, color = value.get("names") or value.get("name"), value.get("color", value.get("colorRGB"))
    else:
        name, color = value, None
    full = ": ".join(map(str, name)) if isinstance(name, list) else str(name or "")
    return PathClass(full, _color(color) or _made_color(full)) if full.strip() else None


def _made_color(name: str) -> tuple[int, int, int]:
    red, green, blue = zlib.crc32(name.encode()).to_bytes(4, "big")[1:]
    return red, green, blue


def _color(value: Any) -> tuple[int, int, int] | None:
    """Return a color given as [r, g, b] or as Java's ARGB number; QuPath ignores everything else."""
    if isinstance(value, list) and len(value) == 3:
        red, green, blue = (min(255, max(0, int(part))) for part in value)
        return red, green, blue
    if isinstance(value, int | float):
        number = int(value)
        return number >> 16 & 255, number >> 8 & 255, number & 255
    return None


def _measurements(value: Any, reading: _Reading) -> Mapping[str, float]:
    if not value:
        return NO_MEASUREMENTS
    pairs = value.items() if isinstance(value, dict) else [(item["name"], item.get("value")) for item in value]
    numbers = {str(name): _number(member) for name, member in pairs}
    kept = {name: number for name, number in numbers.items() if number is not None}
    reading.mended[MEASUREMENT_DROPPED] += len(numbers) - len(kept)
    return kept


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _metadata(value: Any) -> Mapping[str, str]:
    if not value:
        return NO_MAPPING
    texts = {True: "true", False: "false"}
    return {
        str(key): texts[member] if isinstance(member, bool) else str(member)
        for key, member in value.items()
        if isinstance(member, str | bool | int | float)
    }


def _is_true(value: Any) -> bool:
    return value is True or value == "true"


def _frame(raw: msgspec.Raw) -> _Frame:
    # Decoding every outline a second time would double the work; few have either.
    text = bytes(raw)
    return _DECODE_FRAME(raw) if b'"plane"' in text or b'"isEllipse"' in text else _Frame()


def _plane(value: Any) -> Plane:
    return Plane(c=value.get("c", -1), z=value.get("z", 0), t=value.get("t", 0)) if value else Plane()
