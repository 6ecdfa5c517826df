"""How deep each pixel lies in its object. Everything in px."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from qpbridge.core.arrays import InstanceMap


def squared_depths(instances: InstanceMap, reach_px: float) -> npt.NDArray[np.int32]:
    """Return the squared distance from each pixel to the nearest one that is not of the same object.

    Between pixel centers, exact up to the reach; objects that touch are outside of one another. The rim of the map is
    no border: nobody knows what lies beyond.

    Parameters
    ----------
    instances : ndarray of int32, shape (H, W)
        Numbers of objects; 0 for none.
    reach_px : float
        Greater distances count as the whole number after it.

    Returns
    -------
    ndarray of int32, shape (H, W)
        0 where there is no object.
    """
    return np.asarray(_squared_depths(instances, int(reach_px) + 1), np.int32)


@njit(cache=True, nogil=True)
def _squared_depths(instances: InstanceMap, reach: int) -> npt.NDArray[np.int32]:
    along = _along_rows(instances, reach)
    height, width = instances.shape
    depths = np.zeros((height, width), np.int32)
    for y in range(height):
        for x in range(width):
            own = instances[y, x]
            if own == 0:
                continue
            best = along[y, x]
            for way in (-1, 1):
                step, row = 1, y + way
                while step * step < best and 0 <= row < height:
                    if instances[row, x] != own:
                        best = step * step
                        break
                    best = min(best, step * step + along[row, x])
                    step += 1
                    row += way
            depths[y, x] = best
    return depths


@njit(cache=True, nogil=True)
def _along_rows(instances: InstanceMap, reach: int) -> npt.NDArray[np.int32]:
    """Squared distance within the row."""
    height, width = instances.shape
    along = np.empty((height, width), np.int32)
    for y in range(height):
        distance = reach
        for x in range(width):
            distance = 1 if x > 0 and instances[y, x] != instances[y, x - 1] else min(distance + 1, reach)
            along[y, x] = distance
        distance = reach
        for x in range(width - 1, -1, -1):
            distance = 1 if x + 1 < width and instances[y, x] != instances[y, x + 1] else min(distance + 1, reach)
            nearest = min(along[y, x], distance)
            along[y, x] = nearest * nearest
    return along


def deepest(instances: InstanceMap, depths: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the greatest depth by number, that of nothing included, shape (N + 1,).

    Parameters
    ----------
    instances : ndarray of int32, shape (H, W)
        Numbers of objects; 0 for none.
    depths : ndarray of int32, shape (H, W)
        From ``squared_depths``.
    """
    return np.asarray(_deepest(instances.ravel(), depths.ravel(), int(instances.max(initial=0))), np.int32)


@njit(cache=True, nogil=True)
def _deepest(instances: npt.NDArray[np.int32], depths: npt.NDArray[np.int32], highest: int) -> npt.NDArray[np.int32]:
    greatest = np.zeros(highest + 1, np.int32)
    for i in range(instances.size):
        greatest[instances[i]] = max(greatest[instances[i]], depths[i])
    return greatest
