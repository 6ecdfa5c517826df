"""Shapes of QuPath as shapely geometries, level-0 px of the image that QuPath shows."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import Plane
from qpbridge.qupath.java.columns import Columns, Fields, Truths
from qpbridge.qupath.java.objects import JavaClass
from qpbridge.qupath.java.stream import Nodes
from qpbridge.qupath.java.values import list_of

ELLIPSE_VERTICES: Final = 100
"""Vertices that QuPath gives an ellipse (``GeometricShapeFactory`` of JTS, its default)."""

_GRID_PER_PX: Final = 100.0
"""QuPath's geometries lie on a grid of 0.01 px."""

_MAX_PX: Final = 2.0**31
"""Images of QuPath have int sizes; what lies further away, or is no number, is damage."""

_OUT_OF_REACH: Final = "coordinates that are no numbers, or beyond any image"
_BATCH: Final = 1 << 16
"""Polygons made at once; more would only take more memory."""

_MAX_NESTED_WKB: Final = 16
_SIMPLE_WKB: Final = MappingProxyType({1: 0, 2: 1, 3: 2})
"""Point, line and polygon, and how many counts stand before their coordinates."""
_COLLECTED_WKB: Final = (4, 5, 6, 7)

_PROXY: Final = "$SerializationProxy"
_ELLIPSE: Final = f"qupath.lib.roi.EllipseROI{_PROXY}"
_MIN_RING: Final = 4

Points = npt.NDArray[np.float64]
"""Shape (N, 2), x before y, level-0 px."""

Geometries = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rois:
    """Shapes, and the planes in which they lie.

    Parameters
    ----------
    geometries : ndarray of shapely geometries
        Level-0 px.
    planes : ndarray of Plane
        One a shape.
    is_ellipse : ndarray of bool
        Whether a shape approximates an ellipse.
    """

    geometries: Geometries
    planes: npt.NDArray[np.object_]
    is_ellipse: npt.NDArray[np.bool_]


def read_rois(columns: Columns, nodes: Nodes) -> Rois:
    """Turn serialized ROIs into geometries.

    Areas become polygons with closed rings, not mended where they are invalid; coordinates are those of the file,
    float32 widened exactly. Ellipses become the polygon that QuPath exports for them.

    Parameters
    ----------
    columns : Columns
        The stream.
    nodes : ndarray of int
        Serialization proxies of ``qupath.lib.roi``, each once.

    Returns
    -------
    Rois
        In the same order.

    Raises
    ------
    DamagedDataError
        If one is no ROI, or has coordinates beyond any image; says at which byte.
    """
    geometries = np.empty(len(nodes), dtype=object)
    places = np.zeros((len(nodes), 3), dtype=np.int64)
    is_ellipse = np.zeros(len(nodes), dtype=np.bool_)
    for java_class, chosen in columns.by_class(nodes):
        reader = _READERS.get(java_class.name) if java_class else None
        if java_class is None or reader is None:
            raise columns.damaged("unknown kind of shape", nodes[chosen[0]])
        is_ellipse[chosen] = java_class.name == _ELLIPSE
        for begin in range(0, len(chosen), _BATCH):
            part = chosen[begin : begin + _BATCH]
            proxies = _Proxies(columns, java_class, nodes[part])
            places[part] = np.stack(proxies.fields.integers("c", "z", "t"), axis=1)
            geometries[part] = reader(proxies)
    return Rois(geometries=geometries, planes=_planes(places), is_ellipse=is_ellipse)


def ellipse(x: float, y: float, x2: float, y2: float) -> BaseGeometry:
    """Return the polygon that QuPath exports for an ellipse.

    Parameters
    ----------
    x, y, x2, y2 : float
        Corners of the bounds, level-0 px.

    References
    ----------
    Compared with QuPath 0.5.1 to 0.7.0: 100 vertices from angle 0 on, each rounded to 0.01 px, halves upward.
    """
    radius_x, radius_y = (x2 - x) / 2, (y2 - y) / 2
    angles = np.arange(ELLIPSE_VERTICES) * (2 * np.pi / ELLIPSE_VERTICES)
    points = np.column_stack((radius_x * np.cos(angles) + (x + radius_x), radius_y * np.sin(angles) + (y + radius_y)))
    polygon: BaseGeometry = shapely.polygons(np.floor(points * _GRID_PER_PX + 0.5) / _GRID_PER_PX)
    return polygon


