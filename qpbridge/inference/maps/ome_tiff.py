"""Class probabilities as a pyramid that QuPath opens and lays over the slide: OME-TIFF, a channel a class."""

from __future__ import annotations

import contextlib
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt
import tifffile

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.tiles import TileGrid
from qpbridge.files import atomic_file
from qpbridge.inference.device import available_cores
from qpbridge.inference.maps.blending import Strip
from qpbridge.models.spec import ModelClass

Bytes = npt.NDArray[np.uint8]

CERTAIN: Final = 255
"""What a probability of 1 is in the file. Bytes, as QuPath's own classifiers have it: OME knows no 16-bit floats, and
1/255 is finer than any network is calibrated."""

_TILE_PX: Final = 256
_SMALLEST_PX: Final = 512
"""Edge of the image below which there is no coarser level."""

_ZLIB_LEVEL: Final = 1
_UM_PER_CM: Final = 1e4


@contextlib.contextmanager
def probability_map(path: Path, classes: Sequence[ModelClass], calibration: PixelCalibration) -> Iterator[MapWriter]:
    """Open a map for writing that appears under its name only when the block ends well.

    It shows the whole grid of a mosaic, also where only a window was predicted: so it fits the slide from corner to
    corner. Tiles are compressed row by row as they come, and wait in a temporary file beside the map, since TIFF wants
    them channel by channel: memory holds some rows, whatever the slide.

    Parameters
    ----------
    path : Path
        Replaced if it exists.
    classes : sequence of ModelClass
        Names and colors of the channels; those that are never written back are channels as well.
    calibration : PixelCalibration
        True pixel size of the slide.

    Raises
    ------
    DiskFullError
        If the disk has no space left; an older map is then as before.
    """
    with atomic_file(path) as file, tempfile.TemporaryFile(dir=path.parent) as spool:
        writer = MapWriter(cast(BinaryIO, spool), len(classes))
        yield writer
        writer.write(file, path.name.partition(".")[0], classes, calibration)


