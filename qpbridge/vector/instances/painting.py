"""From outlines of single objects to a map of them. Geometries in level-0 px."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX, InstanceMap
from qpbridge.core.geometry import Region
from qpbridge.vector.raster import Painter, is_polygonal


class InstanceIndex:
    """Outlines that are painted window by window, each with its number. Safe to share among threads.

    Parameters
    ----------
    geometries : sequence of shapely geometry
        Valid polygons or multipolygons, level-0 px; the first has number 1. Others paint nothing.
    """

    def __init__(self, geometries: Sequence[BaseGeometry]) -> None:
        # Painted last is on top, and the first is to be there.
        numbered = [(i, one) for i, one in enumerate(geometries, start=1) if is_polygonal(one)][::-1]
        self._numbers = [number for number, _ in numbered]
        self._painter = Painter([geometry for _, geometry in numbered], np.int32, 0)

    def rasterize(self, region: Region, width: int, height: int) -> InstanceMap:
        """Paint the outlines in a window.

        Parameters
        ----------
        region : Region
            What the map covers, level-0 px.
        width, height : int
            Size of the map, px.

        Returns
        -------
        ndarray of int32, shape (height, width)
            Number of the first outline that contains the center of the pixel, 0 where none does.

        Raises
        ------
        InvalidValueError
            If the map would have no pixels.

        References
        ----------
        The first keeps the pixels where two overlap: public program of Rahmon et al. 2022.
        """
        return self._painter.paint(region, width, height, self._numbers)


def single_nuclei(shapes: Sequence[tuple[BaseGeometry, int]], rest: int | None) -> tuple[BaseGeometry, ...]:
    """Return the nuclei among labelled shapes, those on top first.

    Parameters
    ----------
    shapes : sequence of (geometry, int)
        In painter's order.
    rest : int or None
        Label of what is no nucleus.
    """
    return tuple(geometry for geometry, label in reversed(shapes) if label not in (rest, IGNORE_INDEX))
