"""Bent, sausage-shaped nests of cells: their shape, and how they are packed. All lengths in µm."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import LabelMap
from qpbridge.slides.synthetic.noise import Floats, uniform

RAGGED_UM = 16.0
"""The border of a nest lies at most so far beyond its half width."""

_JOINTS = 5  # points of a nest's axis
_CANDIDATE_UM = 28.0  # one candidate in a square of this edge, in slides of up to 11 mm
_CANDIDATES = 400  # along the longer edge, at most
_HALF_WIDTH_UM = 62.0, 86.0
_HALF_LENGTH_UM = 20.0, 200.0
_BEND = 0.4
_SHELL_UM = 60.0
_LENGTH_STEP_UM = 130.0
_SLACK_UM = 12.0  # distances are taken between joints only

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Nests:
    """Nests as arrays, one row each.

    Parameters
    ----------
    axes_um : ndarray, shape (N, 5, 2)
        Joints (x, y) of the axes.
    half_widths_um : ndarray, shape (N,)
        Distance of the border from the axis.
    kinds : ndarray of uint8, shape (N,)
        Label of the tissue.
    """

    axes_um: Floats
    half_widths_um: Floats
    kinds: npt.NDArray[np.uint8]

    def near(self, x_um: Floats, y_um: Floats, reach_um: float) -> Nests:
        """Return the nests whose joints come within a reach of the bounds of some places."""
        low = np.array([axis.min(initial=np.inf) for axis in (x_um, y_um)]) - reach_um
        high = np.array([axis.max(initial=-np.inf) for axis in (x_um, y_um)]) + reach_um
        is_near = np.all((self.axes_um > low) & (self.axes_um < high), axis=2)
        chosen = np.any(is_near, axis=1)
        return Nests(self.axes_um[chosen], self.half_widths_um[chosen], self.kinds[chosen])

    def inside_um(self, x_um: Floats, y_um: Floats, limit_um: float) -> tuple[Floats, LabelMap]:
        """Return the distance to the border of the next nest, positive inside, and that nest's kind.

        Parameters
        ----------
        x_um, y_um : ndarray
            Places; shapes broadcast.
        limit_um : float
            Larger distances outside are not told apart.
        """
        shape = np.broadcast_shapes(x_um.shape, y_um.shape)
        best, kinds = np.full(shape, -limit_um), np.zeros(shape, np.uint8)
        near = self.near(x_um, y_um, limit_um + _HALF_WIDTH_UM[1] + _HALF_LENGTH_UM[1])
        for axis, half_width, kind in zip(near.axes_um, near.half_widths_um, near.kinds, strict=True):
            inside = half_width - _distance_um(axis, x_um, y_um)
            kinds[inside > best] = kind
            best = np.maximum(best, inside)
        return best, kinds


def candidates(seed: int, width_um: float, height_um: float) -> Nests:
    """Return nests scattered over a slide, far too many; kinds are not set."""
    pitch_um = max(_CANDIDATE_UM, max(width_um, height_um) / _CANDIDATES)
    columns, rows = math.ceil(width_um / pitch_um), math.ceil(height_um / pitch_um)
    column, row = (axis.ravel() for axis in np.meshgrid(np.arange(columns), np.arange(rows)))
    x, y, width, length, bend, angle, rank = (uniform(seed, 10 + k, column, row) for k in range(7))
    half_length = _HALF_LENGTH_UM[0] + length * (_HALF_LENGTH_UM[1] - _HALF_LENGTH_UM[0])
    t = np.linspace(-1, 1, _JOINTS)[None, :] * half_length[:, None]
    sideways = (2 * bend - 1)[:, None] * _BEND * t**2 / np.maximum(half_length, 1)[:, None]
    cos, sin = np.cos(2 * math.pi * angle)[:, None], np.sin(2 * math.pi * angle)[:, None]
    centers = np.stack([column + x, row + y], axis=1) * pitch_um
    axes = centers[:, None, :] + np.stack([t * cos - sideways * sin, t * sin + sideways * cos], axis=2)
    half_widths = _HALF_WIDTH_UM[0] + width * (_HALF_WIDTH_UM[1] - _HALF_WIDTH_UM[0])
    order = np.argsort(rank)
    return Nests(axes[order], half_widths[order], np.zeros(len(order), np.uint8))


def packed(nests: Nests, room_um: Callable[[Floats, Floats], Floats], between_um: float) -> Nests:
    """Take nests where there is room, long ones first, and from the rim inward, which packs them densely.

    Parameters
    ----------
    nests : Nests
        To choose from.
    room_um : callable
        Of x and y: distance to where no nest may be.
    between_um : float
        Least distance from one nest's border to the next one's.
    """
    room = room_um(nests.axes_um[..., 0], nests.axes_um[..., 1]).min(axis=1) - nests.half_widths_um - RAGGED_UM
    lengths = np.hypot(*(nests.axes_um[:, -1] - nests.axes_um[:, 0]).T)
    order = np.argsort(np.floor(room / _SHELL_UM) - np.floor(lengths / _LENGTH_STEP_UM) * 1e6, kind="stable")
    edge = 2 * (_HALF_LENGTH_UM[1] + nests.half_widths_um.max() + RAGGED_UM) + between_um + _SLACK_UM
    taken: dict[tuple[int, int], list[int]] = {}
    chosen = []
    for index in order[room[order] > 0].tolist():
        column, row = (int(c // edge) for c in nests.axes_um[index, _JOINTS // 2])
        around = [k for i in (-1, 0, 1) for j in (-1, 0, 1) for k in taken.get((column + i, row + j), ())]
        if _is_free(nests, index, around, between_um):
            taken.setdefault((column, row), []).append(index)
            chosen.append(index)
    return Nests(nests.axes_um[chosen], nests.half_widths_um[chosen], nests.kinds[chosen])


def joined(first: Nests, second: Nests) -> Nests:
    """Return all nests of both."""
    return Nests(
        np.concatenate([first.axes_um, second.axes_um]),
        np.concatenate([first.half_widths_um, second.half_widths_um]),
        np.concatenate([first.kinds, second.kinds]),
    )


def _is_free(nests: Nests, index: int, others: list[int], between_um: float) -> bool:
    if not others:
        return True
    offsets = nests.axes_um[others][:, :, None, :] - nests.axes_um[index][None, None, :, :]
    distances = np.hypot(offsets[..., 0], offsets[..., 1]).min(axis=(1, 2))
    needed = nests.half_widths_um[others] + nests.half_widths_um[index] + 2 * RAGGED_UM + between_um + _SLACK_UM
    return bool((distances >= needed).all())


def _distance_um(axis_um: Floats, x_um: Floats, y_um: Floats) -> Floats:
    """Distance of places to a chain of segments."""
    nearest = np.asarray(np.inf)
    for (x0, y0), (x1, y1) in itertools.pairwise(axis_um):
        dx, dy = x1 - x0, y1 - y0
        length = max(dx * dx + dy * dy, 1e-9)
        t = np.clip(((x_um - x0) * dx + (y_um - y0) * dy) / length, 0, 1)
        nearest = np.minimum(nearest, (x_um - x0 - t * dx) ** 2 + (y_um - y0 - t * dy) ** 2)
    return np.asarray(np.sqrt(nearest), np.float64)
