from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region
from qpbridge.core.objects import ObjectKind
from qpbridge.core.tiles import TileGrid
from qpbridge.inference.maps.blending import Strip
from qpbridge.inference.maps.certainty import UNCERTAINTY
from qpbridge.inference.maps.suggesting import LEAST_DISTANCE, Suggester, Suggestion, to_reviews
from qpbridge.inference.objects import Identity
from qpbridge.inference.predicting import Mosaic

EDGE = 16
IDENTITY = Identity(slide="s", model="m")
IMAGE = Region(x_px=0, y_px=0, width_px=400, height_px=300)


def suggester_of(doubt: Any, seen: Any = None, heights: tuple[int, ...] = (1000,), edge: int = EDGE) -> Suggester:
    """Take a picture of the probability of the second of two classes, in strips; mosaic px are 2 level-0 px wide."""
    doubt = np.asarray(doubt, np.float32)
    height, width = doubt.shape
    region = Region(x_px=0, y_px=0, width_px=2 * width, height_px=2 * height)
    fov, calibration = FieldOfView(size_px=edge, mpp=0.5), PixelCalibration.square(0.25)
    mosaic = Mosaic.blank(TileGrid(region=region, fov=fov, margin_px=0, calibration=calibration), None)
    seen = np.ones(doubt.shape, bool) if seen is None else seen
    suggester, y = Suggester(edge), 0
    for rows in heights:
        part = np.stack([1 - doubt[y : y + rows], doubt[y : y + rows]]) * seen[y : y + rows]
        suggester.take(Strip(mosaic=mosaic, y=y, probabilities=part, seen=seen[y : y + rows]))
        y += rows
    return suggester


def spots(*places: tuple[int, int, float], height: int = 150, width: int = 200) -> Any:
    """A sure network but for squares of one edge at some places (x, y) with some doubt."""
    doubt = np.zeros((height, width), np.float32)
    for x, y, share in places:
        doubt[y : y + EDGE, x : x + EDGE] = share
    return doubt


def corner(suggestion: Suggestion) -> tuple[float, float]:
    return suggestion.region.x_px / 2, suggestion.region.y_px / 2


def test_the_most_uncertain_regions_come_first_where_they_are() -> None:
    found = suggester_of(spots((20, 30, 0.2), (100, 100, 0.5), (150, 10, 0.3))).suggest(2)

    assert [corner(one) for one in found] == [(100, 100), (150, 10)]
    assert [one.region.width_px for one in found] == [2 * EDGE, 2 * EDGE]
    assert found[0].uncertainty == pytest.approx(1)
    assert found[1].uncertainty == pytest.approx(-(0.3 * np.log2(0.3) + 0.7 * np.log2(0.7)), abs=1e-5)


def test_there_are_no_more_than_there_is_doubt() -> None:
    assert len(suggester_of(spots((20, 30, 0.2))).suggest(50)) == 1
    assert suggester_of(spots()).suggest(3) == []
    assert Suggester(EDGE).suggest(3) == []


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(1, 149), max_size=5, unique=True))
def test_regions_are_spread_out_inside_the_slide_and_do_not_depend_on_the_strips(seed: int, cuts: list[int]) -> None:
    doubt = np.random.default_rng(seed).uniform(0, 0.5, (150, 200)).astype(np.float32)
    heights = tuple(np.diff([0, *sorted(cuts), 150]).tolist())

    found = suggester_of(doubt, heights=heights).suggest(12)

    at_once = suggester_of(doubt).suggest(12)
    assert [one.region for one in found] == [one.region for one in at_once]
    centers = np.array([one.region.center_px for one in found])
    apart = np.abs(centers[:, None] - centers[None]).max(axis=-1)[~np.eye(len(found), dtype=bool)]
    assert len(found) == 12
    assert apart.min() >= LEAST_DISTANCE * 2 * EDGE
    assert all(one.region.x_px >= 0 and one.region.right_px <= 400 for one in found)
    assert all(one.region.y_px >= 0 and one.region.bottom_px <= 300 for one in found)
    assert [one.uncertainty for one in found] == sorted((one.uncertainty for one in found), reverse=True)


def test_glass_is_not_suggested_and_does_not_dilute() -> None:
    seen = np.ones((150, 200), bool)
    seen[:, 104:] = False
    doubt = spots((100, 100, 0.5), (96, 20, 0.3))

    found = suggester_of(doubt, seen).suggest(3)

    # Of the second spot half was seen; of the first, too little to look at it alone.
    assert found[0].uncertainty > 0.8
    assert all(corner(one)[0] <= 96 for one in found)


def test_a_slide_smaller_than_a_region_is_one_region() -> None:
    (only,) = suggester_of(np.full((9, 11), 0.4, np.float32)).suggest(3)

    assert (only.region.x_px, only.region.y_px) == (0, 0)
    assert only.region.width_px >= 22


def test_suggestions_become_locked_annotations_that_no_class_is() -> None:
    regions = [Region(x_px=x, y_px=290, width_px=32.004, height_px=32) for x in (10, 100.123)]
    found = [Suggestion(region=region, uncertainty=share) for region, share in zip(regions, (0.9, 0.5), strict=True)]

    reviews = to_reviews(found, IMAGE, IDENTITY)

    assert [item.name for item in reviews] == ["Review 1 of 2", "Review 2 of 2"]
    assert {(item.kind, item.is_locked) for item in reviews} == {(ObjectKind.ANNOTATION, True)}
    assert all(item.path_class is not None and item.path_class.is_suggestion for item in reviews)
    assert all(item.path_class is not None and item.path_class.is_ignored for item in reviews)
    assert [item.measurements for item in reviews] == [{UNCERTAINTY: 0.9}, {UNCERTAINTY: 0.5}]
    assert reviews[1].geometry.bounds == (100.12, 290, 132.13, 300)
    assert len({item.id for item in reviews}) == 2
    assert [item.id for item in reviews] == [item.id for item in to_reviews(found, IMAGE, IDENTITY)]
    assert to_reviews([], IMAGE, IDENTITY) == []
    assert shapely.is_valid([item.geometry for item in reviews]).all()
