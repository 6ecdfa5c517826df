"""How sure a network is of the objects that it found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import shapely

from qpbridge.core.geometry import Region
from qpbridge.inference.maps.blending import Strip
from qpbridge.inference.predicting import Mosaic
from qpbridge.vector.polygons import LabelledPolygon
from qpbridge.vector.raster import Painter

UNCERTAINTY: Final = "qpbridge: Uncertainty"
"""Measurement: mean over an object of the entropy of the class probabilities, 0 (sure) to 1 (no idea)."""

PROBABILITY: Final = "qpbridge: Probability"
"""Measurement: mean probability of an object's class, where it is the likeliest one."""

_ROWS: Final = 1024
"""Of a mosaic that are painted at once."""

_BYTE_MAX: Final = 255


class Certainty:
    """A ``Taker`` that keeps for each pixel, in 3 bytes, the label seen, its probability and the uncertainty."""

    def __init__(self) -> None:
        self._mosaic: Mosaic | None = None
        self._labels = self._probability = self._uncertainty = np.empty((0, 0), np.uint8)

    def take(self, strip: Strip) -> None:
        """Keep what is needed of some rows."""
        if self._mosaic is None:
            self._mosaic = strip.mosaic
            # Labels change when small pieces join their neighbors.
            self._labels, self._probability, self._uncertainty = (np.zeros_like(strip.mosaic.labels) for _ in range(3))
        rows = slice(strip.y, strip.y + len(strip.seen))
        self._labels[rows] = strip.labels
        self._probability[rows] = _bytes(strip.probabilities.max(axis=0))
        self._uncertainty[rows] = _bytes(strip.uncertainty)

    def measurements(self, polygons: Sequence[LabelledPolygon]) -> list[dict[str, float]]:
        """Return the measurements of objects, whose rows must all have been taken.

        Small pieces of other classes that joined an object count for its uncertainty, not for its probability. What
        covers no pixel's center has no measurements.

        Parameters
        ----------
        polygons : sequence of LabelledPolygon
            Level-0 px.
        """
        labels = np.array([polygon.label for polygon in polygons], np.int64)
        own, own_sums, pixels, sums = (np.zeros(len(polygons)) for _ in range(4))
        for (rows, columns), owners in self._owners(polygons):
            inside = owners >= 0
            who = owners[inside]
            pixels += np.bincount(who, minlength=len(polygons))
            sums += np.bincount(who, self._uncertainty[rows, columns][inside], len(polygons))
            is_own = self._labels[rows, columns][inside] == labels[who]
            own += np.bincount(who[is_own], minlength=len(polygons))
            own_sums += np.bincount(who[is_own], self._probability[rows, columns][inside][is_own], len(polygons))
        parts = ((UNCERTAINTY, sums, pixels), (PROBABILITY, own_sums, own))
        return [
            {name: float(total[i] / count[i] / _BYTE_MAX) for name, total, count in parts if count[i]}
            for i in range(len(polygons))
        ]

    def _owners(
        self, polygons: Sequence[LabelledPolygon]
    ) -> Iterator[tuple[tuple[slice, slice], npt.NDArray[np.int32]]]:
        """Yield windows of the mosaic, and the position of the polygon that each of their pixels lies in, or -1."""
        if self._mosaic is None or not polygons:
            return
        mosaic, geometries = self._mosaic, [item.geometry for item in polygons]
        painter, grid = Painter(geometries, np.int32, -1), mosaic.grid
        bounds = shapely.total_bounds(geometries)
        origin, scale = (grid.region.x_px, grid.region.y_px) * 2, (grid.downsample_x, grid.downsample_y) * 2
        left, top, right, bottom = (bounds - origin) / scale - (mosaic.x, mosaic.y) * 2
        columns = slice(max(0, int(left)), min(mosaic.labels.shape[1], math.ceil(right)))
        last = min(len(mosaic.labels), math.ceil(bottom))
        for first in range(max(0, int(top)), last, _ROWS):
            rows = slice(first, min(first + _ROWS, last))
            region = Region(
                x_px=grid.region.x_px + (mosaic.x + columns.start) * grid.downsample_x,
                y_px=grid.region.y_px + (mosaic.y + rows.start) * grid.downsample_y,
                width_px=(columns.stop - columns.start) * grid.downsample_x,
                height_px=(rows.stop - rows.start) * grid.downsample_y,
            )
            size = columns.stop - columns.start, rows.stop - rows.start
            yield (rows, columns), painter.paint(region, *size, range(len(polygons)))


def _bytes(shares: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.rint(shares * _BYTE_MAX).astype(np.uint8)
