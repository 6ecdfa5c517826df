from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.core.geometry import Region
from qpbridge.errors import InvalidValueError
from qpbridge.vector.polygons import vectorize
from qpbridge.vector.raster import ShapeIndex, mend, rasterize

CHECKERBOARD = np.indices((6, 7)).sum(axis=0).astype(np.uint8) % 2
DIAGONALS = np.where(np.indices((5, 5)).sum(axis=0) % 2, IGNORE_INDEX, 0).astype(np.uint8)

label_maps = st.sampled_from([(0, 255), (0, 1, 255), (0, 1, 2, 254)]).flatmap(
    lambda labels: arrays(
        np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from(labels), fill=st.nothing()
    )
)


def region(x_px: float, y_px: float, width_px: float, height_px: float) -> Region:
    return Region(x_px=x_px, y_px=y_px, width_px=width_px, height_px=height_px)


def shapes_of(label_map: LabelMap) -> list[tuple[BaseGeometry, int]]:
    return [(polygon.geometry, polygon.label) for polygon in vectorize(label_map)]


@given(label_maps)
@example(CHECKERBOARD)
@example(DIAGONALS)
@example(np.full((3, 4), IGNORE_INDEX, np.uint8))
@settings(deadline=None, max_examples=150)
def test_rasterizing_what_was_vectorized_gives_the_label_map_back(label_map: LabelMap) -> None:
    height, width = label_map.shape

    painted = rasterize(shapes_of(label_map), region(0, 0, width, height), width, height)

    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(painted, label_map)


@given(label_maps, st.integers(-5, 12), st.integers(-5, 12), st.integers(1, 9), st.integers(1, 9))
@settings(deadline=None)
def test_a_window_shows_its_part_of_the_whole(label_map: LabelMap, x: int, y: int, width: int, height: int) -> None:
    whole = np.pad(label_map, 25, constant_values=IGNORE_INDEX)

    painted = ShapeIndex(shapes_of(label_map)).rasterize(region(x, y, width, height), width, height)

    np.testing.assert_array_equal(painted, whole[y + 25 : y + 25 + height, x + 25 : x + 25 + width])


def test_a_window_of_a_large_slanted_shape_holds_the_pixels_whose_centers_are_inside() -> None:
    star = Point(1000.3, 1000.7).buffer(700.1, quad_segs=500)
    window = region(1400, 400, 260, 200)

    painted = ShapeIndex([(star, 3)]).rasterize(window, 130, 50)

    x, y = np.meshgrid(1400 + 2 * (np.arange(130) + 0.5), 400 + 4 * (np.arange(50) + 0.5))
    expected = np.where(shapely.contains_xy(star, x, y), 3, IGNORE_INDEX)
    np.testing.assert_array_equal(painted, expected)
    assert 0 < np.count_nonzero(painted == 3) < painted.size


def test_later_shapes_lie_on_top_whatever_the_order_in_the_index() -> None:
    shapes = [(box(i, 0, i + 5, 4), i) for i in (3, 0, 2, 1)]

    painted = rasterize(shapes, region(0, 0, 8, 1), 8, 1)

    np.testing.assert_array_equal(painted, [[0, 1, 1, 1, 1, 1, 2, 3]])


def test_shapes_of_the_ignore_index_hide_what_lies_below() -> None:
    painted = rasterize([(box(0, 0, 4, 1), 1), (box(1, 0, 3, 1), IGNORE_INDEX)], region(0, 0, 4, 1), 4, 1)

    np.testing.assert_array_equal(painted, [[1, 255, 255, 1]])


def test_holes_and_parts_are_honored() -> None:
    frame = box(0, 0, 5, 5).difference(box(1, 1, 4, 4))
    shape = MultiPolygon([frame, box(7, 0, 8, 5)])

    painted = rasterize([(shape, 2)], region(0, 0, 8, 5), 8, 5)

    np.testing.assert_array_equal(painted[2], [2, 255, 255, 255, 2, 255, 255, 2])


def test_points_lines_and_far_shapes_paint_nothing() -> None:
    shapes = [(Point(2, 2), 1), (LineString([(0, 0), (9, 9)]), 1), (box(100, 100, 200, 200), 1), (Polygon(), 1)]

    assert (rasterize(shapes, region(0, 0, 9, 9), 9, 9) == IGNORE_INDEX).all()
    assert (rasterize([], region(0, 0, 9, 9), 9, 9) == IGNORE_INDEX).all()


def test_a_label_map_without_pixels_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="not 0 x 3"):
        rasterize([], region(0, 0, 1, 1), 0, 3)


def test_valid_polygons_are_returned_as_they_are() -> None:
    for geometry in (box(0, 0, 1, 1), MultiPolygon([box(0, 0, 1, 1), box(2, 2, 3, 3)]), Polygon()):
        assert mend(geometry) == (geometry, False)


@pytest.mark.parametrize(
    ("geometry", "area"),
    [
        (Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]), 2),  # crosses itself
        (Polygon([(0, 0), (10, 0), (10, 10), (4, 10), (4, 4), (14, 4), (14, 14), (0, 14)]), 180),  # overlaps itself
        (MultiPolygon([box(0, 0, 2, 2), box(1, 1, 3, 3)]), 7),
        (Polygon([(0, 0), (2, 0), (2, 2), (0, 2)], [[(5, 5), (6, 5), (6, 6), (5, 6)]]), 5),
        (GeometryCollection([Point(0, 0), box(0, 0, 1, 1), MultiPolygon([box(3, 3, 4, 4), box(5, 5, 6, 6)])]), 3),
        (Polygon([(0, 0), (4, 0), (4, 4), (4, 8), (4, 4), (0, 4)]), 16),  # has a spike
        (LineString([(0, 0), (1, 1)]), 0),
        (Polygon([(0, 0), (1, 1), (2, 2)]), 0),
        (GeometryCollection(), 0),
    ],
)
def test_mended_geometries_are_valid_and_polygonal(geometry: BaseGeometry, area: float) -> None:
    mended, changed = mend(geometry)

    assert changed
    assert mended.is_valid
    assert mended.geom_type in {"Polygon", "MultiPolygon"}
    assert mended.area == pytest.approx(area)


def test_coordinates_that_are_not_finite_leave_nothing() -> None:
    geometry = shapely.transform(box(0, 0, 2, 2), lambda points: np.where(points == 2, np.inf, points))

    mended, changed = mend(geometry)

    assert changed
    assert mended.is_empty


def test_threads_may_paint_at_once_and_none_hears_warnings() -> None:
    index = ShapeIndex([(box(0, 0, 20, 30), 1), (box(20, 0, 40, 30), 2)])
    frame = region(0, 0, 40, 40)
    expected = index.rasterize(frame, 40, 40)

    with ThreadPoolExecutor(4) as pool:
        painted = list(pool.map(lambda _: index.rasterize(frame, 40, 40), range(400)))

    assert all(np.array_equal(one, expected) for one in painted)
