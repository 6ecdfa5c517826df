"""Shapes of QuPath as shapely geometries, level-0 px of the image that QuPath shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import Plane
from qpbridge.errors import DamagedDataError
from qpbridge.qupath.java.objects import JavaObject
from qpbridge.qupath.java.values import damaged, floats, integer, list_of

ELLIPSE_VERTICES: Final = 100
"""Vertices that QuPath gives an ellipse (``GeometricShapeFactory`` of JTS, its default)."""

_GRID_PER_PX: Final = 100.0
"""QuPath's geometries lie on a grid of 0.01 px."""

_MAX_PX: Final = 2.0**31
"""Images of QuPath have int sizes; what lies further away, or is no number, is damage."""

_OUT_OF_REACH: Final = "coordinates that are no numbers, or beyond any image"

_PROXY: Final = "$SerializationProxy"
_POLYGON: Final = f"qupath.lib.roi.PolygonROI{_PROXY}"
_ELLIPSE: Final = f"qupath.lib.roi.EllipseROI{_PROXY}"
_MIN_RING: Final = 4

Points = npt.NDArray[np.float64]
"""Shape (N, 2), x before y, level-0 px."""


class Roi(NamedTuple):
    """One shape and the plane in which it lies."""

    geometry: BaseGeometry
    plane: Plane
    is_ellipse: bool


def read_rois(proxies: Sequence[JavaObject]) -> list[Roi]:
    """Turn serialized ROIs into geometries.

    Areas become polygons with closed rings, not mended where they are invalid; coordinates are those of the file,
    float32 widened exactly. Ellipses become the polygon that QuPath exports for them.

    Parameters
    ----------
    proxies : sequence of JavaObject
        Serialization proxies of ``qupath.lib.roi``.

    Returns
    -------
    list of Roi
        In the same order.

    Raises
    ------
    DamagedDataError
        If one is no ROI, or has coordinates beyond any image; says at which byte.
    """
    geometries: list[BaseGeometry | None] = [None] * len(proxies)
    polygons: list[int] = []
    for index, proxy in enumerate(proxies):
        if proxy.java_class.name == _POLYGON:
            polygons.append(index)
        else:
            geometries[index] = _single(proxy)
    with np.errstate(invalid="ignore"):  # NaNs are refused with their place, not warned of
        made = _polygons([proxies[index] for index in polygons])
    for index, polygon in zip(polygons, made, strict=True):
        geometries[index] = polygon
    planes: dict[tuple[int, int, int], Plane] = {}
    return [
        Roi(geometry, _plane(proxy, planes), proxy.java_class.name == _ELLIPSE)
        for proxy, geometry in zip(proxies, geometries, strict=True)
        if geometry is not None
    ]


def count_points(proxy: JavaObject) -> int:
    """Return how many coordinates a ROI brings, as far as it keeps them in arrays of its own."""
    x = proxy.fields.get("x")
    return len(x) if isinstance(x, np.ndarray | list) else 0


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


def _plane(proxy: JavaObject, known: dict[tuple[int, int, int], Plane]) -> Plane:
    key = integer(proxy, "c"), integer(proxy, "z"), integer(proxy, "t")
    plane = known.get(key)
    if plane is None:
        plane = known[key] = Plane(c=key[0], z=key[1], t=key[2])
    return plane


def _points(proxy: JavaObject) -> Points:
    return _paired(floats(proxy, "x"), floats(proxy, "y"), proxy)


def _paired(x: object, y: object, proxy: JavaObject) -> Points:
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and len(x) == len(y)):
        raise damaged("x and y that do not match", proxy)
    with np.errstate(invalid="ignore"):
        return _sound(np.column_stack((x, y)).astype(np.float64), proxy)


def _sound(points: Points, proxy: JavaObject) -> Points:
    if not (np.abs(points) <= _MAX_PX).all():
        raise damaged(_OUT_OF_REACH, proxy)
    return points


def _polygons(proxies: Sequence[JavaObject]) -> Sequence[BaseGeometry]:
    """Make all polygons at once: one call to GEOS for each is what would take long."""
    vertices = [_vertices(proxy) for proxy in proxies]
    counts = np.array([len(x) for x, _ in vertices], dtype=np.int64)
    points = np.empty((int(counts.sum()), 2))
    if len(points):
        points[:, 0] = np.concatenate([x for x, _ in vertices])
        points[:, 1] = np.concatenate([y for _, y in vertices])
    rings = np.repeat(np.arange(len(proxies)), counts)
    is_wrong = ~(np.abs(points) <= _MAX_PX).all(axis=1)
    if is_wrong.any():
        raise damaged(_OUT_OF_REACH, proxies[rings[is_wrong.argmax()]])
    polygons = np.empty(len(proxies), dtype=object)
    is_plain = counts >= _MIN_RING
    renumbered = np.cumsum(is_plain) - 1
    used = is_plain[rings]
    polygons[is_plain] = shapely.polygons(shapely.linearrings(points[used], indices=renumbered[rings[used]]))
    for index in np.flatnonzero(~is_plain):
        polygons[index] = ring(points[rings == index])
    return list(polygons)