def _planes(places: Nodes) -> npt.NDArray[np.object_]:
    different, which = np.unique(places, axis=0, return_inverse=True)
    planes = np.empty(len(different), dtype=object)
    planes[:] = [Plane(c=c, z=z, t=t) for c, z, t in different.tolist()]
    return planes[which.reshape(-1)]


class _Proxies:
    """Serialization proxies of one class."""

    def __init__(self, columns: Columns, java_class: JavaClass, nodes: Nodes) -> None:
        self.columns, self.nodes = columns, nodes
        self.fields: Fields = columns.fields(java_class, nodes)

    def points(self) -> tuple[Points, Nodes]:
        """Return the points of all, and how many each has."""
        x_nodes, y_nodes = self.fields.objects("x"), self.fields.objects("y")
        self.columns.spend(self.columns.lengths(x_nodes) + self.columns.lengths(y_nodes), self.nodes)
        (x, x_counts), (y, y_counts) = self.columns.floats(x_nodes), self.columns.floats(y_nodes)
        self.columns.refuse(x_counts != y_counts, "x and y that do not match", self.nodes)
        points = np.column_stack((x, y))
        self.refuse_unreachable(points, x_counts)
        return points, x_counts

    def corners(self) -> npt.NDArray[np.float64]:
        """Return x, y, x2, y2 of each."""
        corners = np.stack(self.fields.doubles("x", "y", "x2", "y2"), axis=1)
        self.refuse_unreachable(corners, np.ones(len(corners), dtype=np.int64))
        return corners

    def refuse_unreachable(self, points: npt.NDArray[np.float64], counts: Nodes) -> None:
        is_wrong: Truths = np.invert((np.abs(points) <= _MAX_PX).all(axis=1))
        if is_wrong.any():
            owners = np.repeat(self.nodes, counts)
            self.columns.refuse(is_wrong, _OUT_OF_REACH, owners)


def _polygons(proxies: _Proxies) -> Geometries:
    """Make all polygons at once: one call to GEOS for each is what would take long."""
    points, counts = proxies.points()
    polygons = np.empty(len(counts), dtype=object)
    is_plain = counts >= _MIN_RING
    used = np.repeat(is_plain, counts)
    rings = np.repeat(np.arange(int(is_plain.sum())), counts[is_plain])
    polygons[is_plain] = shapely.polygons(shapely.linearrings(points[used], indices=rings))
    begins = np.cumsum(counts) - counts
    for index in np.flatnonzero(~is_plain):
        polygons[index] = ring(points[begins[index] : begins[index] + counts[index]])
    return polygons


def ring(points: Points) -> BaseGeometry:
    """Return the polygon of any number of vertices, level-0 px; of fewer than three, one without area."""
    if not len(points):
        return shapely.Polygon()
    missing = max(0, _MIN_RING - 1 - len(points))
    padded = np.concatenate((points, np.repeat(points[:1], missing + 1, axis=0)))
    return shapely.Polygon(padded)


def _rectangles(proxies: _Proxies) -> Geometries:
    x, y, x2, y2 = proxies.corners().T
    rings = np.stack((x, y, x2, y, x2, y2, x, y2), axis=1).reshape(-1, 4, 2)
    polygons: Geometries = shapely.polygons(rings)
    return polygons


def _lines(proxies: _Proxies) -> Geometries:
    lines: Geometries = shapely.linestrings(proxies.corners().reshape(-1, 2, 2))
    return lines


def _each(make: Callable[[Points], BaseGeometry]) -> Callable[[_Proxies], Geometries]:
    """Return a reader that makes one geometry after the other."""

    def read(proxies: _Proxies) -> Geometries:
        points, counts = proxies.points()
        return _listed([make(part) for part in np.split(points, np.cumsum(counts)[:-1])])

    return read


def _listed(geometries: list[BaseGeometry]) -> Geometries:
    array = np.empty(len(geometries), dtype=object)
    array[:] = geometries
    return array


def _polyline(points: Points) -> BaseGeometry:
    return shapely.LineString(points if len(points) != 1 else np.repeat(points, 2, axis=0))


def _multipoint(points: Points) -> BaseGeometry:
    return shapely.Point(points[0]) if len(points) == 1 else shapely.MultiPoint(points)


def _ellipses(proxies: _Proxies) -> Geometries:
    return _listed([ellipse(*corners) for corners in proxies.corners().tolist()])


