"""Size and form of many outlines at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from qpbridge.core.geometry import PixelCalibration

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Measurements of outlines, one row each.

    Parameters
    ----------
    area_um2 : ndarray, shape (N,)
        Without holes.
    perimeter_um : ndarray, shape (N,)
        Length of all rings.
    circularity : ndarray, shape (N,)
        ``4 pi area / perimeter^2``: 1 for a circle.
    eccentricity : ndarray, shape (N,)
        Of the ellipse with the same second moments: 0 for a circle, towards 1 for a line.
    major_axis_um, minor_axis_um : ndarray, shape (N,)
        Whole axes of that ellipse.
    """

    area_um2: Floats
    perimeter_um: Floats
    circularity: Floats
    eccentricity: Floats
    major_axis_um: Floats
    minor_axis_um: Floats


def measure_shapes(polygons: npt.NDArray[np.object_], calibration: PixelCalibration) -> Shapes:
    """Measure outlines as they are, by their points.

    Parameters
    ----------
    polygons : ndarray of Polygon, shape (N,)
        Valid and not empty, level-0 px.
    calibration : PixelCalibration
        Of the slide; pixels need not be square.
    """
    left, top, _, _ = shapely.bounds(polygons).T
    scale = np.array([calibration.mpp_x, calibration.mpp_y])
    perimeter_um = np.zeros(len(polygons))
    area_um2, *moments = _moments(polygons, np.stack((left, top), axis=1), scale, perimeter_um)
    xx, yy, xy = moments
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    # Rounding may leave a variance just below zero, and roots of that are none.
    low, high = np.maximum(middle - spread, 0), middle + spread
    return Shapes(
        area_um2=area_um2,
        perimeter_um=perimeter_um,
        circularity=4 * np.pi * area_um2 / perimeter_um**2,
        eccentricity=np.sqrt(1 - low / high),
        major_axis_um=4 * np.sqrt(high),
        minor_axis_um=4 * np.sqrt(low),
    )


def _moments(
    polygons: npt.NDArray[np.object_], origins_px: Floats, scale: Floats, perimeters: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Area, variances in x and y and covariance of each polygon; adds its length to the perimeters.

    Sums over the edges, by Green's theorem; holes run the other way around and so count against the shell.
    """
    rings, owners = shapely.get_rings(shapely.orient_polygons(polygons), return_index=True)
    points, ring_of = shapely.get_coordinates(rings, return_index=True)
    # Near the origin, or large coordinates would drown small moments.
    points = (points - origins_px[owners[ring_of]]) * scale
    is_edge = ring_of[1:] == ring_of[:-1]
    (x0, y0), (x1, y1) = points[:-1][is_edge].T, points[1:][is_edge].T
    owner, count = owners[ring_of[1:][is_edge]], len(polygons)
    cross = x0 * y1 - x1 * y0
    perimeters += np.bincount(owner, np.hypot(x1 - x0, y1 - y0), count)
    terms = (
        cross / 2,
        (x0 + x1) * cross / 6,
        (y0 + y1) * cross / 6,
        (x0 * x0 + x0 * x1 + x1 * x1) * cross / 12,
        (y0 * y0 + y0 * y1 + y1 * y1) * cross / 12,
        (x0 * y1 + 2 * x0 * y0 + 2 * x1 * y1 + x1 * y0) * cross / 24,
    )
    area, x, y, xx, yy, xy = (np.bincount(owner, term, count).astype(np.float64) for term in terms)
    mean_x, mean_y = x / area, y / area
    return area, xx / area - mean_x**2, yy / area - mean_y**2, xy / area - mean_x * mean_y
