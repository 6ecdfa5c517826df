"""From a map of nuclei to what a network should say. Everything in px of the map, sizes in µm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import IGNORE_INDEX, InstanceMap, LabelMap, Mask
from qpbridge.vector.instances.depths import deepest, squared_depths
from qpbridge.vector.instances.pieces import largest_pieces, survey

AREA_LIMITS_UM2: Final = (4.4, 7.5, 31.3)
"""Up to each of these areas a nucleus is eroded less (public program of Rahmon et al. 2022: 70, 120, 500 px)."""

EROSION_RADII_UM: Final = (0.0, 0.25, 1.0, 1.5)
"""Radius by which nuclei are eroded, up to each limit and beyond (public program: 0, 1, 4, 6 px)."""

LEAST_DEPTH_UM: Final = 0.75
"""How deep the middle of a marker lies in it at least; nuclei are eroded less for that, where they are slender."""

CENTER_RADIUS_UM: Final = 1.0
"""Radius of a center marker; the paper calls it a constant without a number (Rahmon et al. 2022, sec. III.D)."""

_ROUNDING: Final = 1e-6
"""Absorbs that a radius in µm over a pixel size is not quite a whole number."""

Marker: TypeAlias = Literal["shape", "center", "none"]
"""What tells nuclei apart that touch."""


def nucleus_mask(instances: InstanceMap, known: Mask) -> LabelMap:
    """Return 1 in nuclei, 0 where there surely are none, ``IGNORE_INDEX`` elsewhere.

    Parameters
    ----------
    instances : ndarray of int32, shape (H, W)
        Numbers of nuclei; 0 for none.
    known : ndarray of bool, shape (H, W)
        Where all nuclei are annotated. What lies in a nucleus is known anyway.
    """
    return _with_unknown(instances > 0, instances, known)


def erosion_radii_um(areas_um2: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the radius of the disk by which nuclei of these areas are eroded, µm."""
    return np.take(EROSION_RADII_UM, np.searchsorted(AREA_LIMITS_UM2, areas_um2))


def shape_marker(instances: InstanceMap, mpp: float) -> Mask:
    """Return each nucleus eroded by a disk whose radius depends on its area: one piece each, never none.

    A nucleus too slender for its disk takes one that leaves a marker of ``LEAST_DEPTH_UM``: of a thinner one, a network
    finds fragments. Of several pieces the largest stays: two would teach that it is two nuclei. Both depart from the
    published program.

    Parameters
    ----------
    instances : ndarray of int32, shape (H, W)
        Numbers of nuclei; 0 for none. What is cut off at the rim is neither eroded there nor counted.
    mpp : float
        Pixel size, µm/px.

    References
    ----------
    Rahmon et al. 2022, sec. III.D; values: public program, taken to µm.
    """
    local = _from_one_on(instances)
    depths = squared_depths(local, (EROSION_RADII_UM[-1] + LEAST_DEPTH_UM) / mpp)
    bearable_px = np.sqrt(deepest(local, depths)) - LEAST_DEPTH_UM / mpp
    radii_px = np.clip(erosion_radii_um(survey(local).areas_px * mpp**2) / mpp, 0, np.maximum(bearable_px, 0))
    # What remains are the pixels deeper than the radius; distances are whole numbers when squared.
    remains = depths > np.floor(radii_px**2 + _ROUNDING).astype(np.int32)[local]
    return largest_pieces(np.where(remains, local, np.int32(0)), 8) > 0


def center_marker(instances: InstanceMap, mpp: float) -> Mask:
    """Return a disk of ``CENTER_RADIUS_UM`` around the centroid of each nucleus.

    Parameters
    ----------
    instances : ndarray of int32, shape (H, W)
        Numbers of nuclei; 0 for none.
    mpp : float
        Pixel size, µm/px.

    References
    ----------
    Rahmon et al. 2022, sec. III.D: worse than shape markers.
    """
    marker = np.zeros(instances.shape, np.bool_)
    y, x = np.nonzero(instances)
    owners = _from_one_on(instances)[y, x] - 1
    counts = np.bincount(owners)
    centers = [np.rint(np.bincount(owners, places) / counts).astype(np.int64) for places in (y, x)]
    reach = int(CENTER_RADIUS_UM / mpp)
    steps = np.arange(-reach, reach + 1)
    dy, dx = np.nonzero(np.hypot(steps[:, None], steps) * mpp <= CENTER_RADIUS_UM)
    rows, columns = np.add.outer(centers[0], dy - reach), np.add.outer(centers[1], dx - reach)
    inside = (rows >= 0) & (rows < instances.shape[0]) & (columns >= 0) & (columns < instances.shape[1])
    marker[rows[inside], columns[inside]] = True
    return marker


MARKERS: Final[Mapping[Marker, Callable[[InstanceMap, float], Mask]]] = {
    "shape": shape_marker,
    "center": center_marker,
}


def nucleus_marker(instances: InstanceMap, known: Mask, mpp: float, marker: Marker) -> LabelMap:
    """Return 1 in markers, 0 where there surely are none, ``IGNORE_INDEX`` elsewhere; parameters as above."""
    return _with_unknown(MARKERS[marker](instances, mpp), instances, known)


def _with_unknown(is_there: Mask, instances: InstanceMap, known: Mask) -> LabelMap:
    target = is_there.astype(np.uint8)
    target[~(known | (instances > 0) | is_there)] = IGNORE_INDEX
    return target


def _from_one_on(instances: InstanceMap) -> InstanceMap:
    """Return the map with its numbers made 1, 2, and so on; sorting them would take longer than all the rest."""
    is_there = np.bincount(instances.ravel()) > 0
    is_there[0] = False
    return np.asarray(np.cumsum(is_there, dtype=np.int32)[instances] * (instances > 0), np.int32)
