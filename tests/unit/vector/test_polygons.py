import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.vector.polygons import LabelledPolygon, vectorize

CHECKERBOARD = np.indices((6, 7)).sum(axis=0).astype(np.uint8) % 2
DIAGONALS = np.where(np.indices((5, 5)).sum(axis=0) % 2, IGNORE_INDEX, 0).astype(np.uint8)
RING_PINCHED_TWICE = np.array([[0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0], [1, 1, 0, 0]], np.uint8)

label_maps = st.sampled_from([(0,), (0, 255), (0, 1, 255), (0, 1, 2, 254)]).flatmap(
    lambda labels: arrays(
        np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=10), elements=st.sampled_from(labels), fill=st.nothing()
    )
)


def pieces(label_map: LabelMap, label: int) -> npt.NDArray[np.int32]:
    numbered: npt.NDArray[np.int32] = ndimage.label(label_map == label)[0]
    return numbered


def geometries(polygons: list[LabelledPolygon]) -> npt.NDArray[np.object_]:
    return np.array([polygon.geometry for polygon in polygons], dtype=object)


@given(label_maps)
@example(CHECKERBOARD)
@example(DIAGONALS)
@example(RING_PINCHED_TWICE)
@settings(deadline=None, max_examples=150)
def test_polygons_are_valid_and_there_is_one_for_each_piece_with_exactly_its_area(label_map: LabelMap) -> None:
    polygons = vectorize(label_map)

    assert shapely.is_valid(geometries(polygons)).all()
    for label in (0, 1, 2, 254, 255):
        numbered = pieces(label_map, label)
        areas = sorted(np.bincount(numbered.ravel(), minlength=1)[1:].tolist())
        own = [polygon for polygon in polygons if polygon.label == label]
        assert sorted(polygon.geometry.area for polygon in own) == (areas if label != IGNORE_INDEX else [])
        assert all(polygon.pixels == polygon.geometry.area for polygon in own)


@given(label_maps)
@example(CHECKERBOARD)
@example(DIAGONALS)
@example(RING_PINCHED_TWICE)
@settings(deadline=None, max_examples=150)
def test_polygons_fit_together_without_gap_or_overlap(label_map: LabelMap) -> None:
    polygons = geometries(vectorize(label_map))

    assert shapely.coverage_is_valid(polygons)
    assert shapely.union_all(polygons).area == np.count_nonzero(label_map != IGNORE_INDEX)


@given(label_maps)
@settings(deadline=None)
def test_a_polygon_lies_where_its_label_is(label_map: LabelMap) -> None:
    for polygon in vectorize(label_map):
        inside = polygon.geometry.representative_point()

        assert label_map[int(inside.y), int(inside.x)] == polygon.label


def test_holes_are_kept_and_what_lies_in_them_is_a_polygon_of_its_own() -> None:
    label_map = np.zeros((9, 9), np.uint8)
    label_map[2:7, 2:7] = 1
    label_map[4, 4] = 0

    polygons = vectorize(label_map)

    assert [(polygon.label, polygon.pixels) for polygon in polygons] == [(0, 56), (1, 24), (0, 1)]
    assert [len(polygon.geometry.interiors) for polygon in polygons] == [1, 1, 0]
    assert polygons[2].geometry.equals(shapely.box(4, 4, 5, 5))


def test_pieces_that_touch_at_a_corner_only_are_two() -> None:
    assert len(vectorize(np.array([[0, 255], [255, 0]], np.uint8))) == 2


def test_straight_borders_have_no_needless_points() -> None:
    (polygon,) = vectorize(np.full((50, 70), 3, np.uint8))

    assert len(polygon.geometry.exterior.coords) == 5
    assert polygon.geometry.equals(shapely.box(0, 0, 70, 50))


def test_neighbors_share_the_point_where_a_third_piece_meets_their_border() -> None:
    above, left, right = vectorize(np.array([[0, 0], [1, 2]], np.uint8))

    assert all((1.0, 1.0) in polygon.geometry.exterior.coords for polygon in (above, left, right))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_nothing_but_the_ignore_index_makes_no_polygon(shape: tuple[int, int]) -> None:
    assert vectorize(np.full(shape, IGNORE_INDEX, np.uint8)) == []


def test_the_label_map_stays_as_it_is_and_may_be_a_read_only_view() -> None:
    label_map = np.arange(48, dtype=np.uint8).reshape(6, 8)[::2, ::2] % 3
    before = label_map.copy()
    label_map.flags.writeable = False

    polygons = vectorize(label_map)

    assert sum(polygon.pixels for polygon in polygons) == label_map.size
    np.testing.assert_array_equal(label_map, before)


def test_more_points_than_first_thought_of_are_no_problem() -> None:
    label_map = np.random.default_rng(0).integers(0, 4, (150, 150)).astype(np.uint8)

    polygons = vectorize(label_map)

    assert sum(polygon.pixels for polygon in polygons) == label_map.size
    assert shapely.get_num_coordinates(geometries(polygons)).sum() > 50_000
