"""Join small pieces to their neighbors: the compiled part of ``remove_small``."""

from __future__ import annotations

import heapq
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap

Integers: TypeAlias = npt.NDArray[np.int64]
Borders: TypeAlias = tuple[Integers, Integers, Integers, Integers]

_NONE = -1
_ENDLESS = 1 << 62  # more than any sum of pixels, less than overflows


def merge_small(
    label_map: LabelMap,
    ids: npt.NDArray[np.uint32],
    count: int,
    min_area: float,
    is_fixed: npt.NDArray[np.bool_] | None = None,
    may_vanish: bool = True,
) -> None:
    """Let the small pieces of a label map join their neighbors, smallest first, in place.

    A small piece takes the label that has the longest border with it, and is one with all its neighbors of that
    label from then on. Of several such labels it takes the smallest; of equally small pieces the first goes first.
    Beside two passes over the image that takes E log A + N log N steps for N small pieces of at most A pixels with
    E pixel edges, since a piece at least doubles when its turn has come.

    Parameters
    ----------
    label_map : ndarray of uint8, shape (H, W)
        C order; changed.
    ids : ndarray of uint32, shape (H, W)
        4-connected pieces of equal label from 1 on, C order; 0 is all that belongs to none and is never small.
    count : int
        Largest value in ``ids``.
    min_area : float
        Pieces with fewer pixels are small.
    is_fixed : ndarray of bool, shape (count + 1,), or None
        Pieces that count as large, whatever their size.
    may_vanish : bool
        Whether small pieces may join what belongs to nobody.
    """
    if is_fixed is None:
        is_fixed = np.zeros(count + 1, np.bool_)
    _merge(label_map, ids, count, float(min_area), is_fixed, may_vanish)


@njit(cache=True, nogil=True)
def _merge(
    label_map: LabelMap,
    ids: npt.NDArray[np.uint32],
    count: int,
    min_area: float,
    is_fixed: npt.NDArray[np.bool_],
    may_vanish: bool,
) -> None:
    labels, areas = _survey(label_map, ids, count)
    areas = np.where(is_fixed, np.maximum(areas, np.int64(np.ceil(min_area))), areas)
    parents = np.arange(len(labels))
    borders = _borders(ids, areas < min_area)
    queue = [(areas[piece], piece) for piece in range(len(areas)) if areas[piece] < min_area]
    heapq.heapify(queue)
    while queue:
        area, piece = heapq.heappop(queue)
        if parents[piece] != piece or areas[piece] != area:
            continue
        label = _longest_border(piece, labels, parents, borders, may_vanish)
        if label == _NONE:
            continue
        labels[piece] = label
        _join(piece, labels, areas, parents, borders)
        if areas[piece] < min_area:
            heapq.heappush(queue, (areas[piece], piece))
    _paint(label_map, ids, labels, parents)


@njit(cache=True, nogil=True)
def _survey(label_map: LabelMap, ids: npt.NDArray[np.uint32], count: int) -> tuple[Integers, Integers]:
    labels, areas = np.full(count + 1, np.int64(IGNORE_INDEX)), np.zeros(count + 1, np.int64)
    areas[0] = _ENDLESS
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            labels[ids[y, x]] = label_map[y, x]
            areas[ids[y, x]] += 1
    return labels, areas


@njit(cache=True, nogil=True)
def _borders(ids: npt.NDArray[np.uint32], is_small: npt.NDArray[np.bool_]) -> Borders:
    # What lies across each pixel edge around each small piece, as linked lists: two of them join in one step.
    height, width = ids.shape
    heads, tails = np.full(len(is_small), _NONE), np.full(len(is_small), _NONE)
    beyond, following = np.empty(0, np.int64), np.empty(0, np.int64)
    edges = 0
    for y in range(height):
        if edges + 4 * width > len(beyond):
            room = np.empty(len(beyond) + 4 * width, np.int64)
            beyond, following = np.append(beyond, room), np.append(following, room)
        for x in range(width):
            piece = ids[y, x]
            if not is_small[piece]:
                continue
            for j, i in ((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x)):
                if 0 <= j < height and 0 <= i < width and ids[j, i] != piece:
                    if heads[piece] == _NONE:
                        tails[piece] = edges
                    beyond[edges], following[edges] = ids[j, i], heads[piece]
                    heads[piece] = edges
                    edges += 1
    return heads, tails, beyond, following


@njit(cache=True, nogil=True)
def _longest_border(piece: int, labels: Integers, parents: Integers, borders: Borders, may_vanish: bool) -> int:
    heads, _, beyond, following = borders
    lengths = np.zeros(256, np.int64)
    edge = heads[piece]
    while edge != _NONE:
        other = _root(parents, beyond[edge])
        lengths[labels[other]] += other != piece
        edge = following[edge]
    lengths[IGNORE_INDEX] *= may_vanish
    return int(lengths.argmax()) if lengths.any() else _NONE


@njit(cache=True, nogil=True)
def _join(piece: int, labels: Integers, areas: Integers, parents: Integers, borders: Borders) -> None:
    heads, tails, beyond, following = borders
    edge, last = heads[piece], tails[piece]
    while edge != _NONE:
        other = _root(parents, beyond[edge])
        is_last = edge == last
        if other != piece and labels[other] == labels[piece]:
            parents[other] = piece
            areas[piece] += areas[other]
            if heads[other] != _NONE:
                following[tails[piece]] = heads[other]
                tails[piece] = tails[other]
        edge = _NONE if is_last else following[edge]


@njit(cache=True, nogil=True)
def _root(parents: Integers, piece: int) -> int:
    while parents[piece] != piece:
        parents[piece] = parents[parents[piece]]
        piece = parents[piece]
    return piece


@njit(cache=True, nogil=True)
def _paint(label_map: LabelMap, ids: npt.NDArray[np.uint32], labels: Integers, parents: Integers) -> None:
    merged = np.array([labels[_root(parents, piece)] for piece in range(len(labels))]).astype(np.uint8)
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            label_map[y, x] = merged[ids[y, x]]
