"""From maps of single objects to one polygon each. Coordinates in px of the map, (0, 0) its upper left corner."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import shapely

from qpbridge.core.arrays import InstanceMap
from qpbridge.vector.polygons import outline_pieces

Polygons = npt.NDArray[np.object_]

CUT_ERROR_PX: Final = math.sqrt(0.125)
"""Distance of a pixel's corner from the line between the middles of its edges."""

_TRIANGLE: Final = 3
"""Corners that a ring needs; its first point comes once more at its end."""


def outline(instances: InstanceMap) -> tuple[npt.NDArray[np.int64], Polygons]:
    """Outline every object along its pixel edges.

    Areas equal pixel counts exactly, holes are kept, all polygons are valid, and objects that touch share every point
    of their common border. An object in several 4-connected pieces gives the largest, of equally large ones the first.

    Parameters
    ----------
    instances : ndarray of int32, shape (H, W)
        Numbers of objects; 0 for none.

    Returns
    -------
    numbers : ndarray of int64, shape (N,)
        Of the objects, ascending.
    polygons : ndarray of Polygon, shape (N,)
        In px of the map.
    """
    x, y, polygons = outline_pieces(np.pad(instances, 1))
    numbers = instances[y, x].astype(np.int64)
    order = np.lexsort((-shapely.area(polygons), numbers))
    first = order[np.diff(numbers[order], prepend=0) > 0]
    return numbers[first], polygons[first]


def simplify(polygons: Polygons, error_px: float) -> Polygons:
    """Make outlines along pixel edges simpler, none of them moving further than an error.

    Where the error allows it, corners are cut through the middles of the pixel edges beside them, which turns stairs
    into lines: so perimeters are hardly too long. Then points are left out. Areas change by half a pixel, and by what
    the points left out make. Neighbors may come to overlap, or to part, by twice the error at most.

    Parameters
    ----------
    polygons : ndarray of Polygon, shape (N,)
        From ``outline``.
    error_px : float
        Largest distance between the old and the new outline; 0 keeps all as it is.

    Returns
    -------
    ndarray of Polygon, shape (N,)
        Valid, with an area.

    References
    ----------
    Douglas and Peucker 1973, "Algorithms for the reduction of the number of points", as in GEOS.
    """
    if error_px <= 0 or not len(polygons):
        return polygons
    is_cut = error_px > CUT_ERROR_PX
    rings, owners = shapely.get_rings(polygons, return_index=True)
    points, ring_of = shapely.get_coordinates(rings, return_index=True)
    if is_cut:
        points, ring_of = _with_cut_corners(points, ring_of)
    lines = shapely.linestrings(points, indices=ring_of)
    # As lines, since GEOS may leave out the first point of a ring without looking at its error.
    fewer = shapely.simplify(lines, error_px - CUT_ERROR_PX * is_cut, preserve_topology=False)
    fewer = np.where(shapely.get_num_coordinates(fewer) > _TRIANGLE, fewer, lines)
    points, ring_of = shapely.get_coordinates(fewer, return_index=True)
    simple = shapely.polygons(shapely.linearrings(points, indices=ring_of), indices=owners)
    return np.where(shapely.is_valid(simple), simple, polygons)


def _with_cut_corners(
    points: npt.NDArray[np.float64], ring_of: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the middles of the first and last pixel edge of each straight part of closed rings, closed again."""
    is_edge = ring_of[1:] == ring_of[:-1]
    begin, end = points[:-1][is_edge], points[1:][is_edge]
    half = np.sign(end - begin) / 2
    # An edge of one pixel has its middle twice; leaving out points removes it.
    middles = np.stack((begin + half, end - half), axis=1).reshape(-1, 2)
    owners = np.repeat(ring_of[1:][is_edge], 2)
    last = np.flatnonzero(np.diff(owners, append=-1))
    first = np.concatenate(([0], last[:-1] + 1))
    return np.insert(middles, last + 1, middles[first], axis=0), np.insert(owners, last + 1, owners[last])
