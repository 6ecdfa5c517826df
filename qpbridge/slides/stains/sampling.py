"""Some tissue of a slide as one picture: what stains are measured on."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import RgbImage
from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.slides.slide import Slide
from qpbridge.slides.tissue import TissueMask, tissue_mask

SAMPLE_MPP: Final = 1.0
"""Pixel size, µm: nuclei are still apart from what surrounds them. The same for all slides, since strong stain is the
less strong the more is averaged."""

TILE_PX: Final = 256
"""Edge of one window."""

TILES_MAX: Final = 24
"""Windows at most, spread over the tissue."""

_ENOUGH_SHARE: Final = 0.5
"""Windows with so much tissue are all as good; there are others only where there are none of these."""


def tissue_sample(slide: Slide, calibration: PixelCalibration) -> RgbImage:
    """Return windows of a slide that hold tissue, one below the other; always the same for a slide.

    Parameters
    ----------
    slide : Slide
        As it was scanned.
    calibration : PixelCalibration
        Of the slide.

    Returns
    -------
    ndarray of uint8, shape (N * TILE_PX, TILE_PX, 3)
        RGB at ``SAMPLE_MPP``, or at the slide's own pixel size where that is coarser; N from 1 to ``TILES_MAX``.
    """
    mpp = max(SAMPLE_MPP, math.sqrt(calibration.pixel_area_um2))
    width_px, height_px = TILE_PX * mpp / calibration.mpp_x, TILE_PX * mpp / calibration.mpp_y
    columns, rows = max(1, math.ceil(slide.width_px / width_px)), max(1, math.ceil(slide.height_px / height_px))
    windows = [
        Region(x_px=column * width_px, y_px=row * height_px, width_px=width_px, height_px=height_px)
        for row in range(rows)
        for column in range(columns)
    ]
    shares = _shares(tissue_mask(slide, calibration), windows)
    return np.concatenate([slide.read(windows[i], TILE_PX, TILE_PX) for i in _spread(shares)])


def _shares(tissue: TissueMask, windows: list[Region]) -> npt.NDArray[np.float64]:
    return np.array([tissue.share(window) for window in windows])


def _spread(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    good = np.flatnonzero(shares >= min(_ENOUGH_SHARE, shares.max()))
    return np.asarray(good[np.linspace(0, len(good) - 1, min(TILES_MAX, len(good))).round().astype(np.intp)])
