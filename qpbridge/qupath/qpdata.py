"""What a ``data.qpdata`` of QuPath holds: the objects of one image. Read without Java, never written."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

import shapely

from qpbridge.core.objects import NO_MAPPING, NO_MEASUREMENTS, ObjectKind, PathClass, PathObject
from qpbridge.errors import DamagedDataError
from qpbridge.qupath.java.objects import JavaEnum, JavaObject
from qpbridge.qupath.java.stream import read_contents
from qpbridge.qupath.java.values import damaged, floats, is_map, is_object, list_of, map_of, text_or_none, unboxed
from qpbridge.qupath.rois import Roi, count_points, read_rois

DEFAULT_COLOR_RGB: Final = (64, 64, 64)
"""Color of a class that has none; QuPath's own default."""

_FIRST_LINE: Final = "Data file version"
_ROOT: Final = "qupath.lib.objects.PathRootObject"
_CELL: Final = "qupath.lib.objects.PathCellObject"
_PATH_OBJECT: Final = "qupath.lib.objects.PathObject"
_METADATA: Final = "qupath.lib.objects.MetadataMap"
_OBJECT_ID: Final = "Object ID"
_KINDS: Final = MappingProxyType(
    {
        "qupath.lib.objects.PathAnnotationObject": ObjectKind.ANNOTATION,
        _CELL: ObjectKind.CELL,
        "qupath.lib.objects.PathTileObject": ObjectKind.TILE,
        "qupath.lib.objects.PathDetectionObject": ObjectKind.DETECTION,
        "qupath.lib.objects.TMACoreObject": ObjectKind.TMA_CORE,
    }
)
_CANONICAL_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QpData:
    """Content of one ``data.qpdata``.

    Parameters
    ----------
    objects : tuple of PathObject
        All objects below the root, parents before their children.
    image_type : str or None
        Name of QuPath's image type, e.g. ``BRIGHTFIELD_H_E``.
    properties : mapping of str to str
        Properties of the image whose values are text, numbers or truth values.
    """

    objects: tuple[PathObject, ...]
    image_type: str | None
    properties: Mapping[str, str]


def read_qpdata(data: bytes) -> QpData:
    """Read the content of a ``data.qpdata``, of QuPath 0.2 to 0.7.

    Objects of old files, which have no id, get a UUIDv5 of the file's content and their place in it.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    DamagedDataError
        If it is no image data of QuPath, or damaged; says at which byte where that is known.
    """
    contents = read_contents(data)
    _check_first_line(next(contents, None))
    hierarchy: JavaObject | None = None
    image_type: str | None = None
    properties: Mapping[str, str] = NO_MAPPING
    for item in contents:
        if item == "EOF":
            break
        if is_object(item, "qupath.lib.objects.hierarchy.PathObjectHierarchy"):
            hierarchy = item
        elif isinstance(item, JavaEnum) and "qupath.lib.images.ImageData$ImageType" in item.java_class.lineage:
            image_type = item.constant
        elif is_map(item):
            properties = {key: str(value) for key, value in _plain(map_of(item))}
    if hierarchy is None:
        raise DamagedDataError("holds no object hierarchy")
    objects = _HierarchyReader(data).read(hierarchy)
    return QpData(objects=objects, image_type=image_type, properties=properties)


def rgb_of(color: object) -> tuple[int, int, int]:
    """Return red, green, blue of a color as QuPath stores it: a signed ARGB integer, or nothing for the default."""
    argb = unboxed(color)
    if not isinstance(argb, int):
        return DEFAULT_COLOR_RGB
    return argb >> 16 & 0xFF, argb >> 8 & 0xFF, argb & 0xFF


def _check_first_line(content: object) -> None:
    # writeUTF: two bytes of length, then the text
    if not (isinstance(content, bytes) and content[2:].startswith(_FIRST_LINE.encode())):
        raise DamagedDataError(f"is no image data of QuPath: it does not begin with '{_FIRST_LINE}'")


def _plain(properties: Mapping[str, object]) -> Iterator[tuple[str, str | int | float | bool]]:
    for key, value in properties.items():
        plain = unboxed(value)
        if isinstance(plain, str | int | float | bool):
            yield key, plain


class _Content(NamedTuple):
    """What one PathObject wrote, taken apart."""

    name: str | None
    color: object
    object_id: object
    extras: list[object]
    children: list[object]
    tail: list[object]


