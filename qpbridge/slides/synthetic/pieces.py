"""Pieces of tissue as a pathologist outlines them: some of each class, whole, and a little inside its border.

Everything here is in cells: squares of some µm that cover the slide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import LabelMap, Mask
from qpbridge.slides.synthetic.noise import Floats

_MARGIN_CELLS = 1.6, 4.0  # least and largest distance of an outline from the border of its class
_GAP_CELLS = 2  # between pieces of one class
_SMALLEST_CELLS = 60
_PIECES = 4  # of a class, at least, where there is room
_SEEDS_PER_PART = 200
_ATTEMPTS = 400  # a class that cannot be filled up is left after so many pieces


@dataclass(frozen=True, slots=True)
class Piece:
    """A connected piece of one class.

    Parameters
    ----------
    label : int
        Its class.
    row, column : int
        Where its mask begins, cells.
    mask : ndarray of bool
        Its cells.
    """

    label: int
    row: int
    column: int
    mask: Mask

    @property
    def area_cells(self) -> int:
        """Number of cells."""
        return int(np.count_nonzero(self.mask))


def drawn_pieces(labels: LabelMap, share: float, radius_cells: float, generator: np.random.Generator) -> list[Piece]:
    """Outline pieces of every class until about a share of all cells is covered.

    All classes get the same area as far as they have it, rare ones first. Two of three pieces are
    put next to one of another class, where there is one, so that both sides of some borders are drawn, with a
    narrow gap between them.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        Truth.
    share : float
        Of the cells, 0 to 1.
    radius_cells : float
        Of a usual piece.
    generator : numpy Generator
        Chance.
    """
    present = np.bincount(labels.ravel(), minlength=256)[:255]
    order = [int(label) for label in np.argsort(present, kind="stable") if present[label]]
    wanted, left = share * labels.size, len(order)
    taken = np.zeros(labels.shape, np.uint8)
    pieces: list[Piece] = []
    for label in order:
        drawn = _Pen(labels, label, taken, radius_cells, generator).pieces(wanted / left)
        wanted, left = wanted - sum(piece.area_cells for piece in drawn), left - 1
        pieces += drawn
    return pieces


class _Pen:
    """Draws pieces of one class into a map of what is already drawn."""

    def __init__(
        self, labels: LabelMap, label: int, taken: npt.NDArray[np.uint8], radius: float, generator: np.random.Generator
    ) -> None:
        self._label, self._radius, self._generator, self._taken = label, radius, generator, taken
        self._depth = cv2.distanceTransform((labels == label).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        core = (self._depth > _MARGIN_CELLS[0]).astype(np.uint8)
        _, self._parts, statistics, _ = cv2.connectedComponentsWithStats(core, connectivity=4)
        self._sizes = statistics[:, cv2.CC_STAT_AREA]
        self._drawn = np.zeros(len(self._sizes))
        reach = 2 * int(_MARGIN_CELLS[1] + 2) + 1
        beside = (cv2.dilate(taken, np.ones((reach, reach), np.uint8)) > 0) & (core > 0)
        self._seeds = self._chosen(core > 0), self._chosen(beside)

    def pieces(self, budget: float) -> list[Piece]:
        """Draw until the budget (cells) is used up or nothing more fits."""
        usual = min(math.pi * self._radius**2, max(budget / _PIECES, _SMALLEST_CELLS))
        self._drawn += usual
        pieces: list[Piece] = []
        for attempt in range(_ATTEMPTS):
            left = budget - sum(piece.area_cells for piece in pieces)
            seed = self._seed(is_beside=attempt % 3 > 0)
            if seed is None or (left < _SMALLEST_CELLS and pieces):
                break
            piece = self._piece(*seed, radius=math.sqrt(1.2 * min(usual, max(left, _SMALLEST_CELLS)) / math.pi))
            if piece is not None:
                pieces.append(piece)
        return pieces

    def _chosen(self, mask: Mask) -> npt.NDArray[np.int64]:
        """Draw some cells of a mask, as many as there are from each part of the class, shape (N, 2)."""
        places = self._generator.permutation(np.flatnonzero(mask))
        parts = self._parts.ravel()[places]
        order = np.argsort(parts, kind="stable")
        starts = np.flatnonzero(np.diff(parts[order], prepend=-1))
        ranks = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
        kept = order[(ranks < _SEEDS_PER_PART) & (self._sizes[parts[order]] >= _SMALLEST_CELLS)]
        return np.stack(np.unravel_index(places[kept], mask.shape), axis=1)

    def _seed(self, *, is_beside: bool) -> tuple[int, int] | None:
        """Return a free cell, if wanted and possible beside another class' piece.

        It lies in the part of the class of which least would be drawn with one more piece, as parliaments
        share out seats (D'Hondt): large parts come first, small ones get their turn.
        """
        for seeds in self._seeds[::-1] if is_beside else self._seeds:
            free = seeds[self._taken[seeds[:, 0], seeds[:, 1]] == 0]
            if len(free):
                parts = self._parts[free[:, 0], free[:, 1]]
                drawn = self._drawn[parts] / self._sizes[parts]
                row, column = free[int(np.argmin(drawn + 1e-6 * self._generator.random(len(drawn))))]
                return int(row), int(column)
        return None

    def _piece(self, row: int, column: int, radius: float) -> Piece | None:
        reach = math.ceil(1.5 * radius) + 1
        top, left = max(0, row - reach), max(0, column - reach)
        around = slice(top, row + reach + 1), slice(left, column + reach + 1)
        margin = min(self._generator.uniform(*_MARGIN_CELLS), float(self._depth[row, column]) - 0.01)
        blob = _blob(row - top, column - left, self._depth[around].shape, radius, self._generator)
        mask = blob & (self._depth[around] > margin) & (self._taken[around] == 0)
        _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
        mask = parts == parts[row - top, column - left] if mask[row - top, column - left] else np.zeros_like(mask)
        self._drawn[self._parts[row, column]] += max(int(np.count_nonzero(mask)), 1)
        edge = 2 * _GAP_CELLS + 1
        grown = cv2.dilate(mask.astype(np.uint8), np.ones((edge, edge), np.uint8))
        np.copyto(self._taken[around], 1, where=grown > 0)
        self._taken[row, column] = 1
        if np.count_nonzero(mask) < _SMALLEST_CELLS:
            return None
        return Piece(self._label, top, left, mask)


def _blob(row: int, column: int, shape: tuple[int, ...], radius: float, generator: np.random.Generator) -> Mask:
    """Return a wobbly disk of about the radius."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    angle: Floats = np.arctan2(y - row, x - column)
    two, three = generator.uniform(0, 2 * math.pi, 2)
    edge = radius * (1 + 0.25 * np.cos(2 * angle + two) + 0.15 * np.cos(3 * angle + three))
    return np.asarray(np.hypot(y - row, x - column) <= edge, np.bool_)