def _vertices(proxy: JavaObject) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    x, y = floats(proxy, "x"), floats(proxy, "y")
    if len(x) != len(y):
        raise damaged("x and y that do not match", proxy)
    return x, y


def ring(points: Points) -> BaseGeometry:
    """Return the polygon of any number of vertices, level-0 px; of fewer than three, one without area."""
    if not len(points):
        return shapely.Polygon()
    missing = max(0, _MIN_RING - 1 - len(points))
    padded = np.concatenate((points, np.repeat(points[:1], missing + 1, axis=0)))
    return shapely.Polygon(padded)


def _corners(proxy: JavaObject) -> tuple[float, float, float, float]:
    values = [proxy.fields.get(name) for name in ("x", "y", "x2", "y2")]
    if any(type(value) is not float for value in values):
        raise damaged("bounds are missing", proxy)
    points = _sound(np.array(values, dtype=np.float64).reshape(2, 2), proxy)
    (x, y), (x2, y2) = points.tolist()
    return x, y, x2, y2


def _rectangle(proxy: JavaObject) -> BaseGeometry:
    x, y, x2, y2 = _corners(proxy)
    return shapely.Polygon([(x, y), (x2, y), (x2, y2), (x, y2)])


def _line(proxy: JavaObject) -> BaseGeometry:
    x, y, x2, y2 = _corners(proxy)
    return shapely.LineString([(x, y), (x2, y2)])


def _polyline(proxy: JavaObject) -> BaseGeometry:
    points = _points(proxy)
    return shapely.LineString(points if len(points) != 1 else np.repeat(points, 2, axis=0))


def _multipoint(proxy: JavaObject) -> BaseGeometry:
    points = _points(proxy)
    return shapely.Point(points[0]) if len(points) == 1 else shapely.MultiPoint(points)


def _from_wkb(proxy: JavaObject) -> BaseGeometry:
    wkb = proxy.fields.get("wkb")
    if not isinstance(wkb, np.ndarray):
        raise damaged("shape without WKB", proxy)
    try:
        with np.errstate(invalid="ignore"):
            geometry: BaseGeometry = shapely.force_2d(shapely.from_wkb(wkb.tobytes()))
    except shapely.errors.ShapelyError as error:
        raise damaged(f"WKB that cannot be read ({error})", proxy) from error
    _sound(shapely.get_coordinates(geometry), proxy)
    return geometry


def _area(proxy: JavaObject) -> BaseGeometry:
    """Return the area of old files: rings of which each turns inside into outside."""
    xs, ys = list_of(proxy.fields.get("x")), list_of(proxy.fields.get("y"))
    if len(xs) != len(ys):
        raise damaged(f"{len(xs)} rings of x but {len(ys)} of y", proxy)
    rings = [ring(_paired(x, y, proxy)) for x, y in zip(xs, ys, strict=True)]
    lines = shapely.union_all([ring.boundary for ring in rings])
    area: BaseGeometry = shapely.build_area(shapely.node(lines))
    return area


_READERS: Final = MappingProxyType[str, Callable[[JavaObject], BaseGeometry]](
    {
        f"qupath.lib.roi.RectangleROI{_PROXY}": _rectangle,
        f"qupath.lib.roi.LineROI{_PROXY}": _line,
        f"qupath.lib.roi.PolylineROI{_PROXY}": _polyline,
        f"qupath.lib.roi.PointsROI{_PROXY}": _multipoint,
        f"qupath.lib.roi.AreaROI{_PROXY}": _area,
        "qupath.lib.roi.GeometryROI$WKBSerializationProxy": _from_wkb,
        _ELLIPSE: lambda proxy: ellipse(*_corners(proxy)),
    }
)


def _single(proxy: JavaObject) -> BaseGeometry:
    reader = _READERS.get(proxy.java_class.name)
    if reader is None:
        raise DamagedDataError(f"unknown kind of shape: {proxy.java_class.name} at byte {proxy.offset}")
    return reader(proxy)
