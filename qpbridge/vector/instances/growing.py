"""Let objects grow: within a mask, or by a distance. Everything in px.

Where two objects could take a pixel the rules look at nothing but its surroundings, so a part of a map, with a margin
around it, grows as the whole map does.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from qpbridge.core.arrays import InstanceMap, Mask


def grow_within(seeds: InstanceMap, mask: Mask, reach_px: int) -> InstanceMap:
    """Let seeds spread over a mask, each as fast as the others.

    The front goes to the four neighbors of each pixel, then to all eight, and so on in turn: nearly a circle. Of two
    seeds that reach a pixel at the same time it belongs to the one whose way began at the upper, then the left pixel.

    Parameters
    ----------
    seeds : ndarray of int32, shape (H, W)
        Numbers of seeds; 0 for none. They keep their pixels also outside the mask.
    mask : ndarray of bool, shape (H, W)
        Where they may spread.
    reach_px : int
        Number of steps.

    Returns
    -------
    ndarray of int32, shape (H, W)
        Numbers of the seeds, 0 where none came. Nothing that lies further than ``reach_px`` rows or columns from a
        pixel matters to it.
    """
    grown = seeds.astype(np.int32)
    _spread(grown, mask, reach_px)
    return grown


@njit(cache=True, nogil=True)
def _spread(grown: InstanceMap, mask: Mask, reach: int) -> None:
    height, width = grown.shape
    neighbors = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
    fronts = np.empty((2, height * width), np.int32)
    count = _first_front(grown, mask, fronts[0])
    for step in range(reach):
        here, there, found = fronts[step % 2], fronts[1 - step % 2], 0
        ways = 4 if step % 2 == 0 else 8
        for k in range(count):
            y, x = divmod(here[k], width)
            for i in range(ways):
                row, column = y + neighbors[i][0], x + neighbors[i][1]
                if _is_free(grown, mask, row, column):
                    grown[row, column] = grown[y, x]
                    there[found] = row * width + column
                    found += 1
        count = found
        if count == 0:
            return


@njit(cache=True, nogil=True)
def _first_front(grown: InstanceMap, mask: Mask, front: npt.NDArray[np.int32]) -> int:
    count = 0
    for y in range(grown.shape[0]):
        for x in range(grown.shape[1]):
            if grown[y, x] != 0 and _has_room(grown, mask, y, x):
                front[count] = y * grown.shape[1] + x
                count += 1
    return count


@njit(cache=True, nogil=True)
def _has_room(grown: InstanceMap, mask: Mask, y: int, x: int) -> bool:
    for row in range(y - 1, y + 2):
        for column in range(x - 1, x + 2):
            if _is_free(grown, mask, row, column):
                return True
    return False


@njit(cache=True, nogil=True)
def _is_free(grown: InstanceMap, mask: Mask, y: int, x: int) -> bool:
    is_inside = 0 <= y < grown.shape[0] and 0 <= x < grown.shape[1]
    return bool(is_inside and mask[y, x] and grown[y, x] == 0)


def expand(instances: InstanceMap, reach_px: float) -> InstanceMap:
    """Give every pixel that is near enough to an object to the nearest one.

    Of objects equally near the one with the nearest row goes first, then the upper, then the left one.

    Parameters
    ----------
    instances : ndarray of int32, shape (H, W)
        Numbers of objects; 0 for none. They keep their pixels.
    reach_px : float
        Largest distance between pixel centers.

    Returns
    -------
    ndarray of int32, shape (H, W)
        Objects that have grown towards one another without overlap.
    """
    reach = int(reach_px)
    if reach < 1:
        return instances.copy()
    occupied = (instances != 0).view(np.uint8)
    near = cv2.dilate(occupied, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return np.asarray(_expanded(instances, near, reach, int(np.floor(reach_px * reach_px))), np.int32)


@njit(cache=True, nogil=True)
def _expanded(instances: InstanceMap, near: npt.NDArray[np.uint8], reach: int, limit: int) -> InstanceMap:
    offsets = _nearest_in_row(instances, reach)
    expanded = instances.copy()
    for y in range(instances.shape[0]):
        for x in range(instances.shape[1]):
            if near[y, x] != 0 and instances[y, x] == 0:
                expanded[y, x] = _nearest(instances, offsets, y, x, limit)
    return expanded


@njit(cache=True, nogil=True)
def _nearest(instances: InstanceMap, offsets: npt.NDArray[np.int16], y: int, x: int, limit: int) -> int:
    """Return the object nearest to a pixel, 0 where none is within the root of the limit."""
    best, number, step = limit + 1, 0, 0
    while step * step < best:
        for row in (y - step, y + step):
            if 0 <= row < instances.shape[0]:
                across = int(offsets[row, x])
                distance = step * step + across * across
                if distance < best:
                    best, number = distance, int(instances[row, x + across])
        step += 1
    return number


@njit(cache=True, nogil=True)
def _nearest_in_row(instances: InstanceMap, reach: int) -> npt.NDArray[np.int16]:
    """Columns to go to the nearest object of the row, the left one of two; more than the reach where there is none."""
    height, width = instances.shape
    offsets = np.empty((height, width), np.int16)
    for y in range(height):
        distance = reach + 1
        for x in range(width):
            distance = 0 if instances[y, x] != 0 else min(distance + 1, reach + 1)
            offsets[y, x] = -distance if distance <= reach else reach + 1
        distance = reach + 1
        for x in range(width - 1, -1, -1):
            distance = 0 if instances[y, x] != 0 else min(distance + 1, reach + 1)
            if distance < abs(offsets[y, x]):
                offsets[y, x] = distance
    return offsets
