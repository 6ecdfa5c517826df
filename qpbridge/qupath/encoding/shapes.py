"""Outlines as QuPath's serialized ROIs; level-0 px."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import PathObject, Plane
from qpbridge.errors import InvalidValueError
from qpbridge.qupath.encoding.java_classes import (
    BYTES,
    ELLIPSE,
    FLOATS,
    GEOMETRY,
    LINE,
    POINTS,
    POLYGON,
    POLYLINE,
    RECTANGLE,
)
from qpbridge.qupath.java.writer import ClassDescriptor, JavaWriter

_AT_ONCE: Final = 10_000
"""Outlines to prepare together: one call to GEOS for each is what would take long, all of them what would need room."""

_POLYGON_TYPE: Final = 3
_RECTANGLE_RING: Final = 5

_NULLS: Final = {POLYGON.name: 2, POINTS.name: 1, GEOMETRY.name: 1, POLYLINE.name: 0}
"""Fields without content before the coordinates: names and statistics."""

_Positions: TypeAlias = npt.NDArray[np.float64]
_Array: TypeAlias = tuple[ClassDescriptor, int, bytes]


class Shape(NamedTuple):
    """An outline ready to be written: between corners, or with arrays of coordinates."""

    described: ClassDescriptor
    plane: Plane
    corners: tuple[float, ...] = ()
    arrays: tuple[_Array, ...] = ()


def shapes_of(objects: Iterable[PathObject]) -> Iterator[Shape]:
    """Yield the shape of each object, followed by that of its nucleus where it has one.

    Polygons without holes, lines and points become float32, as QuPath stores them; the others keep their precision.

    Raises
    ------
    InvalidValueError
        If an outline is empty or of several kinds.
    """
    outlines = (
        (item, geometry) for item in objects for geometry in (item.geometry, item.nucleus) if geometry is not None
    )
    while batch := list(itertools.islice(outlines, _AT_ONCE)):
        yield from _prepared(batch)


def write_shape(java: JavaWriter, shape: Shape) -> None:
    """Write one shape."""
    described, plane, corners, arrays = shape
    java.begin(described)
    if corners:
        java.fields("iiddddi", plane.c, plane.t, *corners, plane.z)
        java.null()  # no name
        return
    java.fields("iii", plane.c, plane.t, plane.z)
    for _ in range(_NULLS[described.name]):
        java.null()
    for array in arrays:
        java.array(*array)


def _prepared(batch: Sequence[tuple[PathObject, BaseGeometry]]) -> Iterator[Shape]:
    geometries = np.empty(len(batch), dtype=object)
    geometries[:] = [geometry for _, geometry in batch]
    is_single = shapely.get_num_geometries(geometries) == 1
    geometries[is_single] = shapely.get_geometry(geometries[is_single], 0)
    is_plain = (shapely.get_type_id(geometries) == _POLYGON_TYPE) & ~shapely.is_empty(geometries)
    is_plain &= shapely.get_num_interior_rings(geometries) == 0
    is_plain &= [not (item.is_ellipse and geometry is item.geometry) for item, geometry in batch]
    polygons = _polygons(geometries[is_plain])
    for (item, given), geometry, is_one in zip(batch, geometries, is_plain, strict=True):
        described, corners, arrays = next(polygons) if is_one else _other(geometry, item, given)
        yield Shape(described, item.plane, corners, arrays)


_Form: TypeAlias = tuple[ClassDescriptor, tuple[float, ...], tuple[_Array, ...]]


def _polygons(polygons: npt.NDArray[np.object_]) -> Iterator[_Form]:
    """Yield the form of polygons without holes; those that are rectangles are between corners."""
    rings, owners = shapely.get_coordinates(polygons, return_index=True)
    counts = np.bincount(owners, minlength=len(polygons))
    ends = np.cumsum(counts)
    corners = _corners_of_rectangles(rings, ends, counts)
    x, y = (column.astype(">f4").tobytes() for column in rings.T)
    for index, (end, count) in enumerate(zip(ends.tolist(), counts.tolist(), strict=True)):
        if index in corners:
            yield RECTANGLE, corners[index], ()
        else:
            # QuPath leaves the last corner out, which is the first again.
            place = slice(4 * (end - count), 4 * (end - 1))
            yield POLYGON, (), ((FLOATS, count - 1, x[place]), (FLOATS, count - 1, y[place]))


def _corners_of_rectangles(
    rings: _Positions, ends: npt.NDArray[np.intp], counts: npt.NDArray[np.intp]
) -> dict[int, tuple[float, ...]]:
    """Return x, x2, y, y2 of the rings whose edges run along the axes in turns, by their index."""
    (candidates,) = np.nonzero(counts == _RECTANGLE_RING)
    found = rings[ends[candidates, None] - _RECTANGLE_RING + np.arange(_RECTANGLE_RING)]
    steps = np.diff(found, axis=1) != 0
    is_rectangle = (steps[:, :, 0] != steps[:, :, 1]).all(axis=1) & (steps[:, 0] != steps[:, 1]).all(axis=1)
    low, high = found.min(axis=1), found.max(axis=1)
    corners = np.stack((low[:, 0], high[:, 0], low[:, 1], high[:, 1]), axis=1)[is_rectangle]
    return dict(zip(candidates[is_rectangle].tolist(), map(tuple, corners.tolist()), strict=True))


def _other(geometry: BaseGeometry, item: PathObject, given: BaseGeometry) -> _Form:
    if geometry.is_empty or geometry.geom_type not in _FORMS:
        what = "is empty" if geometry.is_empty else f"is a {geometry.geom_type}"
        raise InvalidValueError(f"the outline of object {item.id} {what}; QuPath has no such shape, leave it out")
    if item.is_ellipse and given is item.geometry and geometry.geom_type == "Polygon":
        x, y, x2, y2 = geometry.bounds
        return ELLIPSE, (x, x2, y, y2), ()
    return _FORMS[geometry.geom_type](geometry)


def _line(line: BaseGeometry) -> _Form:
    positions = shapely.get_coordinates(line)
    if len(positions) == 2:
        (x, y), (x2, y2) = positions.tolist()
        return LINE, (x, x2, y, y2), ()
    return POLYLINE, (), _columns(positions)


def _points(points: BaseGeometry) -> _Form:
    return POINTS, (), _columns(shapely.get_coordinates(points))


def _geometry(geometry: BaseGeometry) -> _Form:
    content = shapely.to_wkb(shapely.force_2d(geometry), byte_order=0)
    return GEOMETRY, (), ((BYTES, len(content), content),)


def _columns(positions: _Positions) -> tuple[_Array, ...]:
    return tuple((FLOATS, len(positions), column.astype(">f4").tobytes()) for column in positions.T)


_FORMS: Final[dict[str, Callable[[BaseGeometry], _Form]]] = {
    "Polygon": _geometry,
    "MultiPolygon": _geometry,
    "MultiLineString": _geometry,
    "LineString": _line,
    "LinearRing": _line,
    "Point": _points,
    "MultiPoint": _points,
}
