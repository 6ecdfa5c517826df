"""Pixels of any region of a slide at any size. Regions are in level-0 px of the image that QuPath shows."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

import numpy as np

from qpbridge.core.arrays import RgbImage
from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.errors import InvalidValueError
from qpbridge.slides.overview import OVERSAMPLING, Overview
from qpbridge.slides.resampling import WHITE, AxisPlan, SourceAxis, plan_axis, resample_into

LEVEL_TOLERANCE: Final = 0.02
"""How much coarser than asked for a level may be, relative: levels of 4.02 serve a reading at 4."""

WINDOW_LIMIT_PX: Final = 8_000_000
"""Level pixels to hold at once; larger readings are put together from parts."""

MPP_RANGE: Final = (0.01, 100.0)
"""Pixel sizes in µm that a scanner may have; others come from print resolutions and are taken as missing."""

Change: TypeAlias = Callable[[RgbImage], RgbImage]
"""Other colors for a picture, uint8, of the same shape."""

_HASHED_BYTES: Final = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One resolution of an image: pixel (i, j) begins at ``origin + downsample * (i, j)``, level-0 px."""

    width: int
    height: int
    downsample_x: float = 1.0
    downsample_y: float = 1.0
    origin_x_px: float = 0.0
    origin_y_px: float = 0.0

    @property
    def downsample(self) -> float:
        """Level-0 px per pixel, the coarser of both axes."""
        return max(self.downsample_x, self.downsample_y)


class PixelSource(Protocol):
    """What opens one kind of file; ``ArraySource`` is the one in memory."""

    @property
    def path(self) -> Path:
        """File that the pixels come from."""

    @property
    def width_px(self) -> int:
        """Level-0 px."""

    @property
    def height_px(self) -> int:
        """Level-0 px."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Resolutions, the finest first."""

    @property
    def calibration(self) -> PixelCalibration | None:
        """Pixel size stated in the file, None where it states none or nonsense."""

    @property
    def fingerprint(self) -> str:
        """Identity of the content, see ``file_fingerprint``."""

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> RgbImage:
        """Read pixels of one level, from several threads at once if need be.

        Parameters
        ----------
        level : int
            Index into ``levels``.
        x, y, width, height : int
            Window, px of that level, inside the level.

        Raises
        ------
        DamagedSlideError
            If they cannot be decoded.
        """

    def close(self) -> None:
        """Let go of the file."""


class Slide:
    """An image as QuPath shows it, readable at any place and size, from several threads at once.

    Parameters
    ----------
    source : PixelSource
        Closed together with the slide.
    """

    def __init__(self, source: PixelSource) -> None:
        self._source = source
        self._overview = Overview(source)
        self._levels = (*source.levels, *self._overview.levels)
        self._change: Change | None = None

    def changed(self, change: Change) -> Slide:
        """Return the same open slide, whose pixels go through a change once they are read, white outside included."""
        other = copy.copy(self)
        other._change = change
        return other

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    @property
    def path(self) -> Path:
        """File that the pixels come from."""
        return self._source.path

    @property
    def width_px(self) -> int:
        """Level-0 px."""
        return self._source.width_px

    @property
    def height_px(self) -> int:
        """Level-0 px."""
        return self._source.height_px

    @property
    def calibration(self) -> PixelCalibration | None:
        """Pixel size stated in the file, None where it states none or nonsense."""
        return self._source.calibration

    @property
    def downsamples(self) -> tuple[float, ...]:
        """Of each level of the file, the finest first."""
        return tuple(level.downsample for level in self._source.levels)

    @property
    def fingerprint(self) -> str:
        """Identity of the file's content, see ``file_fingerprint``."""
        return self._source.fingerprint

    @property
    def region(self) -> Region:
        """The whole image."""
        return Region(x_px=0, y_px=0, width_px=self.width_px, height_px=self.height_px)

    def read(self, region: Region, width: int, height: int) -> RgbImage:
        """Read a region at any size: area averages where it shrinks, linear interpolation where it enlarges.

        Each pixel depends only on the level-0 rectangle that it covers, not on the window around it.

        Parameters
        ----------
        region : Region
            Level-0 px; may be fractional and reach beyond the image.
        width, height : int
            Size of the result, px.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            RGB, white outside the image.

        Raises
        ------
        InvalidValueError
            If the result would have no pixel.
        DamagedSlideError
            If the file cannot be decoded there.
        """
        if width < 1 or height < 1:
            raise InvalidValueError(f"cannot read a region as {width} x {height} px; ask for at least one pixel")
        image = np.full((height, width, 3), WHITE, np.uint8)
        self._fill(image, self._best_level(min(region.width_px / width, region.height_px / height)), region)
        return image if self._change is None else self._change(image)

    def thumbnail(self, max_px: int) -> RgbImage:
        """Read the whole image with a longer edge of at most ``max_px``, never enlarged."""
        scale = max(1.0, max(self.width_px, self.height_px) / max_px)
        return self.read(self.region, max(1, round(self.width_px / scale)), max(1, round(self.height_px / scale)))

    def _best_level(self, downsample: float) -> int:
        coarsest = downsample * (1 + LEVEL_TOLERANCE)
        kept = len(self._source.levels)
        fitting = [
            i
            for i, level in enumerate(self._levels)
            if i == 0 or level.downsample <= (coarsest if i < kept else coarsest / OVERSAMPLING)
        ]
        return max(fitting, key=lambda i: self._levels[i].downsample)

    def _read_level(self, level: int, x: int, y: int, width: int, height: int) -> RgbImage:
        made = level - len(self._source.levels)
        source, index = (self._source, level) if made < 0 else (self._overview, made)
        return source.read_level(index, x, y, width, height)

    def _fill(self, image: RgbImage, level: int, region: Region) -> None:
        columns, rows = self._plans(level, region, image.shape[1], image.shape[0])
        if rows.count * columns.count > WINDOW_LIMIT_PX and image.size > 3:
            for part, place in _halves(region, image.shape[1], image.shape[0]):
                self._fill(image[place], level, part)
        elif rows.count and columns.count:
            pixels = self._read_level(level, columns.first, rows.first, columns.count, rows.count)
            resample_into(image, pixels, rows, columns)

    def _plans(self, level: int, region: Region, width: int, height: int) -> tuple[AxisPlan, AxisPlan]:
        grid = self._levels[level]
        x_axis = SourceAxis(
            size=grid.width, downsample=grid.downsample_x, origin_px=grid.origin_x_px, image_px=self.width_px
        )
        y_axis = SourceAxis(
            size=grid.height, downsample=grid.downsample_y, origin_px=grid.origin_y_px, image_px=self.height_px
        )
        return (
            plan_axis(x_axis, region.x_px, region.width_px, width),
            plan_axis(y_axis, region.y_px, region.height_px, height),
        )


