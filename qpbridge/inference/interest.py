"""The part of a slide that is to be predicted. Geometries in level-0 px."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import Mask
from qpbridge.core.geometry import Region
from qpbridge.errors import InvalidValueError
from qpbridge.vector.placing import GRID_PX
from qpbridge.vector.raster import mend


@dataclass(frozen=True, kw_only=True, eq=False)
class Interest:
    """Areas in which objects are wanted; objects end at their borders.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon
        Valid, on the grid of 0.01 px.
    """

    geometry: BaseGeometry

    @classmethod
    def of(cls, areas: Sequence[BaseGeometry], within: Region) -> Interest:
        """Return the union of some areas, as far as it lies in a region.

        Parameters
        ----------
        areas : sequence of shapely geometry
            Points and lines, and what lies outside, do not count.
        within : Region
            The image, or a part of it.

        Raises
        ------
        InvalidValueError
            If nothing is left.
        """
        frame = shapely.box(within.x_px, within.y_px, within.right_px, within.bottom_px)
        union = shapely.union_all([mend(area)[0] for area in areas])
        geometry, _ = mend(shapely.set_precision(shapely.intersection(union, frame), GRID_PX))
        if geometry.is_empty:
            raise InvalidValueError(
                f"no area of what is to be predicted lies between ({within.x_px:g}, {within.y_px:g}) and"
                f" ({within.right_px:g}, {within.bottom_px:g}) px, where the image or the region is; give another one"
            )
        return cls(geometry=geometry)

    @cached_property
    def bounds(self) -> Region:
        """The smallest rectangle around it."""
        left, top, right, bottom = self.geometry.bounds
        return Region(x_px=left, y_px=top, width_px=right - left, height_px=bottom - top)

    @cached_property
    def is_box(self) -> bool:
        """Whether it is that rectangle itself."""
        return bool(shapely.equals(self.geometry, self.geometry.envelope))

    def is_all_of(self, region: Region) -> bool:
        """Whether nothing of a region lies outside."""
        return bool(shapely.covers(self._prepared, _box(region)))

    def covers(self, region: Region) -> bool:
        """Whether any of it lies in a region."""
        return bool(shapely.intersects(self._prepared, _box(region)))

    def touched(self, region: Region, width: int, height: int) -> Mask | None:
        """Return which pixels of a region it touches, with those next to them; None where that is all of them.

        Parameters
        ----------
        region : Region
            What the pixels cover.
        width, height : int
            Number of pixels.
        """
        if self.is_box or shapely.contains(self._prepared, _box(region)):
            return None
        from rasterio import features
        from rasterio.transform import Affine

        step_x, step_y = region.width_px / width, region.height_px / height
        # One pixel more on each side, so that what lies next to the region counts in it.
        around = (region.x_px - step_x, region.y_px - step_y, region.right_px + step_x, region.bottom_px + step_y)
        near = shapely.clip_by_rect(self.geometry, *around)
        if near.is_empty:
            return np.zeros((height, width), np.bool_)
        painted = features.rasterize(
            [near],
            out_shape=(height + 2, width + 2),
            transform=Affine(step_x, 0, around[0], 0, step_y, around[1]),
            all_touched=True,
            dtype=np.uint8,
        )
        return np.asarray(cv2.dilate(painted, np.ones((3, 3), np.uint8))[1:-1, 1:-1], np.bool_)

    @cached_property
    def _prepared(self) -> BaseGeometry:
        shapely.prepare(self.geometry)
        return self.geometry


def _box(region: Region) -> shapely.Polygon:
    return shapely.box(region.x_px, region.y_px, region.right_px, region.bottom_px)
