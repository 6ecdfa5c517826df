"""How QuPath opens an image: what it shows is what we read."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from qpbridge.core.geometry import PixelCalibration, Region


class Rotation(enum.Enum):
    """Clockwise turn of an image."""

    NONE = 0
    ROTATE_90 = 90
    ROTATE_180 = 180
    ROTATE_270 = 270


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageServer:
    """One image of a project as QuPath shows it.

    Parameters
    ----------
    uri : str
        Of the file, as stored.
    provider : str
        Java class that opens it, e.g. ``qupath.lib.images.servers.openslide.OpenslideServerBuilder``.
    args : tuple of str
        Arguments of that reader, e.g. ``--no-crop``.
    transforms : tuple of Region or Rotation
        What QuPath does to the file's image, in this order: crops (px of the image before the crop) and turns.
    width_px, height_px : int or None
        Size of the image shown, where the project states it.
    levels : tuple of (int, int)
        Sizes (width, height) of the file's resolutions, the finest first, where the project states them and QuPath
        does not change the image.
    calibration : PixelCalibration or None
        QuPath's pixel size, None where the image is not calibrated.
    is_rgb : bool
        Whether the image has three 8-bit channels.
    size_z, size_t : int
        Number of z-slices and time points.
    """

    uri: str
    provider: str = ""
    args: tuple[str, ...] = ()
    transforms: tuple[Region | Rotation, ...] = ()
    width_px: int | None = None
    height_px: int | None = None
    levels: tuple[tuple[int, int], ...] = ()
    calibration: PixelCalibration | None = None
    is_rgb: bool = True
    size_z: int = 1
    size_t: int = 1
