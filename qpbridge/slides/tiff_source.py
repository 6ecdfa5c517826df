"""TIFF and OME-TIFF files that OpenSlide refuses."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile

from qpbridge.core.arrays import RgbImage
from qpbridge.core.geometry import PixelCalibration
from qpbridge.errors import DamagedSlideError, QpbridgeError, UnsupportedImageError
from qpbridge.slides.array_source import on_white
from qpbridge.slides.slide import Level, file_fingerprint, plausible_calibration, pyramid

_AXES: Final = {"Z": "z-slices", "T": "time points", "C": "channels", "S": "samples a pixel"}
_INTERLEAVED: Final = "YXS"
_PLANAR: Final = "SYX"
_UM_PER_UNIT: Final[Mapping[str, float]] = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "\\u00B5m": 1.0,
    "nm": 1e-3,
    "in": 25400.0,
    "inch": 25400.0,
}
_UM_PER_RESOLUTION_UNIT: Final[Mapping[int, float]] = {2: 25400.0, 3: 1e4, 4: 1e3, 5: 1.0}
_DECODING_ERRORS: Final = (
    tifffile.TiffFileError,
    RuntimeError,
    ValueError,
    LookupError,
    OSError,
    EOFError,
    struct.error,
    zlib.error,
)


class TiffSource:
    """An RGB image in a TIFF file; only the tiles that a window meets are decoded.

    Parameters
    ----------
    path : Path
        Of the file.

    Raises
    ------
    tifffile.TiffFileError, struct.error
        If it is no TIFF file.
    UnsupportedImageError
        If its first image is not RGB with 8 bits a channel, or is a stack.
    DamagedSlideError
        If its directories cannot be read, or it is cut off.
    """

    def __init__(self, path: Path) -> None:
        import zarr

        self._file = tifffile.TiffFile(path)
        self.path = path
        try:
            series = self._file.series[0]
            _check_series(series, path)
            self._is_planar = series.axes == _PLANAR
            _check_whole(series, path)
            # Tiles that a scanner left out are glass.
            stores = [series.aszarr(level=level, fillvalue=255) for level in range(len(series.levels))]
            self._arrays: list[Any] = [zarr.open_array(store, mode="r") for store in stores]
            self.calibration: PixelCalibration | None = _calibration(self._file)
        except QpbridgeError:
            self.close()
            raise
        except _DECODING_ERRORS as error:
            self.close()
            raise DamagedSlideError(f"{path} cannot be opened ({error}); copy it again from its origin") from error
        sizes = [array.shape[1:] if self._is_planar else array.shape[:2] for array in self._arrays]
        self.levels: tuple[Level, ...] = pyramid([(width, height) for height, width in sizes])
        self.width_px = self.levels[0].width
        self.height_px = self.levels[0].height

    @property
    def fingerprint(self) -> str:
        """Identity of the content."""
        return file_fingerprint(self.path, self.width_px, self.height_px)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> RgbImage:
        """Read pixels of one level."""
        window = slice(y, y + height), slice(x, x + width)
        try:
            pixels = np.asarray(self._arrays[level][(slice(None), *window) if self._is_planar else window])
        except _DECODING_ERRORS as error:
            raise DamagedSlideError(
                f"{self.path} cannot be decoded in level {level} at ({x}, {y}), {width} x {height} px ({error}); "
                "copy it again from its origin"
            ) from error
        return on_white(np.moveaxis(pixels, 0, -1) if self._is_planar else pixels)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_with_tifffile(path: Path) -> TiffSource | None:
    """Open a TIFF file.

    Returns
    -------
    TiffSource or None
        None where it is no TIFF file.

    Raises
    ------
    UnsupportedImageError
        If its first image is not RGB with 8 bits a channel, or is a stack.
    DamagedSlideError
        If its directories cannot be read.
    """
    try:
        return TiffSource(path)
    except (tifffile.TiffFileError, struct.error):
        return None


def check_rgb(path: Path) -> None:
    """Refuse a TIFF file whose first page is not RGB: OpenSlide would show it as if it were.

    Raises
    ------
    UnsupportedImageError
        If it has not three or four channels of 8 bits.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if page.samplesperpixel not in (3, 4) or page.dtype != np.uint8:
            raise _refusal(path, [f"{page.samplesperpixel} samples a pixel"], page)


def _check_series(series: tifffile.TiffPageSeries, path: Path) -> None:
    page = series.keyframe
    sizes = dict(zip(series.axes, series.shape, strict=True))
    is_rgb = series.axes in (_INTERLEAVED, _PLANAR) and sizes["S"] in (3, 4)
    is_decoded = page.photometric == tifffile.PHOTOMETRIC.RGB or (
        page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression == tifffile.COMPRESSION.JPEG
    )
    if not (is_rgb and series.dtype == np.uint8 and is_decoded):
        counts = [f"{size} {_AXES.get(axis, 'pages')}" for axis, size in sizes.items() if axis not in "YX"]
        raise _refusal(path, counts, page)


def _check_whole(series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse a file that ends before its data do: what is missing would be shown as glass."""
    size = path.stat().st_size
    for level in series.levels:
        ends = np.add(level.keyframe.dataoffsets, level.keyframe.databytecounts)
        if not len(ends) or ends.max() > size:
            raise DamagedSlideError(f"{path} is cut off after {size} bytes; copy it again from its origin")


def _refusal(path: Path, counts: list[str], page: tifffile.TiffPage) -> UnsupportedImageError:
    colors = getattr(page.photometric, "name", page.photometric)
    kind = ", ".join([*counts, f"{page.dtype}", f"color model {colors}"])
    return UnsupportedImageError(
        f"{path} is an image of {kind}; only single images of three 8-bit channels (RGB) can be read"
    )


def _calibration(file: tifffile.TiffFile) -> PixelCalibration | None:
    mpp_x, mpp_y = _ome_mpp(file) or _imagej_mpp(file) or _resolution_mpp(file) or (None, None)
    return plausible_calibration(mpp_x, mpp_y)


def _ome_mpp(file: tifffile.TiffFile) -> tuple[float, float] | None:
    if not file.ome_metadata:
        return None
    pixels = next((node for node in ET.fromstring(file.ome_metadata).iter() if node.tag.endswith("}Pixels")), None)
    if pixels is None or "PhysicalSizeX" not in pixels.attrib or "PhysicalSizeY" not in pixels.attrib:
        return None
    mpp_x, mpp_y = (
        float(pixels.attrib[f"PhysicalSize{axis}"])
        * _UM_PER_UNIT.get(pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm"), 0.0)
        for axis in "XY"
    )
    return mpp_x, mpp_y


def _imagej_mpp(file: tifffile.TiffFile) -> tuple[float, float] | None:
    unit = (file.imagej_metadata or {}).get("unit")
    return _scaled_resolution(file, _UM_PER_UNIT.get(str(unit)))


def _resolution_mpp(file: tifffile.TiffFile) -> tuple[float, float] | None:
    unit = file.pages.first.tags.valueof("ResolutionUnit", default=2)
    return _scaled_resolution(file, _UM_PER_RESOLUTION_UNIT.get(int(unit)))


def _scaled_resolution(file: tifffile.TiffFile, um_per_unit: float | None) -> tuple[float, float] | None:
    stated = [file.pages.first.tags.valueof(name) for name in ("XResolution", "YResolution")]
    if um_per_unit is None or any(value is None or not value[0] for value in stated):
        return None
    mpp_x, mpp_y = (um_per_unit * parts / pixels for pixels, parts in stated)
    return mpp_x, mpp_y
