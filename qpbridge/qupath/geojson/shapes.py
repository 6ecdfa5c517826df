"""What QuPath's versions make of a GeoJSON geometry, as measured with 0.5.1, 0.6.0 and 0.7.0. Level-0 px."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from shapely.errors import GEOSException
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import Plane
from qpbridge.qupath.geojson.outlines import DEPTHS, GRID_PX

_RING_POSITIONS_MIN: Final = 3
_PLANE_KEYS: Final = {"c": -1, "z": 0, "t": 0}


class QupathVersion(enum.StrEnum):
    """A version of QuPath whose reading of GeoJSON was measured."""

    V0_5_1 = "0.5.1"
    V0_6_0 = "0.6.0"
    V0_7_0 = "0.7.0"

    @property
    def rounds(self) -> bool:
        """Whether coordinates are rounded to 0.01 px, and outlines refused of which that makes no sense."""
        return self is not QupathVersion.V0_5_1


class RefusedError(Exception):
    """QuPath refuses a file for this; for callers in this room only, who know the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A region of interest as QuPath holds it.

    Parameters
    ----------
    roi : str
        Class of QuPath: ``"RectangleROI"``, ``"EllipseROI"``, ``"PolygonROI"``, ``"GeometryROI"``, ``"PointsROI"``,
        ``"LineROI"`` or ``"PolylineROI"``.
    geometry : shapely geometry
        What of the outline is left, level-0 px; it may be empty, and for 0.5.1 invalid.
    plane : Plane
        Where in a stack.
    """

    roi: str
    geometry: BaseGeometry
    plane: Plane


def take_shape(tree: Any, version: QupathVersion, *, is_core: bool = False) -> Shape:
    """Return what a version makes of a GeoJSON geometry.

    What nobody measured counts as refused, so that what passes here passes there.

    Parameters
    ----------
    tree : JSON values
        The geometry.
    version : QupathVersion
        Who reads.
    is_core : bool
        Whether it is that of a TMA core, which is always an ellipse.

    Raises
    ------
    RefusedError
        With the reason.
    """
    if not isinstance(tree, Mapping):
        raise RefusedError("the geometry is no JSON object")
    is_ellipse = is_core or tree.get("isEllipse") in (True, "true")
    # QuPath 0.5 takes coordinates that are no numbers, too.
    with np.errstate(invalid="ignore"):
        collects = tree.get("type") == "GeometryCollection"
        outline = _collected(tree, version) if collects else _outline(tree, version)
        held = _reduced(outline) if version.rounds else outline
        roi = _roi(held, is_ellipse=is_ellipse)
    return Shape(roi=roi, geometry=held, plane=_plane(tree.get("plane", {})))


def _outline(tree: Mapping[str, Any], version: QupathVersion) -> BaseGeometry:
    kind = tree.get("type")
    if not isinstance(kind, str) or kind not in DEPTHS:
        raise RefusedError(f"{kind!r} is no kind of geometry")
    if "coordinates" not in tree:
        raise RefusedError(f"{kind} without coordinates")
    coordinates = _numbers(tree["coordinates"], DEPTHS[kind], accepts_nan=not version.rounds)
    if kind == "MultiPolygon" and len(coordinates) < 2 and not version.rounds:
        raise RefusedError("a MultiPolygon of one part makes QuPath 0.5 fail")
    for rings in coordinates if kind == "MultiPolygon" else [coordinates] if kind == "Polygon" else ():
        _check_rings(rings)
    if kind.endswith("LineString"):
        lines = coordinates if kind == "MultiLineString" else [coordinates]
        if not lines or any(len(line) < 2 for line in lines):
            raise RefusedError("a line has fewer than two positions")
    if kind == "Polygon" and not any(coordinates):
        return shapely.Polygon()
    return shape({"type": kind, "coordinates": coordinates})


def _collected(tree: Mapping[str, Any], version: QupathVersion) -> BaseGeometry:
    parts = tree.get("geometries")
    if version.rounds or not isinstance(parts, list) or not parts:
        raise RefusedError("a GeometryCollection has no coordinates")
    if not all(isinstance(part, Mapping) and part.get("type") == "Polygon" for part in parts):
        raise RefusedError("a GeometryCollection holds something else than polygons")
    return shapely.GeometryCollection([_outline(part, version) for part in parts])


def _numbers(value: Any, depth: int, *, accepts_nan: bool) -> Any:
    if depth < 0:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RefusedError(f"a coordinate is {value!r}, no number")
        if not math.isfinite(value) and not (accepts_nan and math.isnan(value)):
            raise RefusedError(f"a coordinate is {value}")
        return float(value)
    if not isinstance(value, list) or (depth == 0 and len(value) < 2):
        raise RefusedError(f"{value!r} stands where coordinates should")
    members = value[:2] if depth == 0 else value
    return [_numbers(member, depth - 1, accepts_nan=accepts_nan) for member in members]


def _check_rings(rings: Sequence[Sequence[Any]]) -> None:
    for ring in rings:
        if ring and (ring[0] != ring[-1] or len(ring) < _RING_POSITIONS_MIN):
            raise RefusedError("the points of a ring do not form a closed line")


def _reduced(outline: BaseGeometry) -> BaseGeometry:
    """Return an outline on the grid; GEOS does there what JTS does in QuPath."""
    try:
        found = shapely.set_precision(outline, GRID_PX)
    except GEOSException as error:
        raise RefusedError(f"the outline makes no sense on a grid of {GRID_PX} px: {error}") from error
    parts = shapely.get_parts(found)
    is_lone = found.geom_type == "MultiPolygon" and len(parts) == 1
    reduced: BaseGeometry = parts[0] if is_lone else found
    return reduced


def _roi(outline: BaseGeometry, *, is_ellipse: bool) -> str:
    if outline.geom_type in _ROIS:
        is_segment = outline.geom_type == "LineString" and len(outline.coords) == 2
        return "LineROI" if is_segment else _ROIS[outline.geom_type]
    is_finite = bool(np.isfinite(shapely.get_coordinates(outline)).all())
    if is_finite and not outline.convex_hull.area:
        return "RectangleROI"  # of no size
    if is_ellipse:
        return "EllipseROI"
    if outline.geom_type != "Polygon" or len(outline.interiors) or (is_finite and not outline.is_valid):
        return "GeometryROI"
    is_rectangle = len(outline.exterior.coords) == 5 and bool(shapely.equals(outline, outline.envelope))
    return "RectangleROI" if is_rectangle else "PolygonROI"


_ROIS: Final = {
    "Point": "PointsROI",
    "MultiPoint": "PointsROI",
    "LineString": "PolylineROI",
    "MultiLineString": "GeometryROI",
}


def _plane(value: Any) -> Plane:
    if not isinstance(value, Mapping):
        raise RefusedError(f"the plane is {value!r}, no JSON object")
    numbers = {key: value.get(key, default) for key, default in _PLANE_KEYS.items()}
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers.values()):
        raise RefusedError(f"the plane {dict(value)!r} has something else than whole numbers")
    return Plane(**numbers)
