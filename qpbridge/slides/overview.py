"""Coarser levels that a file lacks, made once and kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from qpbridge.core.arrays import RgbImage

if TYPE_CHECKING:
    from qpbridge.slides.slide import Level, PixelSource

OVERVIEW_LIMIT_PX: Final = 64_000_000
"""Pixels of a file's coarsest level up to which it is read whole; those of its halvings then take up to 64 MB."""

SMALLEST_PX: Final = 256
"""No level is made whose shorter edge would be below this."""

OVERSAMPLING: Final = 2.0
"""How much finer than asked for a made level is: windows that lie between its pixels then stay as sharp as without."""

_STRIP_PX: Final = 512  # even, so that strips meet at pixels of the halving


class Overview:
    """Halvings of a file's coarsest level, made when the first of them is read.

    Files of one level would otherwise be decoded at full resolution for every look from afar.

    Parameters
    ----------
    source : PixelSource
        The file.
    """

    def __init__(self, source: PixelSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._images: list[RgbImage] | None = None
        self.levels = tuple(_halvings(source.levels))

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> RgbImage:
        """Read pixels of one halving.

        Parameters
        ----------
        level : int
            Index into ``levels``.
        x, y, width, height : int
            Window, px of that level, inside the level.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            Means of squares of pixels of the file's coarsest level.

        Raises
        ------
        DamagedSlideError
            If the file cannot be decoded somewhere.
        """
        with self._lock:
            if self._images is None:
                self._images = self._made()
        return self._images[level][y : y + height, x : x + width]

    def _made(self) -> list[RgbImage]:
        coarsest = self._source.levels[-1]
        first = self.levels[0]
        image = np.empty((first.height, first.width, 3), np.uint8)
        for row in range(0, 2 * first.height, _STRIP_PX):
            rows = min(_STRIP_PX, 2 * first.height - row)
            strip = self._source.read_level(len(self._source.levels) - 1, 0, row, coarsest.width, rows)
            image[row // 2 : (row + rows) // 2] = _halved(strip)
        images = [image]
        while len(images) < len(self.levels):
            images.append(_halved(images[-1]))
        return images


def _halvings(levels: Sequence[Level]) -> list[Level]:
    made: list[Level] = []
    last = levels[-1]
    if last.width * last.height > OVERVIEW_LIMIT_PX:
        return made
    while min(last.width, last.height) >= 2 * SMALLEST_PX:
        last = replace(
            last,
            width=last.width // 2,
            height=last.height // 2,
            downsample_x=2 * last.downsample_x,
            downsample_y=2 * last.downsample_y,
        )
        made.append(last)
    return made


def _halved(image: RgbImage) -> RgbImage:
    height, width = image.shape[0] // 2, image.shape[1] // 2
    even = np.ascontiguousarray(image[: 2 * height, : 2 * width])
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
