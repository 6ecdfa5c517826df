"""Pixel sizes, regions and fields of view. Regions are in level-0 px of the image that QuPath shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qpbridge.errors import InvalidValueError

MPP_FIT_TOLERANCE = 0.03
"""Relative error of pixel size accepted to avoid resampling; scanners of one nominal magnification vary by more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelCalibration:
    """Size of a level-0 pixel.

    Parameters
    ----------
    mpp_x, mpp_y : float
        Micrometres per pixel, finite and positive.

    Raises
    ------
    InvalidValueError
        If a pixel size is not finite and positive.
    """

    mpp_x: float
    mpp_y: float

    def __post_init__(self) -> None:
        for mpp in (self.mpp_x, self.mpp_y):
            if not (math.isfinite(mpp) and mpp > 0):
                raise InvalidValueError(f"a pixel size must be a positive number of µm/px, not {mpp}")

    @classmethod
    def square(cls, mpp: float) -> PixelCalibration:
        """Return the calibration of square pixels."""
        return cls(mpp_x=mpp, mpp_y=mpp)

    @property
    def pixel_area_um2(self) -> float:
        """Area of one level-0 pixel, µm²."""
        return self.mpp_x * self.mpp_y

    def is_near(self, other: PixelCalibration) -> bool:
        """Whether both axes are those of another, up to ``MPP_FIT_TOLERANCE``."""
        ratios = (self.mpp_x / other.mpp_x, self.mpp_y / other.mpp_y)
        return all(abs(ratio - 1) <= MPP_FIT_TOLERANCE for ratio in ratios)

    def fitted_to(self, mpp: float) -> PixelCalibration:
        """Return a calibration in which ``mpp`` is a whole number of pixels, where that is nearly so already.

        A slide of 0.499 µm/px serves a model of 0.5 µm/px pixel by pixel: resampling by 1.002 would only
        blur. Axes further away than ``MPP_FIT_TOLERANCE`` stay as they are.
        """
        return PixelCalibration(mpp_x=_fit(self.mpp_x, mpp), mpp_y=_fit(self.mpp_y, mpp))


def _fit(native_mpp: float, mpp: float) -> float:
    pixels = max(1, round(mpp / native_mpp))
    fitted = mpp / pixels
    return fitted if abs(fitted / native_mpp - 1) <= MPP_FIT_TOLERANCE else native_mpp


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Rectangle in level-0 px; may be fractional and may reach beyond the image.

    Raises
    ------
    InvalidValueError
        If it has no area.
    """

    x_px: float
    y_px: float
    width_px: float
    height_px: float

    def __post_init__(self) -> None:
        if not (self.width_px > 0 and self.height_px > 0):
            raise InvalidValueError(f"a region must have an area, not {self.width_px} x {self.height_px} px")

    @property
    def right_px(self) -> float:
        """Right edge, level-0 px."""
        return self.x_px + self.width_px

    @property
    def bottom_px(self) -> float:
        """Lower edge, level-0 px."""
        return self.y_px + self.height_px

    @property
    def center_px(self) -> tuple[float, float]:
        """Center (x, y), level-0 px."""
        return self.x_px + self.width_px / 2, self.y_px + self.height_px / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOfView:
    """What a view shows: a square of ``size_px`` pixels of ``mpp`` micrometres each."""

    size_px: int
    mpp: float

    def __post_init__(self) -> None:
        if self.size_px < 1 or not (math.isfinite(self.mpp) and self.mpp > 0):
            raise InvalidValueError(f"a field of view cannot have {self.size_px} px of {self.mpp} µm")

    @property
    def extent_um(self) -> float:
        """Edge length, µm."""
        return self.size_px * self.mpp


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One named input of a model. The first view of a model is its finest; targets and output lie in its frame."""

    name: str
    fov: FieldOfView
