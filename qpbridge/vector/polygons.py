"""From label maps to polygons along pixel edges. Coordinates in px of the label map, (0, 0) its upper left corner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import Polygon

from qpbridge.core.arrays import LabelMap


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPolygon:
    """One connected piece of a label.

    Parameters
    ----------
    label : int
        Value in the label map.
    geometry : Polygon
        Outline with holes; the function that returns it says in which space.
    pixels : int
        Number of pixels in the label map, whatever smoothing does to the outline.
    """

    label: int
    geometry: Polygon
    pixels: int


def vectorize(label_map: LabelMap) -> list[LabelledPolygon]:
    """Outline every 4-connected piece of equal label along its pixel edges.

    Areas equal pixel counts exactly, holes are kept, all polygons are valid, and together they are a valid
    coverage: neighbors have every point on a shared border in common, also where a straight border meets a
    third piece. One pass, linear time. Beside the label map it takes about 5 bytes per pixel and 50 bytes per
    point: 1.2 GB for 16,384 x 16,384 pixels with few pieces, 2.3 GB with 380,000 ragged ones.

    Parameters
    ----------
    label_map : ndarray of uint8, shape (H, W)
        Pixels of ``IGNORE_INDEX`` belong to no polygon.

    Returns
    -------
    list of LabelledPolygon
        In px of the label map, in reading order of their first pixels.
    """
    # Labels move up by one and the ignore index wraps around to 0: nobody's, as is the rim.
    shifted = np.zeros((label_map.shape[0] + 2, label_map.shape[1] + 2), np.uint8)
    np.add(label_map, np.uint8(1), out=shifted[1:-1, 1:-1])
    x, y, geometries = outline_pieces(shifted)
    pixels = np.rint(shapely.area(geometries)).astype(np.int64)
    return [
        LabelledPolygon(label=label, geometry=geometry, pixels=number)
        for label, geometry, number in zip(label_map[y, x].tolist(), geometries.tolist(), pixels.tolist(), strict=True)
    ]


def outline_pieces(
    padded: npt.NDArray[np.uint8] | npt.NDArray[np.int32],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.object_]]:
    """Outline every 4-connected piece of equal number other than 0 along its pixel edges.

    Parameters
    ----------
    padded : ndarray of uint8 or int32, shape (H + 2, W + 2)
        Numbers inside a rim of zeros; overwritten where uint8.

    Returns
    -------
    x, y : ndarray of int32, shape (N,)
        First pixel of each piece in reading order, by which the pieces are sorted; px of the inner map.
    geometries : ndarray of Polygon, shape (N,)
        Px of the inner map.
    """
    import cc3d

    from qpbridge.vector.tracing import trace

    ids, count = cc3d.connected_components(padded, connectivity=4, return_N=True, out_dtype=np.uint32)
    visited = padded if padded.dtype == np.uint8 else np.empty(padded.shape, np.uint8)
    visited.fill(0)
    points, starts, owners = trace(ids.astype(np.uint32, copy=False), count, visited)  # type: ignore[arg-type]
    if not count:
        return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, dtype=object)
    is_shell = np.diff(np.maximum.accumulate(owners), prepend=-1) > 0
    first_x, first_y = points[starts[1:][is_shell] - 1].T
    return first_x, first_y, _assemble(points, starts, owners)


def _assemble(
    points: npt.NDArray[np.int32], starts: npt.NDArray[np.int64], owners: npt.NDArray[np.int64]
) -> npt.NDArray[np.object_]:
    ring_of_point = np.repeat(np.arange(len(owners)), np.diff(starts))
    rings = shapely.linearrings(points.astype(np.float64), indices=ring_of_point)
    order = np.argsort(owners, kind="stable")
    geometries: npt.NDArray[np.object_] = shapely.polygons(rings[order], indices=owners[order])
    return geometries
