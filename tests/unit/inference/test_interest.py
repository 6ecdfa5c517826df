import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LineString, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from qpbridge.core.geometry import Region
from qpbridge.errors import InvalidValueError
from qpbridge.inference.interest import Interest

IMAGE = Region(x_px=0, y_px=0, width_px=100, height_px=80)

coordinates = st.integers(-70, 770).map(lambda sevenths: sevenths / 7)
triangles = st.tuples(*[st.tuples(coordinates, coordinates)] * 3).map(Polygon).filter(lambda one: one.area > 1)


def test_areas_are_joined_and_end_at_the_image() -> None:
    interest = Interest.of([box(-5, 10, 20, 30), box(10, 10, 40, 30), Point(3, 3), LineString([(0, 0), (9, 9)])], IMAGE)

    assert interest.geometry.equals(box(0, 10, 40, 30))
    assert interest.is_box
    assert interest.bounds == Region(x_px=0, y_px=10, width_px=40, height_px=20)


def test_an_outline_that_crosses_itself_is_mended() -> None:
    bow_tie = Polygon([(10, 10), (30, 30), (30, 10), (10, 30)])

    interest = Interest.of([bow_tie], IMAGE)

    assert interest.geometry.is_valid
    assert interest.geometry.area == pytest.approx(200)
    assert not interest.is_box


@pytest.mark.parametrize("areas", [[], [Point(3, 3)], [box(200, 0, 300, 50)], [box(100, 0, 120, 80)]])
def test_without_an_area_in_the_image_there_is_nothing_to_predict(areas: list[BaseGeometry]) -> None:
    with pytest.raises(InvalidValueError, match=r"between \(0, 0\) and \(100, 80\) px"):
        Interest.of(areas, IMAGE)


def test_it_may_be_all_of_the_image() -> None:
    assert Interest.of([box(-5, -5, 200, 200)], IMAGE).is_all_of(IMAGE)
    assert not Interest.of([box(0, 0, 99.9, 80)], IMAGE).is_all_of(IMAGE)


def test_it_covers_what_it_overlaps() -> None:
    interest = Interest.of([Point(50, 40).buffer(20)], IMAGE)

    assert interest.covers(Region(x_px=60, y_px=30, width_px=50, height_px=50))
    assert not interest.covers(Region(x_px=65, y_px=55, width_px=5, height_px=5))


@settings(deadline=None, max_examples=100)
@given(area=triangles.filter(lambda one: (one & box(0, 0, 100, 80)).area > 1), step=st.sampled_from([0.8, 2.0, 3.3]))
def test_no_pixel_that_it_touches_is_missed_and_none_far_away_is_taken(area: BaseGeometry, step: float) -> None:
    interest = Interest.of([area], IMAGE)
    region = Region(x_px=7, y_px=9, width_px=20 * step, height_px=12 * step)

    touched = interest.touched(region, 20, 12)

    touched = np.ones((12, 20), np.bool_) if touched is None else touched
    for y in range(12):
        for x in range(20):
            left, top = 7 + x * step, 9 + y * step
            pixel = box(left, top, left + step, top + step)
            if touched[y, x]:
                assert interest.is_box or pixel.distance(interest.geometry) <= 2 * step
            else:
                assert (pixel & interest.geometry).area == 0


def test_windows_agree_on_the_pixels_that_they_share() -> None:
    interest = Interest.of([Point(50, 40).buffer(33)], IMAGE)

    whole = interest.touched(IMAGE, 50, 40)
    part = interest.touched(Region(x_px=20, y_px=10, width_px=40, height_px=40), 20, 20)

    assert whole is not None
    assert part is not None
    np.testing.assert_array_equal(part, whole[5:25, 10:30])


def test_inside_and_for_a_box_every_pixel_is_touched() -> None:
    disk, square = (Interest.of([area], IMAGE) for area in (Point(50, 40).buffer(30), box(3, 3, 50, 50)))

    assert disk.touched(Region(x_px=45, y_px=35, width_px=10, height_px=10), 5, 5) is None
    assert square.touched(IMAGE, 50, 40) is None