def _halves(region: Region, width: int, height: int) -> Iterator[tuple[Region, tuple[slice, slice]]]:
    is_wide = height == 1 or (width > 1 and region.width_px >= region.height_px)
    count, extent_px = (width, region.width_px) if is_wide else (height, region.height_px)
    for begin, end in ((0, count // 2), (count // 2, count)):
        offset_px, part_px = extent_px * begin / count, extent_px * (end - begin) / count
        if is_wide:
            part = replace(region, x_px=region.x_px + offset_px, width_px=part_px)
            yield part, (slice(None), slice(begin, end))
        else:
            part = replace(region, y_px=region.y_px + offset_px, height_px=part_px)
            yield part, (slice(begin, end), slice(None))


def level_downsample(image_px: int, level_px: int) -> float:
    """Return how many level-0 px a level's pixel spans along one axis.

    Level sizes are rounded, so that their plain ratio is off by a little: 1000 px come from 4002 px
    by 4, not by 4.002. The nearest whole number counts where it explains the size up to one pixel.
    """
    whole = max(1, round(image_px / level_px))
    return float(whole) if abs(image_px / whole - level_px) <= 1 else image_px / level_px


def pyramid(sizes: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """Return the levels of a pyramid from their sizes (width, height), the finest first."""
    width_px, height_px = sizes[0]
    return tuple(
        Level(
            width=width,
            height=height,
            downsample_x=level_downsample(width_px, width),
            downsample_y=level_downsample(height_px, height),
        )
        for width, height in sizes
    )


def plausible_calibration(mpp_x: float | None, mpp_y: float | None) -> PixelCalibration | None:
    """Return the calibration that a file states, or None where it states none or one outside ``MPP_RANGE``."""
    if mpp_x is None or mpp_y is None or not all(MPP_RANGE[0] <= mpp <= MPP_RANGE[1] for mpp in (mpp_x, mpp_y)):
        return None
    return PixelCalibration(mpp_x=mpp_x, mpp_y=mpp_y)


def file_fingerprint(path: Path, width_px: int, height_px: int) -> str:
    """Return the identity of an image file, cheap even for large ones.

    Returns
    -------
    str
        ``"sha256-ends:"`` and the SHA-256 of the file's size, the image's size, and the first and last
        64 KiB. OpenSlide's own ``"quickhash-1:"`` takes its place where there is one.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(f"{size} {width_px} {height_px} ".encode())
    with path.open("rb") as file:
        digest.update(file.read(_HASHED_BYTES))
        file.seek(max(0, size - _HASHED_BYTES))
        digest.update(file.read(_HASHED_BYTES))
    return f"sha256-ends:{digest.hexdigest()}"
