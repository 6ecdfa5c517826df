"""The connected pieces of objects, and which of them count. Everything in px."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import cc3d
import numpy as np
import numpy.typing as npt
from numba import njit

from qpbridge.core.arrays import InstanceMap, Mask

Integers: TypeAlias = npt.NDArray[np.int64]

_BEYOND = -1
"""Number of what lies outside a map."""


def pieces(mask: Mask | InstanceMap, connectivity: Literal[4, 8]) -> InstanceMap:
    """Return the connected pieces of a mask, numbered from 1 on in reading order of their first pixels.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        Or numbers of objects: then pieces of different objects are not connected.
    connectivity : int
        4 or 8.
    """
    whole = mask.view(np.uint8) if mask.dtype == np.bool_ else mask
    return np.asarray(cc3d.connected_components(whole, connectivity=connectivity), np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a map holds by number, one row each; row 0 is what belongs to nobody.

    Parameters
    ----------
    areas_px : ndarray of int64, shape (N + 1,)
        Number of pixels.
    extents_px : ndarray of int64, shape (N + 1,)
        Longer edge of the upright box around them; 0 where there is none.
    first : ndarray of int64, shape (N + 1,)
        The first pixel in the flattened map; 0 where there is none.
    """

    areas_px: Integers
    extents_px: Integers
    first: Integers


def survey(numbers: InstanceMap) -> Survey:
    """Count and enclose the pixels of each number in one pass."""
    areas, extents, first = _survey(numbers, int(numbers.max(initial=0)))
    return Survey(areas_px=areas, extents_px=extents, first=first)


@njit(cache=True, nogil=True)
def _survey(numbers: InstanceMap, highest: int) -> tuple[Integers, Integers, Integers]:
    height, width = numbers.shape
    areas, first = np.zeros(highest + 1, np.int64), np.zeros(highest + 1, np.int64)
    top, bottom = np.full(highest + 1, height), np.full(highest + 1, -1)
    left, right = np.full(highest + 1, width), np.full(highest + 1, -1)
    for y in range(height):
        for x in range(width):
            number = numbers[y, x]
            if number == 0:
                continue
            if areas[number] == 0:
                first[number] = y * width + x
                top[number] = y
            areas[number] += 1
            bottom[number] = y
            left[number] = min(left[number], x)
            right[number] = max(right[number], x)
    areas[0] = height * width - areas[1:].sum()
    return areas, np.maximum(np.maximum(bottom - top, right - left) + 1, 0), first


def chosen(instances: InstanceMap, is_kept: npt.NDArray[np.bool_]) -> InstanceMap:
    """Return the map with some of its numbers only; what is at position 0 does not count."""
    if is_kept[1:].all():
        return instances
    table = np.where(is_kept, np.arange(len(is_kept), dtype=np.int32), np.int32(0))
    return np.asarray(np.take(table, instances), np.int32)


def largest_pieces(instances: InstanceMap, connectivity: Literal[4, 8]) -> InstanceMap:
    """Leave the largest piece of each object, the first of equally large ones.

    Parameters
    ----------
    instances : ndarray of int32, shape (H, W)
        Numbers of objects; 0 for none.
    connectivity : int
        4 or 8.
    """
    numbers = pieces(instances, connectivity)
    found = survey(numbers)
    owners = instances.ravel()[found.first]
    owners[0] = 0
    order = np.lexsort((-found.areas_px, owners))
    is_dropped = np.zeros(len(owners), np.bool_)
    is_dropped[order[np.diff(owners[order], prepend=0) == 0]] = True
    is_dropped[0] = False
    # Nearly always every object is one piece.
    return np.where(is_dropped[numbers], np.int32(0), instances) if is_dropped.any() else instances


def fill_holes(instances: InstanceMap, most_px: float) -> InstanceMap:
    """Give small holes to the object around them.

    Parameters
    ----------
    instances : ndarray of int32, shape (H, W)
        Numbers of objects; 0 for none.
    most_px : float
        4-connected gaps of fewer pixels are holes if they touch a single object, and not the rim of the map.
    """
    gaps = pieces(instances == 0, 4)
    found = survey(gaps)
    is_small = found.areas_px < most_px
    is_small[0] = False
    if not is_small.any():
        return instances
    y, x = np.nonzero(is_small[gaps])
    around = np.pad(instances, 1, constant_values=_BEYOND)
    gap = gaps[y, x]
    lowest, highest = np.full(len(is_small), np.iinfo(np.int32).max), np.zeros(len(is_small), np.int32)
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        neighbor = around[1 + y + dy, 1 + x + dx]
        touches = neighbor != 0
        np.minimum.at(lowest, gap[touches], neighbor[touches])
        np.maximum.at(highest, gap[touches], neighbor[touches])
    table = np.where(lowest == highest, highest, 0)
    filled = instances.copy()
    filled[y, x] = table[gap]
    return filled
