"""Objects of QuPath's process as those of ours: what it tells column by column, put together again. Level-0 px."""

from __future__ import annotations

import hashlib
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import NO_MAPPING, NO_MEASUREMENTS, ObjectKind, PathClass, PathObject, Plane
from qpbridge.qupath.decoding.rois import ellipse, ring
from qpbridge.qupath.paquo_backend.records import DataContent, Hierarchy, Shapes
from qpbridge.qupath.qpdata import QpData, rgb_of

_IDS_SINCE: Final = (0, 4)
"""First QuPath that keeps the ids of objects."""

_WRITER: Final = re.compile(rb'"qupathVersion":"v?(\d+)\.(\d+)')
_HEADER_BYTES: Final = 2**20
"""How far the text may reach in which QuPath says which version wrote a file."""

_KINDS: Final = (ObjectKind.CELL, ObjectKind.TILE, ObjectKind.TMA_CORE, ObjectKind.DETECTION)
"""In the order of the flags; a cell is a detection, too, so that the first that holds decides."""

_POLYGONS: Final = ("PolygonROI", "RectangleROI")
_RING_MIN: Final = 4
"""Vertices from which a ring can be made without more ado; it may be closed already."""

_LOCKED: Final = 4
_MISSING: Final = 5

Points = npt.NDArray[np.float64]


def data_of(content: DataContent, path: Path) -> QpData:
    """Return what a ``data.qpdata`` holds.

    Parameters
    ----------
    content : DataContent
        As QuPath told it.
    path : Path
        Of the file; objects of old files, which have no id, get the one that ``read_qpdata`` gives them.
    """
    hierarchy = content.hierarchy
    data = path.read_bytes()
    ids = hierarchy.ids if _has_ids(data) else _ids_by_place(data, len(hierarchy.ids))
    return QpData(
        objects=_objects(hierarchy, ids), image_type=content.image_type, properties=content.properties or NO_MAPPING
    )


def geometries_of(shapes: Shapes) -> list[BaseGeometry]:
    """Return the geometries of shapes, coordinates as QuPath has them; areas are closed, and not mended."""
    made: npt.NDArray[np.object_] = np.empty(len(shapes.kinds), dtype=object)
    # All polygons at once: one call to GEOS for each is what would take long.
    is_plain = np.isin(shapes.kinds, _POLYGONS) & (shapes.counts >= _RING_MIN)
    owners = np.repeat(np.arange(len(made)), shapes.counts)
    used = is_plain[owners]
    numbers = np.cumsum(is_plain) - 1
    made[is_plain] = shapely.polygons(shapely.linearrings(shapes.points[used], indices=numbers[owners[used]]))
    ends = np.cumsum(shapes.counts)
    for i in np.flatnonzero(~is_plain).tolist():
        points = shapes.points[ends[i] - shapes.counts[i] : ends[i]]
        made[i] = shapely.from_wkb(shapes.wkb[i]) if i in shapes.wkb else _MAKERS[shapes.kinds[i]](points)
    return list(made)


def _has_ids(data: bytes) -> bool:
    found = _WRITER.search(data, 0, _HEADER_BYTES)
    return found is not None and tuple(map(int, found.groups())) >= _IDS_SINCE


def _ids_by_place(data: bytes, count: int) -> list[str]:
    namespace = uuid.UUID(bytes=hashlib.sha256(data).digest()[:16])
    return [str(uuid.uuid5(namespace, str(number))) for number in range(1, count + 1)]


def _objects(hierarchy: Hierarchy, ids: Sequence[str]) -> tuple[PathObject, ...]:
    shapes = _placed(hierarchy.with_shape, hierarchy.shapes)
    nuclei = _placed(hierarchy.with_nucleus, hierarchy.nuclei)
    classes = [PathClass(name, rgb_of(color)) for name, color in hierarchy.class_table]
    measurements = _measurements(hierarchy)
    return tuple(
        PathObject(
            id=ids[i],
            kind=_kind(hierarchy.flags[i]),
            path_class=classes[hierarchy.classes[i]] if hierarchy.classes[i] >= 0 else None,
            name=hierarchy.names[i],
            color_rgb=None if hierarchy.colors[i] is None else rgb_of(hierarchy.colors[i]),
            measurements=measurements[i],
            metadata=hierarchy.metadata.get(i, NO_MAPPING),
            is_locked=bool(hierarchy.flags[i][_LOCKED]),
            is_missing=bool(hierarchy.flags[i][_MISSING]),
            class_probability=None if math.isnan(probability := float(hierarchy.probabilities[i])) else probability,
            parent_id=ids[parent] if parent >= 0 else None,
            nucleus=nuclei[i]["geometry"] if i in nuclei else None,
            **shapes.get(i, {"geometry": shapely.GeometryCollection()}),
        )
        for i, parent in enumerate(hierarchy.parents)
    )


def _kind(flags: npt.NDArray[np.bool_]) -> ObjectKind:
    return next((kind for kind, flag in zip(_KINDS, flags, strict=False) if flag), ObjectKind.ANNOTATION)


def _placed(positions: npt.NDArray[np.int64], shapes: Shapes) -> dict[int, dict[str, Any]]:
    """Return by the position of its object what each shape says about it."""
    planes = {key: Plane(c=key[0], z=key[1], t=key[2]) for key in set(map(tuple, shapes.planes.tolist()))}
    return {
        position: {"geometry": geometry, "plane": planes[tuple(plane)], "is_ellipse": kind == "EllipseROI"}
        for position, geometry, plane, kind in zip(
            positions.tolist(), geometries_of(shapes), shapes.planes.tolist(), shapes.kinds, strict=True
        )
    }


def _measurements(hierarchy: Hierarchy) -> list[Mapping[str, float]]:
    names, numbers = hierarchy.measurement_names, hierarchy.measurement_values.tolist()
    ends = np.cumsum(hierarchy.measured).tolist()
    return [
        dict(zip(names[end - count : end], numbers[end - count : end], strict=True)) if count else NO_MEASUREMENTS
        for end, count in zip(ends, hierarchy.measured.tolist(), strict=True)
    ]


def _polyline(points: Points) -> BaseGeometry:
    return shapely.LineString(points if len(points) != 1 else np.repeat(points, 2, axis=0))


def _multipoint(points: Points) -> BaseGeometry:
    return shapely.Point(points[0]) if len(points) == 1 else shapely.MultiPoint(points)


_MAKERS: Final[Mapping[str, Callable[[Points], BaseGeometry]]] = {
    "PolygonROI": ring,
    "RectangleROI": ring,
    "EllipseROI": lambda corners: ellipse(*corners.ravel().tolist()),
    "LineROI": _polyline,
    "PolylineROI": _polyline,
    "PointsROI": _multipoint,
}
