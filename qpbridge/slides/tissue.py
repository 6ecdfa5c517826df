"""Where tissue lies on a slide: coarse, and rather too much than too little."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import Mask, RgbImage
from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.slides.slide import Slide

MASK_MPP: Final = 8.0
"""Pixel size of the mask in µm, where the slide is not too large for it."""

MASK_LIMIT_PX: Final = 4096
"""Longest edge of the mask."""

RIM_UM: Final = 50.0
"""How far the mask reaches beyond the tissue found, so that nothing at its rim is lost."""

GAP_UM: Final = 25.0
"""Gaps up to twice this and the rim are closed: fat is mostly holes."""

SPECK_UM2: Final = 1500.0
"""Smaller things are dust."""

STAIN_RANGE: Final = (0.04, 0.10)
"""Bounds of the optical density that surely is tissue: below, glass is uneven; above, pale stains would be lost."""

_Number = TypeVar("_Number", np.uint8, np.float32)

_FAINT_SHARE: Final = 0.5
_GLASS_MIN: Final = 200
_GLASS_MAX_CHROMA: Final = 24
_GLASS_MIN_SHARE: Final = 0.08
_FILL_MIN: Final = 254
_GLASS_USUAL: Final = 243


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TissueMask:
    """Tissue of one slide.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        Tissue and a rim of ``RIM_UM`` around it; begins at the slide's upper left corner.
    downsample : float
        Level-0 px per mask px.
    area_um2 : float
        Area of the tissue found, without the rim.
    """

    mask: Mask
    downsample: float
    area_um2: float

    def covers(self, region: Region) -> bool:
        """Tell whether any tissue lies in a region, level-0 px."""
        return bool(self._part(region).any())

    def share(self, region: Region) -> float:
        """Return how much of a region, level-0 px, is tissue, as far as it lies on the slide; 0 outside."""
        part = self._part(region)
        return float(part.mean()) if part.size else 0.0

    def _part(self, region: Region) -> Mask:
        rows = _span(region.y_px, region.bottom_px, self.downsample)
        return self.mask[rows, _span(region.x_px, region.right_px, self.downsample)]


def tissue_mask(slide: Slide, calibration: PixelCalibration) -> TissueMask:
    """Find the tissue of a slide stained with H&E or the like.

    Tissue is what takes away light relative to the glass. The threshold is Otsu's within ``STAIN_RANGE``, so that
    an empty slide has no tissue and one without glass has nothing else; what is half as dense counts too where it
    hangs on to something denser. Pen marks count as tissue: to lose tissue would be worse.

    Parameters
    ----------
    slide : Slide
        To be looked at as a whole, in at most ``MASK_LIMIT_PX``.
    calibration : PixelCalibration
        Of the slide.

    Raises
    ------
    DamagedSlideError
        If the slide cannot be decoded.

    References
    ----------
    Otsu 1979, A threshold selection method from gray-level histograms.
    """
    mpp = math.sqrt(calibration.pixel_area_um2)
    longest_px = max(slide.width_px, slide.height_px)
    downsample = max(1.0, MASK_MPP / mpp, longest_px / MASK_LIMIT_PX)
    width, height = (math.ceil(size / downsample) for size in (slide.width_px, slide.height_px))
    extent = Region(x_px=0, y_px=0, width_px=width * downsample, height_px=height * downsample)
    found = find_tissue(slide.read(extent, width, height), mpp * downsample)
    return TissueMask(
        mask=_widened(found, mpp * downsample),
        downsample=downsample,
        area_um2=float(found.sum()) * calibration.pixel_area_um2 * downsample**2,
    )


def find_tissue(image: RgbImage, mpp: float) -> Mask:
    """Find tissue in an overview image.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        Overview.
    mpp : float
        Its pixel size, µm.

    Returns
    -------
    ndarray of bool, shape (H, W)
        Without a rim.
    """
    from skimage.filters import apply_hysteresis_threshold, gaussian, threshold_otsu
    from skimage.measure import label

    glass = _glass_color(image)
    # The channel that is absorbed most: green for H&E, another for other stains and pens.
    darkest = _extremes(np.divide(image, glass, dtype=np.float32))[0]
    density = gaussian(-np.log(np.clip(darkest, 1 / 255, 1)), sigma=1)
    threshold = float(np.clip(threshold_otsu(density), *STAIN_RANGE))
    stained = apply_hysteresis_threshold(density, _FAINT_SHARE * threshold, threshold)
    pieces = label(stained)
    is_large = np.bincount(pieces.ravel()) * mpp**2 >= SPECK_UM2
    is_large[0] = False
    return np.asarray(is_large[pieces])


def _glass_color(image: RgbImage) -> npt.NDArray[np.float32]:
    """Return the color of glass: a sharp peak among bright, colorless pixels, or a usual one where there is none."""
    low, high = _extremes(image)
    low = np.where(high - low > _GLASS_MAX_CHROMA, 0, low)
    shares = np.bincount(low.ravel(), minlength=256) / low.size
    # Pure white is what scanners and readers fill up with; it is glass only where nothing else is.
    peaks = np.convolve(np.where(np.arange(256) < _FILL_MIN, shares, 0), np.ones(5), "same")
    peak = _GLASS_MIN + int(peaks[_GLASS_MIN:].argmax())
    if peaks[peak] >= _GLASS_MIN_SHARE:
        return np.asarray(np.median(image[abs(low.astype(np.int16) - peak) <= 2], axis=0), np.float32)
    is_overexposed = shares[_FILL_MIN:].sum() >= _GLASS_MIN_SHARE
    return np.full(3, 255 if is_overexposed else _GLASS_USUAL, np.float32)


def _extremes(image: npt.NDArray[_Number]) -> tuple[npt.NDArray[_Number], npt.NDArray[_Number]]:
    """Return the lowest and the highest of three channels; numpy's own reduction takes ten times as long."""
    red, green, blue = np.moveaxis(image, -1, 0)
    return np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)


def _widened(tissue: Mask, mpp: float) -> Mask:
    from skimage.morphology import isotropic_dilation, isotropic_erosion

    if not tissue.any():
        return tissue
    wide = np.asarray(isotropic_dilation(tissue, (RIM_UM + GAP_UM) / mpp))
    # Nothing can be eroded from what has no border.
    return wide if wide.all() else np.asarray(isotropic_erosion(wide, GAP_UM / mpp))


def _span(begin_px: float, end_px: float, downsample: float) -> slice:
    return slice(max(0, math.floor(begin_px / downsample)), max(0, math.ceil(end_px / downsample)))
