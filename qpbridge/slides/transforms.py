"""Crops and quarter turns of an image, as QuPath's servers apply them; all levels follow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from qpbridge.core.arrays import RgbImage
from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.image_server import Rotation
from qpbridge.errors import SlideMismatchError
from qpbridge.slides.slide import Level, PixelSource


class CroppedSource:
    """Part of an image.

    Parameters
    ----------
    source : PixelSource
        The whole image.
    region : Region
        What remains, px of the whole image.
    """

    def __init__(self, source: PixelSource, region: Region) -> None:
        self._source = source
        self.path: Path = source.path
        self.width_px = round(region.width_px)
        self.height_px = round(region.height_px)
        self.calibration: PixelCalibration | None = source.calibration
        self.levels: tuple[Level, ...] = tuple(
            replace(level, origin_x_px=level.origin_x_px - region.x_px, origin_y_px=level.origin_y_px - region.y_px)
            for level in source.levels
        )

    @property
    def fingerprint(self) -> str:
        """Identity of the whole file."""
        return self._source.fingerprint

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> RgbImage:
        """Read from the whole image: only the place of its levels has changed."""
        return self._source.read_level(level, x, y, width, height)

    def close(self) -> None:
        """Close the whole image."""
        self._source.close()


class TurnedSource:
    """An image turned clockwise by a quarter.

    Parameters
    ----------
    source : PixelSource
        The upright image.
    """

    def __init__(self, source: PixelSource) -> None:
        self._source = source
        self.path: Path = source.path
        self.width_px, self.height_px = source.height_px, source.width_px
        upright = source.calibration
        self.calibration = upright and PixelCalibration(mpp_x=upright.mpp_y, mpp_y=upright.mpp_x)
        self.levels: tuple[Level, ...] = tuple(
            Level(
                width=level.height,
                height=level.width,
                downsample_x=level.downsample_y,
                downsample_y=level.downsample_x,
                origin_x_px=source.height_px - level.origin_y_px - level.height * level.downsample_y,
                origin_y_px=level.origin_x_px,
            )
            for level in source.levels
        )

    @property
    def fingerprint(self) -> str:
        """Identity of the file."""
        return self._source.fingerprint

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> RgbImage:
        """Read the window where it lies in the upright image, and turn its pixels."""
        below = self.levels[level].width - x - width
        return np.rot90(self._source.read_level(level, y, below, height, width), -1)

    def close(self) -> None:
        """Close the upright image."""
        self._source.close()


def transformed(source: PixelSource, transforms: Iterable[Region | Rotation]) -> PixelSource:
    """Apply crops and turns, in this order, to an image.

    Raises
    ------
    SlideMismatchError
        If a crop reaches beyond the image.
    """
    for transform in transforms:
        if isinstance(transform, Region):
            _check_inside(transform, source)
            source = CroppedSource(source, transform)
        else:
            for _ in range(transform.value // 90):
                source = TurnedSource(source)
    return source


def _check_inside(crop: Region, source: PixelSource) -> None:
    if min(crop.x_px, crop.y_px) < 0 or crop.right_px > source.width_px or crop.bottom_px > source.height_px:
        raise SlideMismatchError(
            f"the project crops {source.path} to {crop.width_px:g} x {crop.height_px:g} px at "
            f"({crop.x_px:g}, {crop.y_px:g}), but it has only {source.width_px} x {source.height_px} px; "
            "is it the right file?"
        )
