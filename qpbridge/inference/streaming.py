"""Outlines of a mosaic that is still being labelled, each as soon as nothing can change it any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import cc3d
import numpy as np
import numpy.typing as npt
import shapely

from qpbridge.core.arrays import LabelMap, Mask
from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.inference.interest import Interest
from qpbridge.inference.objects import on_slide, outlines, pixel_area
from qpbridge.inference.outlining import Outlining
from qpbridge.inference.predicting import Mosaic
from qpbridge.vector.cutting import cut, touches_border
from qpbridge.vector.merging import merge_small
from qpbridge.vector.placing import translate
from qpbridge.vector.polygons import LabelledPolygon, vectorize

_PAUSE = 4
"""How many times as long as the last look took it is until the next one: so looks take a fifth of the time at most."""


def stream_outlines(
    rows: Iterable[tuple[Mosaic, int]],
    calibration: PixelCalibration,
    outlining: Outlining,
    interest: Interest,
    bounds: Region,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[list[LabelledPolygon]]:
    """Yield the outlines of a mosaic that comes row after row; together they are those of ``outlines``.

    Smoothing looks at all outlines at once, and so does cutting along anything but a rectangle: what they concern
    comes at the end.

    Parameters
    ----------
    rows : iterable of (Mosaic, int)
        From ``label_rows``. The labels are changed.
    calibration : PixelCalibration
        True pixel size of the slide.
    outlining : Outlining
        What to leave out and to smooth.
    interest : Interest
        Outlines end at its borders.
    bounds : Region
        The image, level-0 px.
    clock : callable
        Returns seconds.
    """
    min_area_um2, may_vanish = outlining.min_area_um2, interest.is_all_of(bounds)
    mosaic, growing, pause_until_s = None, None, -np.inf
    at_border: list[LabelledPolygon] = []
    for mosaic, known in rows:
        is_last = known == len(mosaic.labels)
        if outlining.smooth_um or not (is_last or clock() >= pause_until_s):
            continue
        began_s = clock()
        growing = growing or Growing(mosaic.labels, min_area_um2 / pixel_area(mosaic, calibration), may_vanish)
        polygons = on_slide(growing.take(known), mosaic, interest.bounds)
        yield from _apart(polygons, interest, at_border)
        pause_until_s = clock() + _PAUSE * (clock() - began_s)
    if mosaic is not None and outlining.smooth_um:
        yield outlines(mosaic, calibration, outlining, bounds, interest)
    if at_border:
        yield cut(at_border, interest.geometry)


def _apart(
    polygons: list[LabelledPolygon], interest: Interest, at_border: list[LabelledPolygon]
) -> Iterator[list[LabelledPolygon]]:
    """Yield the polygons that are inside, and keep those at the border."""
    if not interest.is_box and polygons:
        near = touches_border(polygons, interest.geometry)
        at_border += [polygon for polygon, is_near in zip(polygons, near, strict=True) if is_near]
        apart = [polygon for polygon, is_near in zip(polygons, near, strict=True) if not is_near]
        polygons = cut(apart, interest.geometry)
    if polygons:
        yield polygons


class Growing:
    """Pieces of a label map that becomes known from top to bottom.

    A piece is given once neither its pixels nor the labels around it can change. Small pieces that hang together
    decide among themselves whom they join, and nobody else matters to that: so they are decided when none of them
    goes on below the last row known.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        C order; small pieces change their labels in it.
    min_area_px, may_vanish
        As for ``remove_small``.
    """

    def __init__(self, labels: LabelMap, min_area_px: float, may_vanish: bool = True) -> None:
        self._labels = labels
        self._may_vanish = may_vanish
        self._min_area_px = min_area_px
        self._top = 0
        self._given = np.empty(0, np.int64)

    def take(self, rows: int) -> list[LabelledPolygon]:
        """Return the pieces that are final now and were not before, as ``vectorize`` does after ``remove_small``.

        Parameters
        ----------
        rows : int
            So many rows are known.
        """
        # The row above the first unfinished piece belongs to finished ones; it says what lies around.
        begin = max(0, self._top - 1)
        part, has_context = self._labels[begin:rows], self._top > 0
        is_last = rows == len(self._labels)
        open_small = self._decide(part, has_context, is_last)
        polygons = vectorize(part)
        if not polygons:
            self._top = rows
            return []
        geometries = np.array([polygon.geometry for polygon in polygons], dtype=object)
        _, tops, _, bottoms = shapely.bounds(geometries).T
        x, y = _first_pixels(geometries)
        places = (begin + y) * self._labels.shape[1] + x
        was_given = np.isin(places, self._given) | ((tops == 0) & has_context)
        is_open = (bottoms == len(part)) & (not is_last)
        is_ready = ~was_given & ~is_open & ~_next_to(geometries, open_small[y, x])
        unfinished = tops[~was_given & ~is_ready]
        self._top = begin + int(unfinished.min()) if unfinished.size else rows
        given = np.concatenate((self._given, places[is_ready]))
        self._given = given[given >= self._top * self._labels.shape[1]]
        return translate([polygons[i] for i in np.flatnonzero(is_ready)], 0, begin)

    def _decide(self, part: LabelMap, has_context: bool, is_last: bool) -> Mask:
        """Let small pieces join their neighbors where that is decided; return the pixels where it is not."""
        if self._min_area_px <= 1:
            return np.zeros(part.shape, np.bool_)
        # The ignore index wraps around to 0: nobody's, and never small.
        ids, count = cc3d.connected_components(part + np.uint8(1), connectivity=4, return_N=True, out_dtype=np.uint32)
        areas = cc3d.statistics(ids, no_slice_conversion=True)["voxel_counts"]
        is_fixed = np.zeros(count + 1, np.bool_)
        is_fixed[0] = True
        if has_context:
            is_fixed[ids[0]] = True
        undecided = np.zeros(part.shape, np.bool_)
        if not is_last:
            undecided = _reaching_down((areas < self._min_area_px)[ids] & ~is_fixed[ids])
            is_fixed[ids[undecided]] = True
        is_fixed[0] = False
        merge_small(part, ids.astype(np.uint32, copy=False), count, self._min_area_px, is_fixed, self._may_vanish)
        return undecided


def _reaching_down(mask: Mask) -> Mask:
    """Return the 4-connected parts of a mask that touch its last row."""
    clusters = cc3d.connected_components(mask.view(np.uint8), connectivity=4, out_dtype=np.uint32)
    is_low = np.zeros(int(clusters.max()) + 1, np.bool_)
    is_low[clusters[-1]] = True
    is_low[0] = False
    return np.asarray(is_low[clusters])


def _first_pixels(geometries: npt.NDArray[np.object_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    # A shell's last point but the closing one is the corner of its first pixel.
    points = shapely.get_coordinates(shapely.get_point(shapely.get_exterior_ring(geometries), -2))
    x, y = points.astype(np.int64).T
    return x, y


def _next_to(geometries: npt.NDArray[np.object_], is_undecided: Mask) -> Mask:
    """Return which polygons are undecided or touch one that is."""
    touching = is_undecided.copy()
    if is_undecided.any():
        near, _ = shapely.STRtree(geometries[is_undecided]).query(geometries, predicate="intersects")
        touching[near] = True
    return touching
