"""Resampling whose phase is fixed by coordinates: a place looks the same whichever window it is read in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from qpbridge.core.arrays import RgbImage

SNAP_PX: Final = 1e-3
"""Misfit to the pixel grid that is taken as rounding; it changes no pixel by more than a quarter of a gray value."""

WHITE: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAxis:
    """One axis of a resolution level.

    Parameters
    ----------
    size : int
        Number of pixels.
    downsample : float
        Level-0 px per pixel.
    origin_px : float
        Where its first pixel begins, level-0 px.
    image_px : float
        Extent of the image; what lies outside 0 to ``image_px`` is not shown.
    """

    size: int
    downsample: float
    origin_px: float
    image_px: float

    @property
    def shown(self) -> tuple[float, float]:
        """First and last position that is shown, px of this axis.

        A level whose size was rounded down ends up to one pixel before the image does: its outermost pixel
        stands for the rest.
        """
        begin = -self.origin_px / self.downsample
        end = begin + self.image_px / self.downsample
        return begin if begin > -1 else 0.0, end if end < self.size + 1 else float(self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisPlan:
    """How the pixels of one output axis come from those of a source axis.

    Parameters
    ----------
    first, count : int
        Source pixels needed; ``count`` is 0 where the output lies outside the image.
    weights : csr_matrix of float32, shape (output pixels, count)
        Rows sum to the share of the output pixel that lies inside the image.
    copy_at : int or None
        Output pixel that is source pixel ``first``, where all are plain copies.
    """

    first: int
    count: int
    weights: csr_matrix
    copy_at: int | None


def plan_axis(source: SourceAxis, start_px: float, extent_px: float, count: int) -> AxisPlan:
    """Plan the resampling of one axis: area averages where it shrinks, linear interpolation where it enlarges.

    Parameters
    ----------
    source : SourceAxis
        Of the level to read.
    start_px, extent_px : float
        Stretch to cover, level-0 px.
    count : int
        Number of output pixels.
    """
    step = extent_px / count / source.downsample
    if round(step) >= 1 and abs(step - round(step)) * count < SNAP_PX:
        step = round(step)
    start = (start_px - source.origin_px) / source.downsample
    if abs(start - round(start)) < SNAP_PX:
        start = round(start)
    columns, weights = (_averages if step >= 1 else _interpolations)(source, start, step, count)
    return _plan(np.clip(columns, 0, source.size - 1), weights)


def resample_into(image: RgbImage, pixels: RgbImage, rows: AxisPlan, columns: AxisPlan) -> None:
    """Resample the source pixels that two plans ask for into an image.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        In the size that the plans were made for, white; what lies outside the source stays so.
    pixels : ndarray of uint8, shape (rows.count, columns.count, 3)
        Rows and columns from ``first`` on.
    """
    if rows.copy_at is not None and columns.copy_at is not None:
        image[rows.copy_at : rows.copy_at + rows.count, columns.copy_at : columns.copy_at + columns.count] = pixels
        return
    height, width = image.shape[:2]
    # Ink instead of light: what lies outside weighs nothing and so comes out white.
    ink = np.subtract(WHITE, pixels, dtype=np.float32)
    squeezed = (rows.weights @ ink.reshape(rows.count, -1)).reshape(height, columns.count, 3)
    turned = cv2.transpose(squeezed).reshape(columns.count, -1)
    result = cv2.transpose((columns.weights @ turned).reshape(width, height, 3)).reshape(height, width, 3)
    np.subtract(WHITE + 0.5, result, out=image, dtype=np.float32, casting="unsafe")


_Indices = npt.NDArray[np.int64]
_Weights = npt.NDArray[np.float64]


def _averages(source: SourceAxis, start: float, step: float, count: int) -> tuple[_Indices, _Weights]:
    edges = np.clip(start + step * np.arange(count + 1), *source.shown)
    begin, end = edges[:-1, None], edges[1:, None]
    columns = np.floor(begin).astype(np.int64) + np.arange(math.ceil(step) + 1)
    covered = np.minimum(end, columns + 1) - np.maximum(begin, columns)
    return columns, np.maximum(covered, 0) / step


def _interpolations(source: SourceAxis, start: float, step: float, count: int) -> tuple[_Indices, _Weights]:
    low, high = source.shown
    centers = start + step * (np.arange(count)[:, None] + 0.5)
    before = np.floor(centers - 0.5)
    share = centers - 0.5 - before
    inside = (centers >= low) & (centers < high)
    columns = np.concatenate([before, before + 1], axis=1)
    columns = np.clip(columns, math.floor(low), math.ceil(high) - 1).astype(np.int64)
    return columns, np.concatenate([1 - share, share], axis=1) * inside


def _plan(columns: _Indices, weights: _Weights) -> AxisPlan:
    count, width = columns.shape
    used = weights > 0
    if not used.any():
        return AxisPlan(first=0, count=0, weights=csr_matrix((count, 0), dtype=np.float32), copy_at=None)
    first, last = int(columns[used].min()), int(columns[used].max())
    matrix = csr_matrix(
        (
            weights.astype(np.float32).ravel(),
            np.where(used, columns - first, 0).ravel(),
            np.arange(0, count * width + 1, width),
        ),
        shape=(count, last - first + 1),
    )
    rows = np.flatnonzero(used.any(axis=1))
    is_copy = bool(np.all(weights[used] == 1)) and len(rows) == last - first + 1
    return AxisPlan(first=first, count=last - first + 1, weights=matrix, copy_at=int(rows[0]) if is_copy else None)
