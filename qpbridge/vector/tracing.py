"""Walk along pixel edges: the compiled part of ``vectorize``. Corners in px of the label map."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

Points: TypeAlias = npt.NDArray[np.int32]
Integers: TypeAlias = npt.NDArray[np.int64]

# One row each for heading east, south, west, north: the step along the lattice; then, as seen from the corner reached,
# the pixels ahead on the left, ahead on the right, and behind on the left. All as (rows, columns); a corner of the
# lattice goes by the pixel below and right of it.
_MOVES = np.array(
    [
        [(0, 1), (-1, 0), (0, 0), (-1, -1)],
        [(1, 0), (0, 0), (0, -1), (-1, 0)],
        [(0, -1), (0, -1), (-1, -1), (0, 0)],
        [(-1, 0), (-1, -1), (-1, 0), (0, -1)],
    ]
)


def trace(ids: npt.NDArray[np.uint32], count: int, visited: npt.NDArray[np.uint8]) -> tuple[Points, Integers, Integers]:
    """Trace the rings around all connected pieces in one pass.

    Rings come in reading order of their first pixels, so that the first ring of a piece is its shell and all
    others are its holes. Shells run clockwise on the screen, holes the other way. Where a ring could meet
    itself at a corner it is split: holes may touch each other or the shell at a point, but no ring touches
    itself. A point is kept where the ring turns, and where what lies on its other side changes.

    Parameters
    ----------
    ids : ndarray of uint32, shape (H + 2, W + 2)
        4-connected pieces inside a rim of zeros, C order; zero belongs to none.
    count : int
        Largest value in ``ids``.
    visited : ndarray of uint8, shape (H + 2, W + 2)
        Zeros, C order; overwritten.

    Returns
    -------
    points : ndarray of int32, shape (P, 2)
        Corners (x, y) of all rings, one ring after the other, not closed. The last point of a ring is the upper
        left corner of the pixel where it was found.
    starts : ndarray of int64, shape (R + 1,)
        Where each ring begins in ``points``; the last is P.
    owners : ndarray of int64, shape (R,)
        Piece of each ring, numbered from 0 in reading order of their first pixels.
    """
    stride = ids.shape[1]
    moves = _MOVES @ np.array([stride, 1])
    points, starts, owners = _trace(ids.reshape(-1), count, visited.reshape(-1), moves, stride)
    return points, starts, owners


@njit(cache=True, nogil=True)
def _trace(
    ids: npt.NDArray[np.uint32], count: int, visited: npt.NDArray[np.uint8], moves: Integers, stride: int
) -> tuple[Points, Integers, Integers]:
    points = np.empty((4096, 2), np.int32)
    starts = np.zeros(1024, np.int64)
    owners = np.empty(1024, np.int64)
    pieces = np.full(count + 1, -1)
    n_points, n_rings, n_pieces = 0, 0, 0
    for corner in range(stride, ids.size):
        owner = ids[corner]
        if owner == 0 or owner == ids[corner - stride] or visited[corner]:
            continue
        if pieces[owner] < 0:
            pieces[owner] = n_pieces
            n_pieces += 1
        if n_rings + 1 == starts.size:
            starts = np.append(starts, np.empty_like(starts))
            owners = np.append(owners, np.empty_like(owners))
        points, n_points = _follow(ids, visited, moves, corner, points, n_points)
        owners[n_rings] = pieces[owner]
        n_rings += 1
        starts[n_rings] = n_points
    return points[:n_points].copy(), starts[: n_rings + 1].copy(), owners[:n_rings].copy()


@njit(cache=True, nogil=True)
def _follow(
    ids: npt.NDArray[np.uint32],
    visited: npt.NDArray[np.uint8],
    moves: Integers,
    corner: int,
    points: Points,
    n_points: int,
) -> tuple[Points, int]:
    owner, stride, heading, at = ids[corner], moves[1, 0], 0, corner
    while True:
        if heading == 0:
            visited[at] = 1
        at += moves[heading, 0]
        beyond = ids[at + moves[heading, 1]]
        if beyond == owner:
            # To the left also where the owner lies only diagonally ahead: so no ring touches itself.
            heading = (heading + 3) & 3
        elif ids[at + moves[heading, 2]] != owner:
            heading = (heading + 1) & 3
        elif beyond == ids[at + moves[heading, 3]]:
            continue
        if n_points == len(points):
            points = np.concatenate((points, np.empty_like(points)))
        points[n_points, 0] = at % stride - 1
        points[n_points, 1] = at // stride - 1
        n_points += 1
        if at == corner and heading == 0:
            return points, n_points
