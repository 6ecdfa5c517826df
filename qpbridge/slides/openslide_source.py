"""Slides that OpenSlide opens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, cast

import cv2
import numpy as np
import openslide
from PIL import Image, ImageCms, ImageColor

from qpbridge.core.arrays import RgbImage
from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.errors import DamagedSlideError, UnsupportedImageError
from qpbridge.slides.slide import Level, PixelSource, file_fingerprint, plausible_calibration, pyramid
from qpbridge.slides.transforms import CroppedSource

NO_CROP: Final = "--no-crop"
"""Argument of QuPath's OpenSlide reader: show the whole scan, not only the part inside the slide's bounds."""

ICC_PROFILE: Final = "--icc-profile"
"""Argument of QuPath's OpenSlide reader: turn colors into sRGB by the profile embedded in the slide."""

BACKGROUND: Final = "--background-color"
"""Argument of QuPath's OpenSlide reader: what lies below transparent pixels."""

GENERIC_TIFF: Final = "generic-tiff"
"""What OpenSlide calls tiled TIFF files that no scanner it knows has written."""

_BLOCK_PX: Final = 512
_BOUNDS: Final = ("bounds-x", "bounds-y", "bounds-width", "bounds-height")


class OpenSlideSource:
    """A slide read by OpenSlide, uncropped.

    Parameters
    ----------
    path : Path
        Of the file.
    args : sequence of str
        Arguments of QuPath's reader.

    Raises
    ------
    DamagedSlideError
        If OpenSlide knows the format but cannot open the file.
    UnsupportedImageError
        If an ICC profile is asked for that the slide does not have.
    """

    def __init__(self, path: Path, args: Sequence[str] = ()) -> None:
        try:
            self._slide = openslide.OpenSlide(path)
        except openslide.OpenSlideError as error:
            raise DamagedSlideError(f"{path} cannot be opened ({error}); copy it again from its origin") from error
        self.path = path
        self.levels: tuple[Level, ...] = pyramid(self._slide.level_dimensions)
        self.width_px, self.height_px = self._slide.dimensions
        self.calibration: PixelCalibration | None = plausible_calibration(
            _number(self._slide, "mpp-x"), _number(self._slide, "mpp-y")
        )
        self._background = _background(self._slide, args)
        self._to_srgb = self._color_transform() if ICC_PROFILE in args else None

    @property
    def bounds(self) -> Region | None:
        """Part of the scan that the scanner calls the slide, None where it names none."""
        x_px, y_px, width_px, height_px = (_number(self._slide, name) for name in _BOUNDS)
        if x_px is None or y_px is None or not width_px or not height_px:
            return None
        return Region(x_px=x_px, y_px=y_px, width_px=width_px, height_px=height_px)

    @property
    def fingerprint(self) -> str:
        """OpenSlide's hash of metadata and smallest level, or else of the file's ends."""
        quickhash = self._slide.properties.get(openslide.PROPERTY_NAME_QUICKHASH1)
        if quickhash is None:
            return file_fingerprint(self.path, self.width_px, self.height_px)
        return f"quickhash-1:{quickhash}"

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> RgbImage:
        """Read pixels of one level.

        OpenSlide takes places in whole level-0 px and interpolates where these do not meet a pixel of the
        level, by up to half a level-0 px. Where that can happen, fixed blocks are read, so that a place looks
        the same whichever window it is read in.
        """
        if float(self._slide.level_downsamples[level]).is_integer():
            return self._read(level, x, y, width, height)
        image = np.empty((height, width, 3), np.uint8)
        for block_y, rows, rows_in_block in _blocks(y, height, self.levels[level].height):
            for block_x, columns, columns_in_block in _blocks(x, width, self.levels[level].width):
                block = self._read(level, block_x.start, block_y.start, len(block_x), len(block_y))
                image[rows, columns] = block[rows_in_block, columns_in_block]
        return image

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    def _read(self, level: int, x: int, y: int, width: int, height: int) -> RgbImage:
        downsample = self._slide.level_downsamples[level]
        try:
            image = self._slide.read_region((round(x * downsample), round(y * downsample)), level, (width, height))
        except openslide.OpenSlideError as error:
            raise DamagedSlideError(
                f"{self.path} cannot be decoded in level {level} at ({x}, {y}), {width} x {height} px ({error}); "
                "copy it again from its origin"
            ) from error
        rgba = np.asarray(image)
        if rgba.view("<u4").min() >> 24 < 255:
            image = Image.alpha_composite(Image.new("RGBA", image.size, self._background), image)
            rgba = np.asarray(image)
        pixels = cast(RgbImage, cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB))
        if self._to_srgb is None:
            return pixels
        return np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), self._to_srgb))

    def _color_transform(self) -> ImageCms.ImageCmsTransform:
        profile = self._slide.color_profile
        if profile is None:
            raise UnsupportedImageError(
                f"{self.path} has no ICC profile, but the project asks for one ({ICC_PROFILE}); "
                "add the image to the project without it"
            )
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB")


def open_with_openslide(path: Path, args: Sequence[str] = (), *, is_cropped: bool = True) -> PixelSource | None:
    """Open a slide as QuPath's OpenSlide reader shows it.

    Parameters
    ----------
    path : Path
        Of the file.
    args : sequence of str
        Arguments of QuPath's reader.
    is_cropped : bool
        Whether to show only the part inside the slide's bounds, where it has some.

    Returns
    -------
    PixelSource or None
        None where OpenSlide does not know the format.

    Raises
    ------
    DamagedSlideError
        If OpenSlide knows the format but cannot open the file.
    """
    if detect_vendor(path) is None:
        return None
    source = OpenSlideSource(path, args)
    bounds = source.bounds
    if bounds is None or NO_CROP in args or not is_cropped:
        return source
    return CroppedSource(source, bounds)


def detect_vendor(path: Path) -> str | None:
    """Return what OpenSlide calls the format of a file, None where it does not know it."""
    return openslide.OpenSlide.detect_format(path)


def _number(slide: openslide.OpenSlide, name: str) -> float | None:
    try:
        return float(slide.properties[f"openslide.{name}"])
    except (KeyError, ValueError):
        return None


def _background(slide: openslide.OpenSlide, args: Sequence[str]) -> tuple[int, ...]:
    stated = slide.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "white")
    for index, arg in enumerate(args):
        key, _, value = arg.partition("=")
        if key.strip().lower() == BACKGROUND:
            stated = value or (args[index + 1] if index + 1 < len(args) else stated)
    for spelling in (f"#{stated.strip().lstrip('#')}", stated.strip()):
        with contextlib.suppress(ValueError):
            return cast(tuple[int, ...], ImageColor.getcolor(spelling, "RGBA"))
    return (255, 255, 255, 255)


def _blocks(start: int, count: int, size: int) -> Iterator[tuple[range, slice, slice]]:
    """Yield the blocks that a stretch meets, with the part of the stretch and of the block where they meet."""
    for begin in range(start // _BLOCK_PX * _BLOCK_PX, start + count, _BLOCK_PX):
        block = range(begin, min(begin + _BLOCK_PX, size))
        first, last = max(start, begin), min(start + count, block.stop)
        yield block, slice(first - start, last - start), slice(first - begin, last - begin)
