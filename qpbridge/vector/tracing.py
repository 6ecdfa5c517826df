"""Walk along pixel edges: the compiled part of ``vectorize``. Corners in px of the label map."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

Points: TypeAlias = npt.NDArray[np.int32]
Integers: TypeAlias = npt.NDArray[np.int64]

_FULL = -1

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
    corners, starts, owners = _trace(ids.reshape(-1), count, visited.reshape(-1), moves)
    y, x = np.divmod(corners, stride)
    return np.stack((x - 1, y - 1), axis=1).astype(np.int32), starts, owners


@njit(cache=True, nogil=True)
def _trace(
    ids: npt.NDArray[np.uint32], count: int, visited: npt.NDArray[np.uint8], moves: Integers
) -> tuple[Integers, Integers, Integers]:
    stride = moves[1, 0]
    corners = np.empty(4096, np.int64)
    starts = np.zeros(1024, np.int64)
    owners = np.empty(1024, np.int64)
    pieces = np.full(count + 1, -1)
    n_rings, n_pieces = 0, 0
    first = _next_ring(ids, visited, stride, stride)
    while first < ids.size:
        owner = ids[first]
        if pieces[owner] < 0:
            pieces[owner] = n_pieces
            n_pieces += 1
        if n_rings + 1 == starts.size:
            starts, owners = _doubled(starts), _doubled(owners)
        end = _follow(ids, visited, moves, first, corners, starts[n_rings])
        while end == _FULL:
            corners = _doubled(corners)
            end = _follow(ids, visited, moves, first, corners, starts[n_rings])
        owners[n_rings] = pieces[owner]
        n_rings += 1
        starts[n_rings] = end
        first = _next_ring(ids, visited, stride, first + 1)
    return corners[: starts[n_rings]].copy(), starts[: n_rings + 1].copy(), owners[:n_rings].copy()


@njit(cache=True, nogil=True)
def _next_ring(ids: npt.NDArray[np.uint32], visited: npt.NDArray[np.uint8], stride: int, at: int) -> int:
    # Apart from the loop over rings: there, counting references to arrays that may be replaced takes most of the time.
    while at < ids.size and (ids[at] == 0 or ids[at] == ids[at - stride] or visited[at]):
        at += 1
    return at


@njit(cache=True, nogil=True)
def _follow(
    ids: npt.NDArray[np.uint32],
    visited: npt.NDArray[np.uint8],
    moves: Integers,
    first: int,
    corners: Integers,
    end: int,
) -> int:
    owner, heading, at = ids[first], 0, first
    while end < corners.size:
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
        corners[end] = at
        end += 1
        if at == first and heading == 0:
            return end
    return _FULL


@njit(cache=True, nogil=True)
def _doubled(values: Integers) -> Integers:
    return np.append(values, np.empty_like(values))
