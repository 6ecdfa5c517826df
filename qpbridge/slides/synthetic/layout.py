"""Where the tissues of a procedural slide lie, in µm from its corner. Fields are positive inside, in about µm."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import LabelMap, Mask
from qpbridge.slides.synthetic.nests import RAGGED_UM, Integers, Nests, candidates, joined, packed
from qpbridge.slides.synthetic.noise import Floats, Maps, Noise, uniform
from qpbridge.slides.synthetic.window import Window

RING_UM = 130.0
"""Every nest lies in so much stroma: at 0.5 µm/px, 256 px around any of its pixels hold no other tissue."""

_PERIOD_UM = 2400.0  # from one fat compartment to the next
_CERTAIN = 0.8  # share of a distance to the other compartment that bends of the border cannot take away
_VACUOLE_UM = 62.0  # distance of adipocytes
_VACUOLE_REACH_UM = 45.0  # an adipocyte ends at most so far from its center
_ROUNDING_UM = 11.0  # corners of adipocytes are round over about this length
_RAGGED_REACH_UM = 60.0  # raggedness of a nest's border fades outside over this length
_FAR_UM = 200.0  # distances to nests beyond this are not told apart
_NECROSIS_EVERY = 3


class Tissue(enum.IntEnum):
    """Truth of a pixel; the value is its label."""

    BACKGROUND = 0
    STROMA = 1
    ADIPOSE = 2
    NECROSIS = 3
    TUMOR = 4
    BENIGN = 5


@dataclass(frozen=True, slots=True)
class Fields:
    """What a window's pixels are made of; all arrays have its shape.

    Parameters
    ----------
    labels : ndarray of uint8
        ``Tissue`` values.
    depth_um : ndarray of float32
        Distance to the rim of the tissue, positive inside.
    nest_um : ndarray of float32
        Distance to the border of the next nest, positive inside.
    wall_um : ndarray of float32 or None
        Distance to the next membrane between adipocytes; None where there is no fat.
    """

    labels: LabelMap
    depth_um: Maps
    nest_um: Maps
    wall_um: Maps | None


class Layout:
    """Arrangement of tissues: a section with fat and stroma compartments, and nests of cells in both.

    Nests in stroma are tumor or necrosis, nests in fat are benign. Shape, cells and colors of
    both follow one law, and each lies in a ring of stroma of at least ``RING_UM``: only what lies
    beyond that ring tells which one it is.

    Parameters
    ----------
    width_um, height_um : float
        Size of the slide.
    seed : int
        Other seeds give other slides.
    has_context_class : bool
        Without it the nests in fat are tumor, too.
    """

    def __init__(self, width_um: float, height_um: float, *, seed: int, has_context_class: bool) -> None:
        self._half_um = width_um / 2, height_um / 2
        self._seed = seed
        self._angle, self._fiber_angle = uniform(seed, 0, np.arange(2), np.zeros(2, np.int64)) * 2 * math.pi
        self.noise = Noise(seed)
        self._nests = self._placed_nests(Tissue.BENIGN if has_context_class else Tissue.TUMOR)

    def fields(self, window: Window) -> Fields:
        """Return truth and distances for the pixels of a window."""
        x_um, y_um = window.node_axes()
        depth_um = window.upsampled(self.depth_um(x_um, y_um))
        nest_nodes, kinds = self.nest_um(x_um, y_um)
        nest_um = window.upsampled(nest_nodes)
        is_fat, wall_um = self._vacuoles(window)
        labels = np.full(nest_um.shape, Tissue.STROMA, np.uint8)
        # The ring around a nest holds to the pixel, though adipocytes are not known to end so soon.
        beyond_um = -nest_um - np.float32(RING_UM + RAGGED_UM)
        labels[is_fat & (beyond_um > 0)] = Tissue.ADIPOSE
        inside = nest_um > 0
        if inside.any():
            labels[inside] = _enlarged(kinds[1:-1, 1:-1], window.step_px)[inside]
        labels[depth_um <= 0] = Tissue.BACKGROUND
        return Fields(labels, depth_um, nest_um, None if wall_um is None else np.minimum(wall_um, beyond_um))

    def depth_um(self, x_um: Floats, y_um: Floats) -> Floats:
        """Return the distance to the rim of the tissue, positive inside, about µm."""
        half_x, half_y = self._half_um
        a, b = np.abs(x_um / half_x - 1) / 0.95, np.abs(y_um / half_y - 1) / 0.95
        shortest = min(half_x, half_y)
        rim = (1 - (a**4 + b**4) ** 0.25) * shortest
        ragged = 0.07 * shortest * self.noise.smooth(0, x_um, y_um, 0.7 * shortest)
        return np.asarray(rim + ragged + 14 * self.noise.smooth(1, x_um, y_um, 70), np.float64)

    def fat_compartment_um(self, x_um: Floats, y_um: Floats) -> Floats:
        """Return the distance to the border between fat and stroma, positive in fat, about µm."""
        along = (x_um - self._half_um[0]) * math.cos(self._angle) + (y_um - self._half_um[1]) * math.sin(self._angle)
        bent = along + 220 * self.noise.smooth(2, x_um, y_um, 900)
        turns = 2 * math.pi / _PERIOD_UM
        return np.asarray(np.arcsin(np.sin(bent * turns)) / turns, np.float64)

    def nest_um(self, x_um: Floats, y_um: Floats, limit_um: float = _FAR_UM) -> tuple[Floats, LabelMap]:
        """Return the distance to the border of the next nest, positive inside, and that nest's tissue."""
        inside, kinds = self._nests.inside_um(x_um, y_um, limit_um)
        noise = self.noise
        lobes = 10 * noise.smooth(9, x_um, y_um, 110)
        ragged = 6 * noise.smooth(3, x_um, y_um, 42) + 3 * noise.smooth(4, x_um, y_um, 15)
        near = np.clip(1 + inside / _RAGGED_REACH_UM, 0, 1)
        return inside + near * np.clip(lobes + ragged, -RAGGED_UM, RAGGED_UM), kinds

    def fiber_um(self, x_um: Floats, y_um: Floats) -> tuple[Floats, Floats]:
        """Return coordinates along and across the fibers of the stroma, µm; they wind around nests."""
        cos, sin = math.cos(self._fiber_angle), math.sin(self._fiber_angle)
        noise = self.noise
        along = x_um * cos + y_um * sin + 130 * noise.smooth(5, x_um, y_um, 420)
        across = y_um * cos - x_um * sin + 130 * noise.smooth(6, x_um, y_um, 420) + 4 * noise.smooth(7, x_um, y_um, 40)
        nest_um, _ = self.nest_um(x_um, y_um)
        return along, across + 150 * np.exp(np.minimum(nest_um, 0) / 45)

    def fiber_angle(self, x_um: Floats, y_um: Floats) -> Floats:
        """Return the direction in which fibers run, radians from the x axis towards the y axis."""
        small = 0.5
        _, across = self.fiber_um(
            np.concatenate([x_um - small, x_um + small, x_um, x_um]),
            np.concatenate([y_um, y_um, y_um - small, y_um + small]),
        )
        left, right, above, below = across.reshape(4, -1)
        return np.asarray(np.arctan2(left - right, below - above), np.float64)

    def is_fat(self, x_um: Floats, y_um: Floats) -> Mask:
        """Return whether places lie in adipocytes; arrays of shape (N,)."""
        neighbors = np.arange(-1, 2)
        columns = np.floor(x_um / _VACUOLE_UM).astype(np.int64)[:, None] + np.tile(neighbors, 3)
        rows = np.floor(y_um / _VACUOLE_UM).astype(np.int64)[:, None] + np.repeat(neighbors, 3)
        center_x, center_y = self._adipocyte_um(columns, rows)
        nearest = np.argmin((center_x - x_um[:, None]) ** 2 + (center_y - y_um[:, None]) ** 2, axis=1)[:, None]
        found = (np.take_along_axis(center, nearest, axis=1)[:, 0] for center in (center_x, center_y))
        return np.asarray(self._fat_um(*found) > 0, np.bool_)

    def _vacuoles(self, window: Window) -> tuple[Mask, Maps | None]:
        """Pixels of adipocytes, and the distance to the next membrane, both made in steps of about 1 µm."""
        step = max(1, window.step_px // 4)
        size, pixel_um = window.size_px // step, window.mpp * step
        left, top = (edge * window.mpp for edge in window.origin_px)
        reach = 1.5 * _VACUOLE_UM
        x_um, y_um = self._lattice(left - reach, top - reach, size * pixel_um + 2 * reach)
        is_member = self._fat_um(x_um, y_um) > 0
        is_fat = np.zeros((size, size), np.bool_)
        if not is_member.any():
            return np.zeros((window.size_px, window.size_px), np.bool_), None
        ranks = tuple(np.full((size, size), np.inf, np.float32) for _ in range(3))
        pixels_um = ((np.arange(size) + 0.5) * pixel_um).astype(np.float32)
        for x, y, member in zip(x_um - left, y_um - top, is_member, strict=True):
            columns, rows = (slice(*np.searchsorted(pixels_um, (c - reach, c + reach))) for c in (x, y))
            squared = (pixels_um[None, columns] - np.float32(x)) ** 2 + (pixels_um[rows, None] - np.float32(y)) ** 2
            one, two, three = (plane[rows, columns] for plane in ranks)
            np.copyto(is_fat[rows, columns], member, where=squared < one)
            np.minimum(three, np.maximum(two, squared), out=three)
            np.minimum(two, np.maximum(one, squared), out=two)
            np.minimum(one, squared, out=one)
        wall_um = _wall_um(*(np.sqrt(plane) for plane in ranks))
        enlarged_um = cv2.resize(wall_um, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        return _enlarged(is_fat, step), np.asarray(enlarged_um, np.float32)

    def _lattice(self, left_um: float, top_um: float, edge_um: float) -> tuple[Floats, Floats]:
        columns, rows = (
            np.arange(math.floor(start / _VACUOLE_UM), math.ceil((start + edge_um) / _VACUOLE_UM))
            for start in (left_um, top_um)
        )
        column, row = np.meshgrid(columns, rows)
        return self._adipocyte_um(column.ravel(), row.ravel())

    def _adipocyte_um(self, column: Integers, row: Integers) -> tuple[Floats, Floats]:
        x = column + 0.5 + 0.76 * (uniform(self._seed, 1, column, row) - 0.5)
        y = row + 0.5 + 0.76 * (uniform(self._seed, 2, column, row) - 0.5)
        return x * _VACUOLE_UM, y * _VACUOLE_UM

    def _fat_um(self, x_um: Floats, y_um: Floats) -> Floats:
        ring = RING_UM + _VACUOLE_REACH_UM
        nest_um, _ = self.nest_um(x_um, y_um, 2 * ring)
        # No septa near nests: there, fat is what tells their class.
        septa = np.where(nest_um > -2 * ring, np.inf, np.abs(self.noise.smooth(8, x_um, y_um, 600)) - 0.04)
        fat: Floats = np.minimum(self.fat_compartment_um(x_um, y_um), self.depth_um(x_um, y_um) - 25)
        return np.minimum(np.minimum(fat, septa), -nest_um - ring)

    def _room_um(self, x_um: Floats, y_um: Floats) -> Floats:
        """Distance to the rim of the tissue or of the slide, whichever is nearer."""
        half_x, half_y = self._half_um
        in_slide = np.minimum(half_x - np.abs(x_um - half_x), half_y - np.abs(y_um - half_y))
        return np.minimum(self.depth_um(x_um, y_um), in_slide)

    def _placed_nests(self, tissue_in_fat: Tissue) -> Nests:
        width_um, height_um = (2 * half for half in self._half_um)
        all_nests = candidates(self._seed, width_um, height_um)

        def room_in_fat(x_um: Floats, y_um: Floats) -> Floats:
            fat = self.fat_compartment_um(x_um, y_um)
            return np.minimum(self._room_um(x_um, y_um) - 40, _CERTAIN * fat - 60) - RING_UM

        def room_in_stroma(x_um: Floats, y_um: Floats) -> Floats:
            fat = self.fat_compartment_um(x_um, y_um)
            return np.minimum(self._room_um(x_um, y_um), -_CERTAIN * fat - _VACUOLE_REACH_UM) - RING_UM

        in_fat = packed(all_nests, room_in_fat, 2 * (RING_UM + _VACUOLE_REACH_UM))
        in_fat.kinds[:] = tissue_in_fat
        in_stroma = packed(all_nests, room_in_stroma, RING_UM)
        in_stroma.kinds[:] = Tissue.TUMOR
        in_stroma.kinds[1::_NECROSIS_EVERY] = Tissue.NECROSIS
        return joined(in_fat, in_stroma)


def _wall_um(first: Maps, second: Maps, third: Maps) -> Maps:
    """Distance to the next membrane from the distances to three adipocytes, less in corners, which rounds them."""
    wall, other = (second - first) / 2, (third - first) / 2
    corner = np.maximum(1 - (other - wall) / _ROUNDING_UM, 0)
    return np.asarray(wall - corner * corner * np.float32(_ROUNDING_UM / 4), np.float32)


def _enlarged(values: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    return np.repeat(np.repeat(values, step, axis=0), step, axis=1)
