from typing import Any

import numpy as np
import pytest
import shapely
from shapely import box

from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region
from qpbridge.core.tiles import TileGrid
from qpbridge.inference.interest import Interest
from qpbridge.inference.maps import certainty as module
from qpbridge.inference.maps.blending import Strip
from qpbridge.inference.maps.certainty import PROBABILITY, UNCERTAINTY, Certainty
from qpbridge.inference.objects import Outlining, outlines
from qpbridge.inference.predicting import Mosaic
from qpbridge.vector.polygons import LabelledPolygon

QUARTER = PixelCalibration.square(0.25)
BYTE = 1 / 255


def certainty_of(probabilities: Any, heights: tuple[int, ...] = (100,), interest: Interest | None = None) -> Certainty:
    """Take a picture of probabilities in strips; mosaic px are 2 level-0 px wide."""
    probabilities = np.asarray(probabilities, np.float32)
    height, width = probabilities.shape[1:]
    region = Region(x_px=0, y_px=0, width_px=2 * width, height_px=2 * height)
    grid = TileGrid(region=region, fov=FieldOfView(size_px=16, mpp=0.5), margin_px=0, calibration=QUARTER)
    mosaic = Mosaic.blank(grid, interest)
    inside = probabilities[:, mosaic.y :][:, : len(mosaic.labels), mosaic.x :][..., : mosaic.labels.shape[1]]
    mosaic.labels[:] = inside.argmax(0)
    certainty, y = Certainty(), 0
    for rows in heights:
        part = np.ascontiguousarray(inside[:, y : y + rows])
        certainty.take(Strip(mosaic=mosaic, y=y, probabilities=part, seen=np.ones(part.shape[1:], bool)))
        y += rows
    mosaic.labels[:] = 9  # as joining small pieces may
    return certainty


def polygon(label: int, *bounds: float) -> LabelledPolygon:
    return LabelledPolygon(label=label, geometry=box(*bounds), pixels=1)


def halves(left: float, right: float, height: int = 10, width: int = 8) -> Any:
    """Probabilities of two classes, the first of which is as likely as told in either half."""
    first = np.where(np.arange(width) < width // 2, left, right) * np.ones((height, 1))
    return np.stack([first, 1 - first])


def entropy(share: float) -> float:
    return float(-(share * np.log2(share) + (1 - share) * np.log2(1 - share)))


@pytest.mark.parametrize("rows_at_once", [3, 1024])
@pytest.mark.parametrize("heights", [(10,), (4, 1, 5)])
def test_measurements_are_means_over_the_pixels_of_an_object(
    heights: tuple[int, ...], rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS", rows_at_once)
    certainty = certainty_of(halves(0.9, 0.2), heights)

    left, right = certainty.measurements([polygon(0, 0, 0, 8, 20), polygon(1, 8, 4, 16, 18)])

    assert left == pytest.approx({UNCERTAINTY: entropy(0.9), PROBABILITY: 0.9}, abs=BYTE)
    assert right == pytest.approx({UNCERTAINTY: entropy(0.2), PROBABILITY: 0.8}, abs=BYTE)


def test_pieces_that_joined_an_object_count_for_its_uncertainty_only() -> None:
    certainty = certainty_of(halves(0.9, 0.2))

    (whole,) = certainty.measurements([polygon(0, 0, 0, 16, 20)])

    assert whole[PROBABILITY] == pytest.approx(0.9, abs=BYTE)
    assert whole[UNCERTAINTY] == pytest.approx((entropy(0.9) + entropy(0.2)) / 2, abs=BYTE)


def test_an_object_between_pixel_centers_has_no_measurements() -> None:
    certainty = certainty_of(halves(0.9, 0.2))

    assert certainty.measurements([polygon(0, 0, 0, 0.5, 0.5), polygon(1, 0, 0, 8, 20)])[0] == {}
    assert list(certainty.measurements([polygon(1, 0, 0, 8, 20)])[0]) == [UNCERTAINTY]


def test_windows_of_interest_are_where_they_are() -> None:
    interest = Interest.of([box(6, 4, 14, 16)], Region(x_px=0, y_px=0, width_px=16, height_px=20))
    certainty = certainty_of(halves(0.9, 0.2), interest=interest)

    left, right = certainty.measurements([polygon(0, 6, 4, 8, 16), polygon(1, 8, 4, 14, 16)])

    assert (left[PROBABILITY], right[PROBABILITY]) == pytest.approx((0.9, 0.8), abs=BYTE)


def test_objects_of_a_prediction_are_measured_on_their_own_pixels(predicting: Any) -> None:
    collected = predicting(predicting.blur(radius=3), 40, 8)
    strips = collected.strips
    certainty = Certainty()
    for strip in strips:
        certainty.take(strip)
    found = outlines(strips[0].mosaic, PixelCalibration.square(0.5), Outlining(min_area_um2=0), predicting.whole)

    measured = certainty.measurements(found)

    best = collected.probabilities.max(axis=0)
    weights = np.array([one.pixels for one in found])
    total = (weights * [one[PROBABILITY] for one in measured]).sum() / weights.sum()
    assert len(found) > 3
    assert total == pytest.approx(best.mean(), abs=BYTE)
    assert shapely.area([one.geometry for one in found]).sum() == best.size


def test_without_rows_or_objects_there_is_nothing_to_measure() -> None:
    assert certainty_of(halves(0.9, 0.2)).measurements([]) == []
    assert Certainty().measurements([polygon(0, 0, 0, 1, 1)]) == [{}]
