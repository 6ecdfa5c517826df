"""What a ``data.qpdata`` of QuPath holds: the objects of one image. Read without Java, never written."""

from __future__ import annotations

import gc
import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import shapely

from qpbridge.core.objects import NO_MAPPING, ObjectKind, PathObject, Plane, TmaGrid, path_objects
from qpbridge.errors import DamagedDataError
from qpbridge.qupath.decoding.attributes import DEFAULT_COLOR_RGB, read_class, read_measurements, read_metadata, rgb_of
from qpbridge.qupath.decoding.hierarchy import Slots, find_objects, kinds_of
from qpbridge.qupath.decoding.rois import read_rois
from qpbridge.qupath.java import walking
from qpbridge.qupath.java.columns import Columns, Truths, distinct
from qpbridge.qupath.java.objects import JavaEnum, JavaObject
from qpbridge.qupath.java.stream import JavaStream, Nodes
from qpbridge.qupath.java.values import damaged, is_map, is_object, list_of, map_of, unboxed

__all__ = ["DEFAULT_COLOR_RGB", "QpData", "read_qpdata", "rgb_of"]

_FIRST_LINE: Final = "Data file version"
_KINDS: Final = MappingProxyType(
    {
        "qupath.lib.objects.PathAnnotationObject": ObjectKind.ANNOTATION,
        "qupath.lib.objects.PathCellObject": ObjectKind.CELL,
        "qupath.lib.objects.PathTileObject": ObjectKind.TILE,
        "qupath.lib.objects.PathDetectionObject": ObjectKind.DETECTION,
        "qupath.lib.objects.TMACoreObject": ObjectKind.TMA_CORE,
    }
)
_PROBABILITY: Final = np.dtype([("probability", ">f8")])
_MISSING: Final = np.dtype([("probability", ">f8"), ("is_missing", "u1")])
_BITS: Final = 2**64


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
    tma_grid : TmaGrid or None
        Where the cores of a tissue microarray lie.
    """

    objects: tuple[PathObject, ...]
    image_type: str | None
    properties: Mapping[str, str]
    tma_grid: TmaGrid | None = None


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
    stream = JavaStream(data)
    contents = (stream.value(node) for node in stream.contents())
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
    columns = Columns(stream)
    slots = find_objects(columns, hierarchy)
    with _collector_paused():
        objects = _objects(columns, slots)
    grid = _tma_grid(hierarchy.fields.get("tmaGrid"), dict(zip(slots.nodes.tolist(), objects, strict=True)))
    return QpData(objects=objects, image_type=image_type, properties=properties, tma_grid=grid)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Spare the garbage collector millions of new objects, which it would visit again and again; none is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _check_first_line(content: object) -> None:
    # writeUTF: two bytes of length, then the text
    if not (isinstance(content, bytes) and content[2:].startswith(_FIRST_LINE.encode())):
        raise DamagedDataError(f"is no image data of QuPath: it does not begin with '{_FIRST_LINE}'")


def _plain(properties: Mapping[str, object]) -> Iterator[tuple[str, str | int | float | bool]]:
    for key, value in properties.items():
        plain = unboxed(value)
        if isinstance(plain, str | int | float | bool):
            yield key, plain


def _objects(columns: Columns, slots: Slots) -> tuple[PathObject, ...]:
    stream = columns.stream
    kinds = kinds_of(columns, slots.nodes, _KINDS)
    metadata, stored_ids = read_metadata(columns, slots.metadata)
    ids = _ids(columns, slots, stored_ids)
    values = {
        "id": ids,
        "kind": kinds,
        "path_class": _each(columns, slots.classes, lambda node: read_class(stream.value(node), columns)),
        "name": _names(columns, slots),
        "color_rgb": _each(columns, slots.colors, lambda node: _color(stream.value(node))),
        "measurements": read_measurements(columns, slots.measurements),
        "metadata": metadata,
        "is_locked": slots.is_locked.tolist(),
        "parent_id": [None if parent < 0 else ids[parent] for parent in slots.parents.tolist()],
        **_probabilities(columns, slots.probabilities, _are(ObjectKind.TMA_CORE, kinds)),
        **_shapes(columns, slots, _are(ObjectKind.CELL, kinds)),
    }
    return path_objects(values)


def _are(kind: ObjectKind, kinds: Sequence[object]) -> Truths:
    return np.array([item is kind for item in kinds], dtype=np.bool_)


def _each(columns: Columns, nodes: Nodes, function: Callable[[int], object]) -> list[object]:
    """Return what a function makes of each node; None for null. It is called once for what is shared."""
    found = np.full(len(nodes), None, dtype=object)
    present = np.flatnonzero(columns.stream.codes[nodes] != walking.NULL)
    made, which = columns.mapped(nodes[present], function)
    for index, made_index in zip(present.tolist(), which, strict=True):
        found[index] = made[made_index]
    listed: list[object] = found.tolist()
    return listed


def _names(columns: Columns, slots: Slots) -> list[str | None]:
    names = columns.texts(slots.names)
    is_none = np.array([name is None for name in names], dtype=np.bool_)
    columns.refuse(is_none & (columns.stream.codes[slots.names] != walking.NULL), "text expected", slots.names)
    return names


def _color(value: object) -> tuple[int, int, int] | None:
    return rgb_of(value) if isinstance(unboxed(value), int) else None


def _ids(columns: Columns, slots: Slots, stored: list[str | None]) -> list[str]:
    """Return the ids; objects of old files get one by their place, which stays the same as long as the file does."""
    for index in np.flatnonzero(slots.ids >= 0).tolist():
        stored[index] = _uuid(columns.stream.value(int(slots.ids[index])))
    if None not in stored:
        return stored  # type: ignore[return-value] # no None among them
    namespace = uuid.UUID(bytes=hashlib.sha256(columns.stream.data).digest()[:16])
    return [known or str(uuid.uuid5(namespace, str(number))) for number, known in enumerate(stored, start=1)]


def _uuid(value: object) -> str | None:
    fields = value.fields if type(value) is JavaObject else {}
    high, low = fields.get("mostSigBits"), fields.get("leastSigBits")
    if isinstance(high, int) and isinstance(low, int):
        return str(uuid.UUID(int=(high % _BITS) << 64 | low % _BITS))
    return None


def _probabilities(columns: Columns, blocks: Nodes, is_core: Truths) -> dict[str, list[object]]:
    stored = columns.records(blocks, _PROBABILITY)["probability"].astype(np.float64)
    probabilities = stored.astype(object)
    probabilities[np.isnan(stored)] = None
    is_missing = np.zeros(len(blocks), dtype=np.bool_)
    told = np.flatnonzero(is_core & (columns.stream.links[blocks] >= _MISSING.itemsize))
    is_missing[told] = columns.records(blocks[told], _MISSING)["is_missing"] == 1
    return {"class_probability": probabilities.tolist(), "is_missing": is_missing.tolist()}


def _shapes(columns: Columns, slots: Slots, is_cell: Truths) -> dict[str, list[object]]:
    count, codes = len(slots.nodes), columns.stream.codes
    nuclei = columns.resolved(np.where(is_cell & (slots.nuclei >= 0), slots.nuclei, slots.nodes))
    with_roi = np.flatnonzero(codes[slots.rois] != walking.NULL)
    with_nucleus = np.flatnonzero((nuclei != slots.nodes) & (codes[nuclei] != walking.NULL))
    used = np.concatenate((slots.rois[with_roi], nuclei[with_nucleus]))
    different, which = distinct(used)
    rois = read_rois(columns, different)
    geometries, nucleus = np.full(count, shapely.GeometryCollection(), dtype=object), np.full(count, None, dtype=object)
    planes, is_ellipse = np.full(count, Plane(), dtype=object), np.zeros(count, dtype=np.bool_)
    own = which[: len(with_roi)]
    geometries[with_roi], is_ellipse[with_roi], planes[with_roi] = (
        rois.geometries[own],
        rois.is_ellipse[own],
        rois.planes[own],
    )
    nucleus[with_nucleus] = rois.geometries[which[len(with_roi) :]]
    return {
        "geometry": geometries.tolist(),
        "plane": planes.tolist(),
        "is_ellipse": is_ellipse.tolist(),
        "nucleus": nucleus.tolist(),
    }


def _tma_grid(grid: object, objects: Mapping[int, PathObject]) -> TmaGrid | None:
    if not is_object(grid, "qupath.lib.objects.hierarchy.DefaultTMAGrid"):
        return None
    fields = grid.fields
    found = [objects.get(core.node) if type(core) is JavaObject else None for core in list_of(fields.get("cores"))]
    rows, columns = fields.get("gridHeight"), fields.get("gridWidth")
    if not (isinstance(rows, int) and isinstance(columns, int) and rows * columns == len(found)):
        raise damaged(f"{rows} rows and {columns} columns for {len(found)} cores", grid)
    return TmaGrid(rows=rows, columns=columns, core_ids=tuple(core.id if core else None for core in found))
