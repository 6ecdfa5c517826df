"""Images in memory: arrays, and files that are read as a whole."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from qpbridge.core.arrays import RgbImage
from qpbridge.core.geometry import PixelCalibration
from qpbridge.errors import DamagedSlideError, InvalidValueError, UnsupportedImageError
from qpbridge.slides.slide import Level, file_fingerprint, pyramid

_MODES: Final = {
    "1": "black and white",
    "L": "8-bit gray",
    "LA": "8-bit gray with transparency",
    "P": "8-bit indexed color",
    "I;16": "16-bit gray",
    "I": "32-bit gray",
    "F": "floating-point gray",
    "CMYK": "CMYK",
}


class ArraySource:
    """A pyramid in memory.

    Parameters
    ----------
    levels : sequence of ndarray of uint8, shape (H, W, 3)
        The finest first.
    calibration : PixelCalibration or None
        Of the finest level.
    path : Path
        What the image is called.
    fingerprint : str or None
        Identity of the content; by default computed from the pixels of the finest level.

    Raises
    ------
    InvalidValueError
        If a level is no RGB image.
    """

    def __init__(
        self,
        levels: Sequence[RgbImage],
        *,
        calibration: PixelCalibration | None = None,
        path: Path = Path("memory"),
        fingerprint: str | None = None,
    ) -> None:
        for pixels in levels:
            if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
                raise InvalidValueError(f"a level must be RGB of uint8, not {pixels.dtype} of shape {pixels.shape}")
        self._pixels = tuple(levels)
        self.path = path
        self.calibration = calibration
        self.levels: tuple[Level, ...] = pyramid([(pixels.shape[1], pixels.shape[0]) for pixels in levels])
        self.width_px = self.levels[0].width
        self.height_px = self.levels[0].height
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        """Identity of the content."""
        if self._fingerprint is None:
            digest = hashlib.sha256(np.ascontiguousarray(self._pixels[0]).data)
            self._fingerprint = f"sha256:{self.width_px}x{self.height_px}:{digest.hexdigest()}"
        return self._fingerprint

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> RgbImage:
        """Return a view of one level's pixels."""
        return self._pixels[level][y : y + height, x : x + width]

    def close(self) -> None:
        """Do nothing: the arrays belong to who gave them."""


def open_with_pillow(path: Path) -> ArraySource | None:
    """Read a whole image file (PNG, JPEG, BMP) into memory.

    No pixel size is taken from such files: theirs is the print resolution that a camera or program made up.

    Returns
    -------
    ArraySource or None
        None where Pillow does not know the file.

    Raises
    ------
    UnsupportedImageError
        If it is not RGB or too large to be read as a whole.
    DamagedSlideError
        If it cannot be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path)
    except UnidentifiedImageError:
        return None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UnsupportedImageError(
            f"{path} has more than {limit:.0f} million px, too many to be read as a whole; "
            "convert it to a pyramidal TIFF"
        ) from error
    with image:
        if image.mode not in ("RGB", "RGBA"):
            kind = _MODES.get(image.mode, f"of mode {image.mode}")
            raise UnsupportedImageError(f"{path} is {kind}; only images of three 8-bit channels (RGB) can be read")
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise DamagedSlideError(f"{path} cannot be decoded ({error}); copy it again from its origin") from error
        pixels = on_white(np.asarray(image))
    height, width = pixels.shape[:2]
    return ArraySource([pixels], path=path, fingerprint=file_fingerprint(path, width, height))


def on_white(pixels: RgbImage) -> RgbImage:
    """Return pixels without their alpha channel, if they have one, laid over white."""
    if pixels.shape[2] == 3:
        return pixels
    ink = (255 - pixels[..., :3]).astype(np.uint16) * pixels[..., 3:]
    return (255 - (ink + 127) // 255).astype(np.uint8)