def _from_wkb(proxies: _Proxies) -> Geometries:
    geometries = []
    columns, stream = proxies.columns, proxies.columns.stream
    for node, wkb_node in zip(proxies.nodes.tolist(), proxies.fields.objects("wkb").tolist(), strict=True):
        wkb = stream.value(wkb_node)
        if not (isinstance(wkb, np.ndarray) and wkb.dtype == np.uint8):
            raise columns.damaged("shape without WKB", node)
        if not is_plain_wkb(wkb.tobytes()):
            raise columns.damaged("WKB that is cut short, of another form, or nested without end", node)
        try:
            geometries.append(shapely.from_wkb(wkb.tobytes()))
        except shapely.errors.ShapelyError as error:
            raise columns.damaged(f"WKB that cannot be read ({error})", node) from error
    array = _listed(geometries)
    points, counts = shapely.get_coordinates(array), shapely.get_num_coordinates(array)
    proxies.refuse_unreachable(points, counts)
    return array


def is_plain_wkb(wkb: bytes) -> bool:
    """Tell whether content is whole WKB in two dimensions, as QuPath writes it, and nested a few levels only.

    GEOS follows collections inside collections by recursion, and ends the process where there are very many.
    """
    at = 0
    left = [1]
    try:
        while left:
            if left[-1] == 0:
                left.pop()
                continue
            left[-1] -= 1
            order = "<" if wkb[at] else ">"
            kind, count = struct.unpack_from(f"{order}II", wkb, at + 1)
            if kind in _COLLECTED_WKB:
                at += 9
                left.append(count)
            else:
                at = _after_simple(wkb, at, order, kind)
            if len(left) > _MAX_NESTED_WKB:
                return False
    except (IndexError, KeyError, struct.error):
        return False
    return at <= len(wkb)


def _after_simple(wkb: bytes, at: int, order: str, kind: int) -> int:
    """Return where a point, line or polygon ends."""
    counts = _SIMPLE_WKB[kind]
    if counts == 0:
        return at + 21
    (count,) = struct.unpack_from(f"{order}I", wkb, at + 5)
    at += 9
    if counts == 1:
        return at + 16 * int(count)
    for _ in range(count):
        (points,) = struct.unpack_from(f"{order}I", wkb, at)
        at += 4 + 16 * int(points)
    return at


def _areas(proxies: _Proxies) -> Geometries:
    """Return the areas of old files: rings of which each turns inside into outside."""
    columns, stream = proxies.columns, proxies.columns.stream
    xs, ys = proxies.fields.objects("x").tolist(), proxies.fields.objects("y").tolist()
    areas = []
    for node, x_node, y_node in zip(proxies.nodes.tolist(), xs, ys, strict=True):
        x, y = list_of(stream.value(x_node)), list_of(stream.value(y_node))
        if len(x) != len(y):
            raise columns.damaged(f"{len(x)} rings of x but {len(y)} of y", node)
        lengths = [len(one) for one in (*x, *y) if isinstance(one, np.ndarray)]
        columns.spend(np.array([len(x) + sum(lengths)]), np.array([node]))
        rings = [ring(_paired(one, other, columns, node)) for one, other in zip(x, y, strict=True)]
        lines = shapely.union_all([each.boundary for each in rings])
        areas.append(shapely.build_area(shapely.node(lines)))
    return _listed(areas)


def _paired(x: object, y: object, columns: Columns, node: int) -> Points:
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and len(x) == len(y) and x.dtype.kind == "f"):
        raise columns.damaged("x and y that do not match", node)
    with np.errstate(invalid="ignore"):
        points = np.column_stack((x, y)).astype(np.float64)
    if not (np.abs(points) <= _MAX_PX).all():
        raise columns.damaged(_OUT_OF_REACH, node)
    return points


_READERS: Final = MappingProxyType[str, Callable[[_Proxies], Geometries]](
    {
        f"qupath.lib.roi.PolygonROI{_PROXY}": _polygons,
        f"qupath.lib.roi.RectangleROI{_PROXY}": _rectangles,
        f"qupath.lib.roi.LineROI{_PROXY}": _lines,
        f"qupath.lib.roi.PolylineROI{_PROXY}": _each(_polyline),
        f"qupath.lib.roi.PointsROI{_PROXY}": _each(_multipoint),
        f"qupath.lib.roi.AreaROI{_PROXY}": _areas,
        "qupath.lib.roi.GeometryROI$WKBSerializationProxy": _from_wkb,
        _ELLIPSE: _ellipses,
    }
)
