"""Simpler outlines that still fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import shapely

from qpbridge.vector.polygons import LabelledPolygon


def smooth(
    polygons: Sequence[LabelledPolygon], tolerance_px: float, *, keeps_rim: bool = False
) -> list[LabelledPolygon]:
    """Take small corners off all outlines at once: shared borders stay shared, without gaps or overlaps.

    Visvalingam and Whyatt's rule, as in GEOS: as long as two neighboring points and the one between them span
    a triangle of at most ``tolerance_px`` squared, the smallest such triangle loses its middle point, unless
    the border would run across another one. So each step moves at most that area from one side to the other;
    this is no bound on distance, since the tip of a thin spike may lie further off, and steps may follow one
    another. Corners of stairs of one pixel go from 0.71 px on (a triangle of 0.5 px²). Points where three
    pieces meet stay. No point is new, hence nothing grows beyond the raster.

    Parameters
    ----------
    polygons : sequence of LabelledPolygon
        A valid coverage, as ``vectorize`` returns it; all of it, or borders with what is left out move.
    tolerance_px : float
        Square root of the largest area taken off at once, in units of the coordinates; 0 changes nothing.
    keeps_rim : bool
        Leave borders with nobody as they are.

    Returns
    -------
    list of LabelledPolygon
        In the same order, with the pixel counts as they were.

    References
    ----------
    Visvalingam and Whyatt 1993, Line generalisation by repeated elimination of points.
    """
    if tolerance_px <= 0 or not polygons:
        return list(polygons)
    geometries = np.array([polygon.geometry for polygon in polygons], dtype=object)
    smoothed = shapely.coverage_simplify(geometries, tolerance_px, simplify_boundary=not keeps_rim)
    return [replace(polygon, geometry=geometry) for polygon, geometry in zip(polygons, smoothed, strict=True)]
