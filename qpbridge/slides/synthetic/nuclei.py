"""Nuclei of a procedural slide: pressed against one another, never overlapping, with exact outlines."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from qpbridge.core.geometry import Region
from qpbridge.slides.synthetic.layout import Layout, Tissue
from qpbridge.slides.synthetic.noise import Floats, uniform

VERTICES = 28
"""Corners of a nucleus' outline."""

REACH_UM = 13.0
"""No part of a nucleus is further from its center."""

_LEAST_DENSITY = 0.01
_PITCH_UM = 10.2  # distance of candidates at density 1
_JITTER = 0.95
_GAP_UM = 0.02  # between outlines that touch
_CROWDED = 0.5  # nearer than this share of the sum of radii, only one of two nuclei stays
_GRID_PX = 0.01  # QuPath's grid for coordinates
_SHARE_IN_STROMA = 0.10
_INFILTRATE = 1.0  # the noise beyond which lymphocytes lie
_SHARE_OF_LYMPHOCYTES = 0.85  # in an infiltrate


class NucleusKind(enum.IntEnum):
    """Truth of a nucleus."""

    TUMOR = 0
    BENIGN = 1
    STROMA = 2
    IMMUNE = 3


_KINDS = {Tissue.TUMOR: NucleusKind.TUMOR, Tissue.BENIGN: NucleusKind.BENIGN}
_EPITHELIUM = (4.2, 6.6), (3.3, 4.9)
# By kind: long and short half axis, each from the smallest to the largest, µm.
_HALF_AXES_UM = np.array([_EPITHELIUM, _EPITHELIUM, ((5.5, 10.0), (1.4, 2.3)), ((2.8, 3.4), (2.6, 3.1))])


@dataclass(frozen=True, slots=True)
class Nuclei:
    """Nuclei as arrays, one row each.

    Parameters
    ----------
    ids : ndarray of int64, shape (N,)
        Positive, unique in the slide, the same in whatever region a nucleus is met.
    kinds : ndarray of uint8, shape (N,)
        ``NucleusKind`` values.
    outlines_px : ndarray, shape (N, VERTICES, 2)
        Corners (x, y), level-0 px, on a grid of 0.01 px.
    darkness : ndarray, shape (N,)
        0 (pale) to 1 (dark).
    """

    ids: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]
    outlines_px: Floats
    darkness: Floats

    def __len__(self) -> int:
        return len(self.ids)

    def chosen(self, rows: npt.NDArray[np.bool_]) -> Nuclei:
        """Return some of the nuclei."""
        return Nuclei(self.ids[rows], self.kinds[rows], self.outlines_px[rows], self.darkness[rows])

    def within(self, width_px: int, height_px: int) -> Nuclei:
        """Return the nuclei that lie wholly on a slide of the given size."""
        low, high = self.outlines_px.min(axis=(1, 2)), self.outlines_px.max(axis=1)
        return self.chosen((low >= 0) & (high[:, 0] <= width_px) & (high[:, 1] <= height_px))


@dataclass(frozen=True, slots=True)
class _Ellipses:
    """Centers, half axes, turns and waves (amplitude, phase), one row each, µm."""

    xy_um: Floats
    length_um: Floats
    width_um: Floats
    turn: Floats
    wave: Floats
    phase: Floats

    def turns(self) -> Floats:
        """Return the directions of all corners, shape (N, VERTICES), denser at the tips of slender nuclei."""
        steps = np.linspace(0, 2 * math.pi, VERTICES, endpoint=False)
        width, length = self.width_um[:, None], self.length_um[:, None]
        return np.asarray(np.arctan2(width * np.sin(steps), length * np.cos(steps)) + self.turn[:, None], np.float64)

    def radius_um(self, rows: npt.NDArray[np.int64], angle: Floats) -> Floats:
        """Return the distance of the outline from the center in a direction; shapes as ``angle``."""
        shape = (-1,) + (1,) * (angle.ndim - 1)
        length, width, turn, wave, phase = (
            values[rows].reshape(shape) for values in (self.length_um, self.width_um, self.turn, self.wave, self.phase)
        )
        own = angle - turn
        ellipse = length * width / np.hypot(width * np.cos(own), length * np.sin(own))
        return np.asarray(ellipse * (1 + wave * np.cos(3 * own + phase)), np.float64)


def nuclei_in(layout: Layout, region: Region, *, seed: int, mpp: float, density: float) -> Nuclei:
    """Return all nuclei that may reach into a region.

    Parameters
    ----------
    layout : Layout
        Where the tissues lie.
    region : Region
        Level-0 px.
    seed : int
        Of the slide.
    mpp : float
        Pixel size, µm.
    density : float
        Nuclei per area, as a multiple of what is usual; less than 0.01 gives none.
    """
    if density < _LEAST_DENSITY:
        return _NONE
    pitch_um = _PITCH_UM / math.sqrt(density)
    column, row = _cells(region, mpp, pitch_um)
    numbers = [uniform(seed, 20 + k, column, row) for k in range(9)]
    x = (column + 0.5 + _JITTER * (numbers[0] - 0.5)) * pitch_um
    y = (row + 0.5 + _JITTER * (numbers[1] - 0.5)) * pitch_um
    kinds = _kinds(layout, x, y, numbers[2])
    rows = np.flatnonzero(kinds >= 0)
    if not len(rows):
        return _NONE
    ellipses = _ellipses(layout, np.stack([x, y], axis=1)[rows], kinds[rows], [n[rows] for n in numbers[3:8]])
    outlines_um, stays = _pressed(ellipses, numbers[8][rows])
    outlines_px = np.round(outlines_um / mpp / _GRID_PX) * _GRID_PX
    stays &= _touches(outlines_px, region)
    ids = _ids(column[rows], row[rows])
    return Nuclei(ids, kinds[rows].astype(np.uint8), outlines_px, numbers[8][rows]).chosen(stays)


