"""Whether this Java keeps the area of polygons: only for the process of QuPath.

QuPath makes a geometry of a polygon by way of ``java.awt.geom.Area``, which some builds of Java broke: outlines of many
close vertices lose a large part of their area, and nothing says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import shapely

_PATHS: Final = 8
"""Outlines of random paths; on a Java at fault every one of 300 lost more than 1 %."""

_UNIONS: Final = 24
"""Unions of discs; about one in twelve did."""


def trial_outlines() -> Iterator[shapely.Polygon]:
    """Yield outlines that a Java at fault does not keep: around random paths, and around unions of discs."""
    generator = np.random.default_rng(5)
    for _ in range(_PATHS):
        path = shapely.LineString(np.cumsum(generator.normal(0, 120, (12, 2)), axis=0) + 2000)
        yield shapely.Polygon(path.buffer(40, quad_segs=16).exterior)
    for _ in range(_UNIONS):
        centers = shapely.points(generator.uniform(1000, 1400, (60, 2)))
        union = shapely.union_all(shapely.buffer(centers, generator.uniform(20, 60, 60), quad_segs=8))
        yield shapely.Polygon(max(shapely.get_parts(union), key=lambda part: float(part.area)).exterior)


def area_kept() -> float:
    """Return the least share of an outline's area that this QuPath's geometry of it has."""
    return min(_share_kept(outline) for outline in trial_outlines())


def _share_kept(outline: shapely.Polygon) -> float:
    from jpype import JArray, JClass, JDouble

    rings = shapely.get_coordinates(outline)[:-1].T
    x, y = (JArray(JDouble)(np.ascontiguousarray(values)) for values in rings)
    plane: Any = JClass("qupath.lib.regions.ImagePlane").getDefaultPlane()
    roi = JClass("qupath.lib.roi.ROIs").createPolygonROI(x, y, plane)
    kept = float(roi.getGeometry().getArea()) / float(outline.area)
    return min(kept, 2.0 - kept)  # an area too large is as wrong