def _content(item: JavaObject) -> _Content:
    """Take apart what a PathObject wrote: three forms, of files without metadata, of version 3 and of version 4."""
    items = item.items
    try:
        third = items[2]
        object_id = None
        if is_object(third, _METADATA):
            begin, end = 2, 4
        elif is_object(third, "java.util.UUID"):
            object_id = third
            begin, end = 4, 4 + _count(items[3], item)
        else:
            begin, end = 2, 3
        first_child = end + 1
        first_of_tail = first_child + _count(items[end], item)
    except IndexError:
        raise damaged("object that ends early", item) from None
    children = items[first_child:first_of_tail]
    if len(children) != first_of_tail - first_child:
        raise damaged("object with fewer children than it announces", item)
    return _Content(text_or_none(items[0]), items[1], object_id, items[begin:end], children, items[first_of_tail:])


def _count(block: object, item: JavaObject) -> int:
    if isinstance(block, bytes) and len(block) == 4:
        count = int.from_bytes(block, signed=True)
        if count >= 0:
            return count
    raise damaged("count expected", item)


class _Draft(NamedTuple):
    """A PathObject whose shapes are still to be made."""

    values: dict[str, object]
    roi: JavaObject | None
    nucleus: JavaObject | None


class _HierarchyReader:
    """Turns the objects of one file into PathObjects."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        # Arrays may be shared by many objects; honest files hold several bytes for everything that we make of them
        self._budget = len(data)
        self._classes: dict[int, PathClass] = {}
        self._names: dict[int, tuple[str, ...]] = {}
        self._namespace: uuid.UUID | None = None

    def read(self, hierarchy: JavaObject) -> tuple[PathObject, ...]:
        """Return all objects below the root, parents before their children."""
        root = hierarchy.fields.get("rootObject")
        if not is_object(root, _ROOT):
            raise damaged("hierarchy without a root", hierarchy)
        drafts = list(self._drafts(root))
        proxies = [proxy for draft in drafts for proxy in (draft.roi, draft.nucleus) if proxy is not None]
        for proxy in proxies:
            self._spend(count_points(proxy), proxy)
        rois = dict(zip(map(id, proxies), read_rois(proxies), strict=True))
        return tuple(_finished(draft, rois) for draft in drafts)

    def _drafts(self, root: JavaObject) -> Iterator[_Draft]:
        seen: set[int] = set()
        waiting: list[tuple[object, str | None]] = [(child, None) for child in reversed(_content(root).children)]
        while waiting:
            item, parent_id = waiting.pop()
            if not is_object(item, _PATH_OBJECT):
                raise damaged("object of the hierarchy expected", item)
            if id(item) in seen:
                raise damaged("object that is in the hierarchy twice", item)
            seen.add(id(item))
            content = _content(item)
            draft = self._draft(item, content, parent_id, len(seen))
            object_id = str(draft.values["id"])
            waiting.extend((child, object_id) for child in reversed(content.children))
            yield draft

    def _draft(self, item: JavaObject, content: _Content, parent_id: str | None, number: int) -> _Draft:
        kind = next((_KINDS[name] for name in item.java_class.lineage if name in _KINDS), None)
        if kind is None:
            raise damaged("unknown kind of object", item)
        metadata, measurements = self._extras(content.extras)
        object_id = self._object_id(content.object_id, metadata, number)
        tail = content.tail
        is_locked = unboxed(tail[0]) if tail else None
        tail = tail[1:] if isinstance(is_locked, bool) else tail
        if len(tail) < 3 or not isinstance(tail[2], bytes) or len(tail[2]) < 8:
            raise damaged("object that ends early", item)
        values: dict[str, object] = {
            "id": object_id,
            "kind": kind,
            "path_class": self._path_class(tail[0]),
            "name": content.name,
            "color_rgb": None if content.color is None else rgb_of(content.color),
            "measurements": measurements,
            "metadata": metadata or NO_MAPPING,
            "is_locked": is_locked is True,
            "is_missing": kind is ObjectKind.TMA_CORE and tail[2][8:9] == b"\x01",
            "class_probability": _probability(tail[2]),
            "parent_id": parent_id,
        }
        nucleus = tail[3] if kind is ObjectKind.CELL and len(tail) > 3 else None
        return _Draft(values, _proxy(tail[1]), _proxy(nucleus))

    def _extras(self, extras: list[object]) -> tuple[dict[str, str], Mapping[str, float]]:
        metadata: dict[str, str] = {}
        measurements = NO_MEASUREMENTS
        for extra in extras:
            if is_object(extra, _METADATA):
                metadata = self._metadata(extra)
            elif type(extra) is JavaObject:
                measurements = self._measurements(extra)
        return metadata, measurements

    def _metadata(self, item: JavaObject) -> dict[str, str]:
        if len(item.items) != 3:
            raise damaged("metadata that is no map", item)
        keys, values = list_of(item.items[1]), list_of(item.items[2])
        self._spend(len(keys), item)
        if len(keys) != len(values):
            raise damaged(f"metadata with {len(keys)} keys but {len(values)} values", item)
        pairs = zip(keys, values, strict=True)
        return {key: value for key, value in pairs if isinstance(key, str) and isinstance(value, str)}

    def _object_id(self, stored: object, metadata: dict[str, str], number: int) -> str:
        if is_object(stored, "java.util.UUID"):
            high, low = stored.fields.get("mostSigBits"), stored.fields.get("leastSigBits")
            if isinstance(high, int) and isinstance(low, int):
                return str(uuid.UUID(int=(high % 2**64) << 64 | low % 2**64))
        if _CANONICAL_UUID.fullmatch(metadata.get(_OBJECT_ID, "")):
            return metadata.pop(_OBJECT_ID).lower()
        if self._namespace is None:
            self._namespace = uuid.UUID(bytes=hashlib.sha256(self._data).digest()[:16])
        return str(uuid.uuid5(self._namespace, str(number)))

    def _measurements(self, item: JavaObject) -> Mapping[str, float]:
        if "list" in item.fields:
            return self._single_measurements(item)
        values = floats(item, "values")
        listed = item.fields.get("names")
        names = self._names.get(id(listed))
        if names is None:
            names = self._names[id(listed)] = tuple(str(name) for name in list_of(listed))
        self._spend(len(names), item)
        if len(values) < len(names):
            raise damaged(f"{len(values)} measurements for {len(names)} names", item)
        return dict(zip(names, values.tolist(), strict=False)) if names else NO_MEASUREMENTS

    def _single_measurements(self, item: JavaObject) -> Mapping[str, float]:
        measurements: dict[str, float] = {}
        listed = list_of(item.fields["list"])
        self._spend(len(listed), item)
        for measurement in listed:
            fields = measurement.fields if type(measurement) is JavaObject else {}
            name, value = fields.get("name"), fields.get("value")
            if not (isinstance(name, str) and isinstance(value, float)):
                raise damaged("measurement without a name or number", measurement)
            measurements[name] = value
        return measurements or NO_MEASUREMENTS

    def _path_class(self, value: object) -> PathClass | None:
        if value is None:
            return None
        known = self._classes.get(id(value))
        if known is not None:
            return known
        names: list[str] = []
        part: object = value
        while is_object(part, "qupath.lib.objects.classes.PathClass"):
            name = text_or_none(part.fields.get("name"))
            names.append(name or "")
            self._spend(1 + len(names[-1]), part)
            part = part.fields.get("parentClass")
        if part is not None or type(value) is not JavaObject:
            raise damaged("class expected", part)
        full_name = ": ".join(name for name in reversed(names) if name)
        path_class = PathClass(full_name, rgb_of(value.fields.get("colorRGB")))
        self._classes[id(value)] = path_class
        return path_class

    def _spend(self, amount: int, item: JavaObject) -> None:
        self._budget -= amount
        if self._budget < 0:
            raise damaged("more content than the file is long, by sharing", item)


def _probability(block: bytes) -> float | None:
    (probability,) = struct.unpack_from(">d", block)
    return None if math.isnan(probability) else probability


def _proxy(value: object) -> JavaObject | None:
    if value is None or type(value) is JavaObject:
        return value
    raise damaged("shape expected", value)


def _finished(draft: _Draft, rois: Mapping[int, Roi]) -> PathObject:
    values = draft.values
    if draft.nucleus is not None:
        values["nucleus"] = rois[id(draft.nucleus)].geometry
    if draft.roi is None:
        return PathObject(geometry=shapely.GeometryCollection(), **values)  # type: ignore[arg-type]
    roi = rois[id(draft.roi)]
    return PathObject(geometry=roi.geometry, plane=roi.plane, is_ellipse=roi.is_ellipse, **values)  # type: ignore[arg-type]
