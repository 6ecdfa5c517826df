"""Cut polygons along the border of a shape so that they still fit together. Geometries in level-0 px."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.vector.placing import GRID_PX
from qpbridge.vector.polygons import LabelledPolygon

_NEAR_PX = 2 * GRID_PX
"""Snapping to the grid moves nothing by more than that."""

Geometries = npt.NDArray[np.object_]


def cut(polygons: Sequence[LabelledPolygon], shape: BaseGeometry) -> list[LabelledPolygon]:
    """Return what of some polygons lies inside a shape.

    All borders that cross the shape's are split at common points of the grid of 0.01 px, so what fitted together
    still does, and together the results cover what polygons and shape have in common once. Polygons that
    ``touches_border`` does not name stay as they are or go, and do not matter to the others.

    Parameters
    ----------
    polygons : sequence of LabelledPolygon
        A valid coverage on the grid of 0.01 px.
    shape : Polygon or MultiPolygon
        Valid, on the same grid.

    Returns
    -------
    list of LabelledPolygon
        In the same order. A polygon that falls apart gives one for each part, from top to bottom, with its pixels
        shared out in proportion to the areas.
    """
    geometries = np.array([polygon.geometry for polygon in polygons], dtype=object)
    is_near = touches_border(polygons, shape)
    starts = shapely.get_coordinates(shapely.get_point(shapely.get_exterior_ring(geometries), 0))
    shapely.prepare(shape)
    is_inside = shapely.contains_xy(shape, starts[:, 0], starts[:, 1])
    pieces = _pieces(geometries[is_near], shape)
    kept: list[LabelledPolygon] = []
    for polygon, near, inside in zip(polygons, is_near, is_inside, strict=True):
        if near:
            kept.extend(_shared_out(polygon, next(pieces)))
        elif inside:
            kept.append(polygon)
    return kept


def touches_border(polygons: Sequence[LabelledPolygon], shape: BaseGeometry) -> npt.NDArray[np.bool_]:
    """Return which polygons come near the border of a shape, so that ``cut`` may change them."""
    border = shapely.boundary(shape)
    shapely.prepare(border)
    geometries = np.array([polygon.geometry for polygon in polygons], dtype=object)
    return np.asarray(shapely.dwithin(border, geometries, _NEAR_PX), np.bool_)


def _pieces(geometries: Geometries, shape: BaseGeometry) -> Iterator[list[BaseGeometry]]:
    """Yield the parts of each polygon that lie inside the shape."""
    borders = shapely.union_all([*shapely.boundary(geometries), shapely.boundary(shape)], grid_size=GRID_PX)
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(borders)))
    points = shapely.point_on_surface(faces)
    inside = np.flatnonzero(shapely.intersects(shape, points))
    found, owners = shapely.STRtree(geometries).query(points[inside], predicate="intersects")
    of_owner: dict[Any, list[BaseGeometry]] = {}
    for face, owner in zip(inside[found].tolist(), owners.tolist(), strict=True):
        of_owner.setdefault(owner, []).append(faces[face])
    for owner, geometry in enumerate(geometries):
        yield _in_order(geometry, of_owner.get(owner, []))


def _in_order(geometry: BaseGeometry, parts: list[BaseGeometry]) -> list[BaseGeometry]:
    whole = shapely.normalize(geometry)
    tidy = sorted((shapely.normalize(part) for part in parts), key=lambda part: (part.bounds[1], part.bounds[0]))
    # What was not cut keeps its points in their order, and with it its identity.
    return [geometry if shapely.equals_exact(part, whole) else part for part in tidy]


def _shared_out(polygon: LabelledPolygon, parts: list[BaseGeometry]) -> Iterator[LabelledPolygon]:
    areas = np.cumsum([part.area for part in parts]) / polygon.geometry.area
    shares = np.diff(np.rint(areas * polygon.pixels), prepend=0)
    for part, pixels in zip(parts, shares, strict=True):
        yield replace(polygon, geometry=part, pixels=int(pixels))