def _cells(region: Region, mpp: float, pitch_um: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    # A nucleus of the region is cut by a neighbor, which stays or gives way to a neighbor of its own.
    margin = 4 * REACH_UM
    spans = ((region.x_px, region.right_px), (region.y_px, region.bottom_px))
    columns, rows = (
        np.arange(max(0, math.floor((low * mpp - margin) / pitch_um)), math.ceil((high * mpp + margin) / pitch_um))
        for low, high in spans
    )
    column, row = np.meshgrid(columns, rows)
    return column.ravel(), row.ravel()


def _ids(column: npt.NDArray[np.int64], row: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    # Cantor's pairing: small numbers for small slides, whatever their width.
    diagonal = column + row
    return diagonal * (diagonal + 1) // 2 + row + 1


def _kinds(layout: Layout, x_um: Floats, y_um: Floats, lot: Floats) -> npt.NDArray[np.int64]:
    """Kind of the nucleus at each place, -1 for none."""
    kinds = np.full(len(x_um), -1)
    nest_um, tissues = layout.nest_um(x_um, y_um)
    turned_um, other_um = 0.8 * x_um - 0.6 * y_um, 0.6 * x_um + 0.8 * y_um
    infiltrate = layout.noise.smooth(10, turned_um, other_um, 170) + 0.6 * layout.noise.smooth(23, x_um, y_um, 45)
    is_outside = nest_um < -5
    kinds[is_outside & (lot < _SHARE_IN_STROMA)] = NucleusKind.STROMA
    kinds[is_outside & (infiltrate > _INFILTRATE) & (lot < _SHARE_OF_LYMPHOCYTES)] = NucleusKind.IMMUNE
    rows = np.flatnonzero(kinds >= 0)
    kinds[rows[layout.is_fat(x_um[rows], y_um[rows])]] = -1
    for tissue, kind in _KINDS.items():
        kinds[(nest_um > 4) & (tissues == tissue)] = kind
    kinds[layout.depth_um(x_um, y_um) < REACH_UM] = -1
    return kinds


def _ellipses(layout: Layout, xy_um: Floats, kinds: npt.NDArray[np.int64], lots: list[Floats]) -> _Ellipses:
    low, high = _HALF_AXES_UM[kinds, :, 0], _HALF_AXES_UM[kinds, :, 1]
    half_axes = low + np.stack(lots[:2], axis=1) * (high - low)
    is_slender = kinds == NucleusKind.STROMA
    turn = lots[2] * 2 * math.pi
    along = layout.fiber_angle(xy_um[is_slender, 0], xy_um[is_slender, 1])
    turn[is_slender] = along + 0.5 * (lots[2][is_slender] - 0.5)
    return _Ellipses(
        xy_um=xy_um,
        length_um=half_axes[:, 0],
        width_um=half_axes[:, 1],
        turn=turn,
        wave=0.09 * lots[3],
        phase=lots[4] * 2 * math.pi,
    )


def _pressed(ellipses: _Ellipses, rank: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Outlines of ellipses flattened where they meet, and which of them remain.

    Two nuclei are parted by a line across the line of their centers. Each outline is cut at such lines
    only, so the part of it inside stays star-shaped, and no two outlines overlap.
    """
    count = len(rank)
    turns = ellipses.turns()
    radii = ellipses.radius_um(np.arange(count), turns)
    stays = np.ones(count, np.bool_)
    pairs = cKDTree(ellipses.xy_um).query_pairs(2 * REACH_UM, output_type="ndarray").astype(np.int64)
    first, second, distance, bearing, near, far = _meetings(ellipses, pairs)
    is_crowded = distance < _CROWDED * (near + far)
    stays[np.where(rank[first] < rank[second], first, second)[is_crowded]] = False
    share = np.where(stays[first] & stays[second], near / (near + far), np.nan)
    for own, angle, room in ((first, bearing, share), (second, bearing + math.pi, 1 - share)):
        toward = np.maximum(np.cos(turns[own] - angle[:, None]), 1e-6)
        line = (distance * room - _GAP_UM / 2)[:, None] / toward
        np.fmin.at(radii, own, line)
    outlines = ellipses.xy_um[:, None, :] + radii[..., None] * np.stack([np.cos(turns), np.sin(turns)], axis=2)
    return outlines, stays


def _meetings(
    ellipses: _Ellipses, pairs: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats, Floats, Floats, Floats]:
    """Rows of both partners, distance and bearing of centers, and the radii of both on that line."""
    first, second = pairs[:, 0], pairs[:, 1]
    offset = ellipses.xy_um[second] - ellipses.xy_um[first]
    distance, bearing = np.hypot(offset[:, 0], offset[:, 1]), np.arctan2(offset[:, 1], offset[:, 0])
    near, far = ellipses.radius_um(first, bearing), ellipses.radius_um(second, bearing + math.pi)
    return first, second, distance, bearing, near, far


def _touches(outlines_px: Floats, region: Region) -> npt.NDArray[np.bool_]:
    low, high = outlines_px.min(axis=1), outlines_px.max(axis=1)
    in_x = (high[:, 0] > region.x_px) & (low[:, 0] < region.right_px)
    return np.asarray(in_x & (high[:, 1] > region.y_px) & (low[:, 1] < region.bottom_px), np.bool_)


_NONE = Nuclei(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros((0, VERTICES, 2)), np.zeros(0))
