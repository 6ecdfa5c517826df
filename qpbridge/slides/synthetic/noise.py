"""Randomness as a function of place: the same seed and place give the same value, whatever else is computed."""

from __future__ import annotations

import math
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
"""Arrays of any shape, float64."""

Maps: TypeAlias = npt.NDArray[np.float32]
"""Values of the pixels of a tile, float32, shape (H, W)."""

PERIOD = 256
"""Lattice cells after which a noise repeats."""

_CHANNELS = 24
_GRAINS = 1 << 20
_WORD = (1 << 64) - 1


def uniform(seed: int, channel: int, column: npt.NDArray[np.int64], row: npt.NDArray[np.int64]) -> Floats:
    """Return one number in [0, 1) for each cell of a lattice.

    Parameters
    ----------
    seed, channel : int
        Another channel gives independent numbers for the same cells.
    column, row : ndarray of int64
        Cells; may be negative. Shapes broadcast.

    References
    ----------
    The last mixing is that of SplitMix64 (Steele, Lea, Flood 2014).
    """
    start = np.uint64((seed * 0x9E3779B97F4A7C15 + (channel + 1) * 0xD1B54A32D192ED03) & _WORD)
    word = np.atleast_1d(column).astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    word = _mixed(word ^ start) + np.atleast_1d(row).astype(np.uint64) * np.uint64(0x165667B19E3779F9)
    return (_mixed(word) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(word: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


class Noise:
    """Smooth noises of mean 0 and standard deviation about 0.6, from seeded lattices."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self._lattices = generator.standard_normal((_CHANNELS, PERIOD, PERIOD), dtype=np.float32)
        self._wide = np.tile(self._lattices, (1, 2, 2))
        self._grain = generator.standard_normal(_GRAINS, dtype=np.float32)

    def smooth(self, channel: int, x_um: Floats, y_um: Floats, wavelength_um: float) -> Floats:
        """Return noise at given places; twice continuously differentiable.

        Parameters
        ----------
        channel : int
            Which of the independent noises.
        x_um, y_um : ndarray
            Places, µm. Shapes broadcast.
        wavelength_um : float
            Distance of lattice points, µm.
        """
        column, right = _split(x_um / wavelength_um)
        row, lower = _split(y_um / wavelength_um)
        next_column, next_row = (column + 1) % PERIOD, (row + 1) % PERIOD
        lattice = self._lattices[channel]
        upper = lattice[row, column] * (1 - right) + lattice[row, next_column] * right
        under = lattice[next_row, column] * (1 - right) + lattice[next_row, next_column] * right
        return np.asarray(upper * (1 - lower) + under * lower, np.float64)

    def fine(self, channel: int, u: Maps, v: Maps) -> Maps:
        """Return noise for all pixels of a tile, quickly, to 1/32 of a lattice cell.

        Parameters
        ----------
        channel : int
            Which of the independent noises.
        u, v : ndarray of float32, shape (H, W)
            Lattice coordinates.
        """
        # Whole periods are taken off, as remap takes coordinates below 32,768 only.
        u, v = (axis - np.float32(PERIOD * np.floor(axis.min() / PERIOD)) for axis in (u, v))
        found = cv2.remap(self._wide[channel], u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return np.asarray(found, np.float32)

    def grain(self, column: int, row: int, shape: tuple[int, ...], amplitude: float) -> npt.NDArray[np.int16]:
        """Return white noise of a standard deviation of ``amplitude``, another one for each tile."""
        count = math.prod(shape)
        start = int(uniform(0, 99, np.array([column]), np.array([row]))[0] * (_GRAINS - count))
        grain = np.rint(amplitude * self._grain[start : start + count]).astype(np.int16)
        return np.asarray(grain.reshape(shape), np.int16)


def _split(cells: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    floor = np.floor(cells)
    part = cells - floor
    return floor.astype(np.int64) % PERIOD, part * part * part * (part * (part * 6 - 15) + 10)
