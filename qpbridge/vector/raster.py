"""From shapes to label maps, and the repair of shapes. Geometries in level-0 px."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.core.geometry import Region
from qpbridge.errors import InvalidValueError

_POLYGONAL: Final = frozenset({"Polygon", "MultiPolygon"})

_CLIP_MARGIN_PX: Final = 2
"""Shapes are cut this far outside the painted pixels, where no center can tell."""

_ONE_AT_A_TIME: Final = threading.Lock()
"""Held while rasterio paints: it mutes a warning of its own in a way that a second thread undoes."""


def rasterize(shapes: Sequence[tuple[BaseGeometry, int]], region: Region, width: int, height: int) -> LabelMap:
    """Paint shapes into a label map; later shapes lie on top.

    To paint many windows of the same shapes, keep a ``ShapeIndex``.

    Parameters
    ----------
    shapes : sequence of (geometry, int)
        Valid polygons or multipolygons with their labels below 256; others paint nothing.
    region : Region
        Part of the slide that the label map covers, level-0 px.
    width, height : int
        Size of the label map, px.

    Returns
    -------
    ndarray of uint8, shape (height, width)
        Label of the topmost shape that contains the center of the pixel, ``IGNORE_INDEX`` where none does.

    Raises
    ------
    InvalidValueError
        If the label map would have no pixels.
    """
    return ShapeIndex(shapes).rasterize(region, width, height)


class ShapeIndex:
    """Shapes that are painted window by window, each time only those near the window. Safe to share among threads.

    Parameters
    ----------
    shapes : sequence of (geometry, int)
        As for ``rasterize``.
    """

    def __init__(self, shapes: Sequence[tuple[BaseGeometry, int]]) -> None:
        polygonal = [(geometry, label) for geometry, label in shapes if is_polygonal(geometry)]
        self._labels = [label for _, label in polygonal]
        self._painter = Painter([geometry for geometry, _ in polygonal], np.uint8, IGNORE_INDEX)

    def rasterize(self, region: Region, width: int, height: int) -> LabelMap:
        """Paint the shapes into a label map; parameters and result as for the function ``rasterize``."""
        return self._painter.paint(region, width, height, self._labels)


class Painter:
    """Geometries that are painted window by window, each time only those near the window.

    Parameters
    ----------
    geometries : sequence of shapely geometry
        Valid polygons or multipolygons, level-0 px; later ones lie on top.
    dtype : type
        Of the maps.
    fill : int
        Where nothing lies.
    """

    def __init__(self, geometries: Sequence[BaseGeometry], dtype: type[np.generic], fill: int) -> None:
        self._geometries = np.array(geometries, dtype=object)
        self._tree = shapely.STRtree(self._geometries)
        self._dtype = dtype
        self._fill = fill

    def paint(self, region: Region, width: int, height: int, labels: Sequence[int]) -> npt.NDArray[Any]:
        """Paint a window with a label for each geometry.

        Raises
        ------
        InvalidValueError
            If the map would have no pixels.
        """
        if width < 1 or height < 1:
            raise InvalidValueError(f"a label map must have pixels, not {width} x {height}")
        from rasterio import features
        from rasterio.transform import Affine

        step_x, step_y = region.width_px / width, region.height_px / height
        window = (
            region.x_px - _CLIP_MARGIN_PX * step_x,
            region.y_px - _CLIP_MARGIN_PX * step_y,
            region.right_px + _CLIP_MARGIN_PX * step_x,
            region.bottom_px + _CLIP_MARGIN_PX * step_y,
        )
        near = np.sort(self._tree.query(shapely.box(*window)))
        # Cut first: handing a long outline to GDAL costs far more than painting a small window.
        cut = shapely.clip_by_rect(self._geometries[near], *window)
        painted = [(geometry, labels[i]) for geometry, i in zip(cut, near, strict=True) if not geometry.is_empty]
        if not painted:
            return np.full((height, width), self._fill, self._dtype)
        with _ONE_AT_A_TIME:
            label_map: npt.NDArray[Any] = features.rasterize(
                painted,
                out_shape=(height, width),
                fill=self._fill,
                transform=Affine(step_x, 0, region.x_px, 0, step_y, region.y_px),
                dtype=self._dtype,
            )
        return label_map


def is_polygonal(geometry: BaseGeometry) -> bool:
    """Whether a geometry is of a kind that has an area."""
    return geometry.geom_type in _POLYGONAL


def mend(geometry: BaseGeometry) -> tuple[BaseGeometry, bool]:
    """Make a geometry polygonal and valid.

    What a self-crossing outline encloses is inside, however often it winds around it; holes outside their
    shell go, overlapping parts become one. Points and lines, also those left over by the repair, go.

    Parameters
    ----------
    geometry : shapely geometry
        Of any kind.

    Returns
    -------
    geometry : Polygon or MultiPolygon
        The same object if it was fine; empty if nothing with an area is left or a coordinate is not finite.
    changed : bool
        Whether it had to be changed.
    """
    if is_polygonal(geometry) and geometry.is_valid:
        return geometry, False
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return Polygon(), True
    valid = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    # Twice, as a collection may hold multipolygons.
    parts = shapely.get_parts(shapely.get_parts(valid))
    mended = shapely.union_all(parts[shapely.area(parts) > 0])
    return (Polygon() if mended.is_empty else mended), True