class MapWriter:
    """A ``Taker`` that keeps compressed tiles of all levels.

    Parameters
    ----------
    spool : file
        Empty, to be written and read.
    channels : int
        Number of classes.
    """

    def __init__(self, spool: BinaryIO, channels: int) -> None:
        self._spool = spool
        self._channels = channels
        self._grid: TileGrid | None = None
        self._levels: list[_Level] = []

    def take(self, strip: Strip) -> None:
        """Add some rows."""
        mosaic = strip.mosaic
        if self._grid is None:
            self._begin(mosaic.grid)
            self._add(np.zeros((self._channels, 0, 0), np.uint8), 0, rows=mosaic.y)
        shares = np.rint(strip.probabilities * CERTAIN).astype(np.uint8)
        self._add(shares, mosaic.x, rows=shares.shape[1])

    def write(self, file: BinaryIO, name: str, classes: Sequence[ModelClass], calibration: PixelCalibration) -> None:
        """Write the file; what was not predicted is 0 in every channel."""
        if self._grid is None:
            return
        grid, full = self._grid, self._levels[0]
        self._add(np.zeros((self._channels, 0, 0), np.uint8), 0, rows=full.height - full.rows_known)
        step_x_um, step_y_um = grid.downsample_x * calibration.mpp_x, grid.downsample_y * calibration.mpp_y
        metadata = {
            "axes": "CYX",
            "Name": name,
            "PhysicalSizeX": step_x_um,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": step_y_um,
            "PhysicalSizeYUnit": "µm",
            "Channel": {"Name": [item.name for item in classes], "Color": [_color(item.color_rgb) for item in classes]},
        }
        with tifffile.TiffWriter(file, bigtiff=True, ome=True) as tiff:
            for index, level in enumerate(self._levels):
                scale = 2**index
                own: dict[str, Any] = {"subfiletype": 1} if index else {"subifds": len(self._levels) - 1}
                tiff.write(
                    self._stored(level),
                    shape=(self._channels, level.height, level.width),
                    dtype=np.uint8,
                    tile=(_TILE_PX, _TILE_PX),
                    compression="zlib",
                    photometric="minisblack",
                    resolution=(_UM_PER_CM / step_x_um / scale, _UM_PER_CM / step_y_um / scale),
                    resolutionunit="CENTIMETER",
                    metadata=None if index else metadata,
                    **own,
                )

    def _begin(self, grid: TileGrid) -> None:
        self._grid = grid
        width, height = grid.mosaic_width, grid.mosaic_height
        self._levels = [_Level(self._channels, width, height)]
        while max(width, height) > _SMALLEST_PX:
            width, height = -(-width // 2), -(-height // 2)
            self._levels.append(_Level(self._channels, width, height))

    def _add(self, shares: Bytes, left: int, rows: int) -> None:
        """Add rows whose columns begin at some pixel; zeros around."""
        width = self._levels[0].width
        for start in range(0, rows, _TILE_PX):
            count = min(_TILE_PX, rows - start)
            block = np.zeros((self._channels, count, width), np.uint8)
            part = shares[:, start : start + count]
            block[:, : part.shape[1], left : left + part.shape[2]] = part
            self._add_to(0, block)

    def _add_to(self, index: int, block: Bytes) -> None:
        for band in self._levels[index].bands(block):
            self._store(self._levels[index], band)
            if index + 1 < len(self._levels):
                self._add_to(index + 1, _halved(band))

    def _store(self, level: _Level, band: Bytes) -> None:
        height, width = (-(-size // _TILE_PX) * _TILE_PX for size in band.shape[1:])
        padded = np.zeros((self._channels, height, width), np.uint8)
        padded[:, : band.shape[1], : band.shape[2]] = band
        tiles = [
            (channel, padded[channel, :, x : x + _TILE_PX].tobytes())
            for channel in range(self._channels)
            for x in range(0, width, _TILE_PX)
        ]
        with ThreadPoolExecutor(available_cores()) as pool:
            packed = pool.map(lambda tile: zlib.compress(tile[1], _ZLIB_LEVEL), tiles)
            for (channel, _), content in zip(tiles, packed, strict=True):
                level.places[channel].append((self._spool.tell(), len(content)))
                self._spool.write(content)

    def _stored(self, level: _Level) -> Iterator[bytes]:
        for places in level.places:
            for offset, length in places:
                self._spool.seek(offset)
                yield self._spool.read(length)


class _Level:
    """One resolution, from top to bottom."""

    def __init__(self, channels: int, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows_known = 0
        self.places: list[list[tuple[int, int]]] = [[] for _ in range(channels)]
        self._pending = np.empty((channels, 0, width), np.uint8)

    def bands(self, block: Bytes) -> Iterator[Bytes]:
        """Take rows, and yield those that fill a row of tiles or are the last."""
        self.rows_known += block.shape[1]
        self._pending = np.concatenate((self._pending, block), axis=1)
        while self._pending.shape[1] >= _TILE_PX:
            yield self._pending[:, :_TILE_PX]
            self._pending = self._pending[:, _TILE_PX:]
        if self.rows_known == self.height and self._pending.shape[1]:
            yield self._pending
            self._pending = self._pending[:, :0]


def _halved(band: Bytes) -> Bytes:
    """Return the means of 2 x 2 pixels, rounded; the last row or column counts twice where it is alone."""
    odd = [(0, 0), (0, band.shape[1] % 2), (0, band.shape[2] % 2)]
    even = np.pad(band, odd, mode="edge").astype(np.uint16)
    sums = even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
    return ((sums + 2) // 4).astype(np.uint8)


def _color(rgb: tuple[int, int, int]) -> int:
    """Return a color as OME wants it: red, green, blue, alpha as the bytes of a signed number."""
    return int.from_bytes(bytes((*rgb, 255)), "big", signed=True)
