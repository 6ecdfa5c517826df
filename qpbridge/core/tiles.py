"""Tile geometry: which level-0 window a view of a tile covers. Training and prediction both ask here, nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region
from qpbridge.errors import InvalidValueError


def view_region(center_px: tuple[float, float], fov: FieldOfView, calibration: PixelCalibration) -> Region:
    """Return the window that a field of view covers when centered on a point.

    Parameters
    ----------
    center_px : tuple of float
        Center (x, y), level-0 px. All views of a tile or patch share it.
    fov : FieldOfView
        Size and mpp of the view.
    calibration : PixelCalibration
        Of the slide.

    Returns
    -------
    Region
        Level-0 px, fractional where the mpp are no multiples; may reach beyond the image.
    """
    width_px = fov.extent_um / calibration.mpp_x
    height_px = fov.extent_um / calibration.mpp_y
    return Region(
        x_px=center_px[0] - width_px / 2, y_px=center_px[1] - height_px / 2, width_px=width_px, height_px=height_px
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One tile of a grid: what a network reads at once, and the part of its output that counts.

    Parameters
    ----------
    center_px : tuple of float
        Center (x, y) of all views, level-0 px.
    x, y : int
        Upper left corner of the core in the mosaic, mosaic px.
    width, height : int
        Size of the core, mosaic px; smaller at the right and lower rim.
    margin : int
        Rows and columns of the finest view to leave out before the core begins, mosaic px.
    """

    center_px: tuple[float, float]
    x: int
    y: int
    width: int
    height: int
    margin: int

    @property
    def in_mosaic(self) -> tuple[slice, slice]:
        """Rows and columns of the core in the mosaic."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    @property
    def in_view(self) -> tuple[slice, slice]:
        """Rows and columns of the core in the finest view."""
        return slice(self.margin, self.margin + self.height), slice(self.margin, self.margin + self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrid:
    """Tiles whose cores cover a region once, without gap or overlap.

    The mosaic is the region resampled to ``fov.mpp``: its pixel (i, j) covers ``mpp_px_x`` by ``mpp_px_y``
    level-0 px from ``region``'s corner on.

    Parameters
    ----------
    region : Region
        To be covered, level-0 px.
    fov : FieldOfView
        Of the finest view.
    margin_px : int
        Rim of each tile that only serves as context, px of the finest view.
    calibration : PixelCalibration
        Of the slide.

    Raises
    ------
    InvalidValueError
        If the margin leaves no core.
    """

    region: Region
    fov: FieldOfView
    margin_px: int
    calibration: PixelCalibration

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.margin_px < self.fov.size_px:
            raise InvalidValueError(f"a margin of {self.margin_px} px leaves no core of a {self.fov.size_px} px tile")

    @property
    def step_px(self) -> int:
        """Edge of a core and distance between tiles, mosaic px."""
        return self.fov.size_px - 2 * self.margin_px

    @property
    def downsample_x(self) -> float:
        """Level-0 px per mosaic px."""
        return self.fov.mpp / self.calibration.mpp_x

    @property
    def downsample_y(self) -> float:
        """Level-0 px per mosaic px."""
        return self.fov.mpp / self.calibration.mpp_y

    @property
    def mosaic_width(self) -> int:
        """Mosaic px; the last column may reach beyond the region."""
        return _pixels(self.region.width_px / self.downsample_x)

    @property
    def mosaic_height(self) -> int:
        """Mosaic px; the last row may reach beyond the region."""
        return _pixels(self.region.height_px / self.downsample_y)

    @property
    def columns(self) -> int:
        """Number of tiles in a row."""
        return -(-self.mosaic_width // self.step_px)

    @property
    def rows(self) -> int:
        """Number of rows of tiles."""
        return -(-self.mosaic_height // self.step_px)

    def __len__(self) -> int:
        return self.columns * self.rows

    def __iter__(self) -> Iterator[Tile]:
        for row in range(self.rows):
            for column in range(self.columns):
                yield self.tile(column, row)

    def tile(self, column: int, row: int) -> Tile:
        """Return one tile of the grid."""
        x, y = column * self.step_px, row * self.step_px
        half = self.step_px / 2
        return Tile(
            center_px=(
                self.region.x_px + (x + half) * self.downsample_x,
                self.region.y_px + (y + half) * self.downsample_y,
            ),
            x=x,
            y=y,
            width=min(self.step_px, self.mosaic_width - x),
            height=min(self.step_px, self.mosaic_height - y),
            margin=self.margin_px,
        )


def _pixels(length: float) -> int:
    # 1e-6 absorbs the rounding of a length that is a whole number of pixels.
    return max(1, math.ceil(length - 1e-6))
