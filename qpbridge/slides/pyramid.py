"""Writes tiled pyramidal TIFF files from strips of pixels, in memory that does not grow with the image's height."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, TypeAlias

import cv2
import numpy as np

from qpbridge.core.arrays import RgbImage
from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError
from qpbridge.files import atomic_file

TILE_PX: Final = 256

STRIP_PX: Final = 512
"""Rows that are asked for at once."""

QUALITY: Final = 85
"""Of the JPEG tiles, 0 to 100; chroma has half the resolution."""

STAGE: Final = "write slide"
"""What progress calls this work."""

Strips: TypeAlias = Callable[[int, int], RgbImage]
"""Of a first row and a number of rows: these rows, shape (rows, width, 3)."""

_SMALLEST_PX = 2 * TILE_PX  # no level is made from one that is not larger than this
_SPOOL_BYTES = 1 << 24
_BIG_BYTES = 1 << 32  # plain TIFF files end here


def write_pyramid(
    target: Path, size_px: tuple[int, int], strips: Strips, calibration: PixelCalibration, progress: Progress
) -> None:
    """Write an image as a TIFF file with JPEG tiles and levels of 1/2, 1/4, 1/8 and so on.

    OpenSlide reads it as ``generic-tiff``, with its levels and its pixel size; QuPath opens it, too. The
    same pixels give the same bytes.

    Parameters
    ----------
    target : Path
        Appears when it is complete.
    size_px : tuple of int
        Width and height of level 0.
    strips : callable
        Called once for each strip of ``STRIP_PX`` rows, from top to bottom.
    calibration : PixelCalibration
        Goes into the resolution tags, in pixels per centimeter.
    progress : Progress
        Told of each strip, and of the whole once the file is complete.

    Raises
    ------
    InvalidValueError
        If the image has no pixels.
    DiskFullError
        If there is no space left; the target is then as before.
    """
    import tifffile

    width, height = size_px
    if width < 1 or height < 1:
        raise InvalidValueError(f"an image of {width} x {height} px cannot be written; it needs at least one pixel")
    levels = _levels(width, height)
    try:
        with (
            atomic_file(target) as file,
            # Named here, for tifffile does not take the number that stands for the name of a temporary file.
            tifffile.FileHandle(file, name=target.name) as handle,
            tifffile.TiffWriter(handle, bigtiff=width * height * 3 > _BIG_BYTES) as writer,
        ):
            tiles = _finest_tiles(levels, height, strips, progress)
            for index, level in enumerate(levels):
                writer.write(
                    tiles if index == 0 else level.spooled(),
                    shape=(level.height, level.width, 3),
                    dtype=np.uint8,
                    tile=(TILE_PX, TILE_PX),
                    photometric="ycbcr",
                    subsampling=(2, 2),
                    compression="jpeg",
                    subfiletype=int(index > 0),
                    resolution=tuple(1e4 / (mpp * 2**index) for mpp in (calibration.mpp_x, calibration.mpp_y)),
                    resolutionunit="CENTIMETER",
                    software="qpbridge",
                    metadata=None,
                )
        progress.report(STAGE, _strips(height), _strips(height))
    finally:
        for level in levels:
            level.close()


class _Level:
    """One level in the making: rows come in, rows of tiles and rows of the next level go out."""

    def __init__(self, width: int, height: int, coarser: _Level | None) -> None:
        self.width, self.height = width, height
        self._coarser = coarser
        self._rows: list[RgbImage] = []
        self._pending = self._taken = 0
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115
        self._lengths: list[int] = []

    def tiles(self, rows: RgbImage) -> Iterator[bytes]:
        """Take rows, and yield the tiles that are now complete as JPEG streams."""
        rows = rows[: self.height - self._taken]
        self._rows.append(rows)
        self._pending += len(rows)
        self._taken += len(rows)
        while self._pending >= TILE_PX or (self._taken == self.height and self._pending):
            waiting = np.concatenate(self._rows)
            self._rows = [waiting[TILE_PX:]]
            self._pending = len(waiting[TILE_PX:])
            if self._coarser is not None:
                self._coarser.take(_halved(waiting[:TILE_PX]))
            yield from _encoded(waiting[:TILE_PX])

    def take(self, rows: RgbImage) -> None:
        """Take rows, and keep the tiles that are now complete."""
        for tile in self.tiles(rows):
            self._spool.write(tile)
            self._lengths.append(len(tile))

    def spooled(self) -> Iterator[bytes]:
        """Yield the tiles kept, in their order."""
        self._spool.seek(0)
        for length in self._lengths:
            yield self._spool.read(length)

    def close(self) -> None:
        """Let go of the tiles kept."""
        self._spool.close()


def _levels(width: int, height: int) -> list[_Level]:
    sizes = [(width, height)]
    while max(sizes[-1]) > _SMALLEST_PX and min(sizes[-1]) > 1:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    levels: list[_Level] = []
    for size in reversed(sizes):
        levels.insert(0, _Level(*size, levels[0] if levels else None))
    return levels


def _strips(height: int) -> int:
    return math.ceil(height / STRIP_PX)


def _finest_tiles(levels: list[_Level], height: int, strips: Strips, progress: Progress) -> Iterator[bytes]:
    count = _strips(height)
    for index in range(count):
        progress.report(STAGE, index, count)
        progress.raise_if_cancelled()
        top = index * STRIP_PX
        yield from levels[0].tiles(strips(top, min(STRIP_PX, height - top)))


def _halved(rows: RgbImage) -> RgbImage:
    height, width = rows.shape[0] // 2, rows.shape[1] // 2
    if height == 0:
        return rows[:0, :width]
    even = rows[: 2 * height, : 2 * width]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _encoded(rows: RgbImage) -> Iterator[bytes]:
    import imagecodecs

    height, width = rows.shape[:2]
    padded = np.pad(rows, ((0, TILE_PX - height), (0, -width % TILE_PX), (0, 0)), mode="edge")
    for left in range(0, width, TILE_PX):
        tile = np.ascontiguousarray(padded[:, left : left + TILE_PX])
        stream = imagecodecs.jpeg8_encode(
            tile, level=QUALITY, colorspace="rgb", outcolorspace="ycbcr", subsampling="420"
        )
        yield bytes(stream)
