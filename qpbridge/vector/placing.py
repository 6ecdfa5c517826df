"""Bring polygons from px of a label map to level-0 px, in the form that QuPath accepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.geometry import Region
from qpbridge.vector.polygons import LabelledPolygon
from qpbridge.vector.raster import mend

GRID_PX = 0.01
"""QuPath 0.6 and later round coordinates to two decimals; what is invalid after that, they refuse."""

_STEPS_PER_PX = round(1 / GRID_PX)


def place(
    polygons: Sequence[LabelledPolygon], origin_px: tuple[float, float], scale: tuple[float, float], bounds: Region
) -> list[LabelledPolygon]:
    """Map polygons to level-0 px, inside the bounds and on the grid of 0.01 px.

    Equal points become equal points, so shared borders stay shared. Points beyond the bounds move onto them,
    as the last column and row of a mosaic may reach over the image's rim by part of a pixel. What is not valid
    on the grid (slivers that close up) is repaired on its own, what loses its area is left out.

    Parameters
    ----------
    polygons : sequence of LabelledPolygon
        In px of the label map.
    origin_px : tuple of float
        Upper left corner (x, y) of the label map, level-0 px.
    scale : tuple of float
        Level-0 px per px of the label map, (x, y).
    bounds : Region
        Where the polygons must stay, level-0 px.

    Returns
    -------
    list of LabelledPolygon
        In level-0 px, in the same order, all valid. A polygon that a repair splits gives one for each part, with its
        pixels shared out in proportion to the areas.
    """
    lowest, highest = _grid_inside(bounds)

    def to_level0(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        steps = np.rint((points * scale + origin_px) * _STEPS_PER_PX)
        return np.clip(steps, lowest, highest) / _STEPS_PER_PX

    geometries = np.array([polygon.geometry for polygon in polygons], dtype=object)
    placed = shapely.transform(geometries, to_level0)
    is_sound = shapely.is_valid(placed) & (shapely.area(placed) > 0)
    result: list[LabelledPolygon] = []
    for polygon, geometry, sound in zip(polygons, placed, is_sound, strict=True):
        result.extend([replace(polygon, geometry=geometry)] if sound else _repair(polygon, geometry))
    return result


def translate(polygons: Sequence[LabelledPolygon], x_px: int, y_px: int) -> list[LabelledPolygon]:
    """Move polygons by whole pixels, which keeps their coordinates exact."""
    if not (x_px or y_px):
        return list(polygons)
    geometries = np.array([polygon.geometry for polygon in polygons], dtype=object)
    moved = shapely.transform(geometries, lambda points: points + np.array([x_px, y_px]))
    return [replace(polygon, geometry=geometry) for polygon, geometry in zip(polygons, moved, strict=True)]


def _grid_inside(bounds: Region) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    # 1e-6 absorbs the rounding of bounds that lie on the grid.
    lowest = np.ceil(np.array([bounds.x_px, bounds.y_px]) * _STEPS_PER_PX - 1e-6)
    highest = np.floor(np.array([bounds.right_px, bounds.bottom_px]) * _STEPS_PER_PX + 1e-6)
    return lowest, highest


def _repair(polygon: LabelledPolygon, geometry: BaseGeometry) -> Iterator[LabelledPolygon]:
    on_grid = shapely.set_precision(mend(geometry)[0], GRID_PX)
    parts = [part for part in shapely.get_parts(on_grid) if part.area > 0]
    areas = np.cumsum([part.area for part in parts])
    shares = np.diff(np.rint(areas / areas[-1] * polygon.pixels), prepend=0) if parts else []
    for part, pixels in zip(parts, shares, strict=True):
        yield replace(polygon, geometry=part, pixels=int(pixels))
