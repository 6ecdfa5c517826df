import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from qpbridge.vector.cutting import cut, touches_border
from qpbridge.vector.placing import GRID_PX
from qpbridge.vector.polygons import LabelledPolygon, vectorize

coordinates = st.integers(0, 1600).map(lambda hundredths: hundredths / 100)
triangles = st.tuples(*[st.tuples(coordinates, coordinates)] * 3).map(Polygon).filter(lambda one: one.area > 1)


def patchwork(seed: int) -> list[LabelledPolygon]:
    return vectorize(np.random.default_rng(seed).integers(0, 3, (16, 16)).astype(np.uint8))


@settings(deadline=None, max_examples=150)
@given(triangle=triangles, others=st.lists(triangles, max_size=2), seed=st.integers(0, 20))
def test_what_is_cut_still_fits_together_and_covers_the_shape_once(
    triangle: BaseGeometry, others: list[BaseGeometry], seed: int
) -> None:
    shape = shapely.set_precision(shapely.union_all([triangle, *others]), GRID_PX)

    parts = [polygon.geometry for polygon in cut(patchwork(seed), shape)]

    assert shapely.is_valid(parts).all()
    assert {part.geom_type for part in parts} == {"Polygon"}
    assert shapely.coverage_is_valid(parts)
    assert sum(part.area for part in parts) == pytest.approx(shape.area, abs=GRID_PX / 2 * shape.length)
    coordinates = shapely.get_coordinates(parts)
    assert np.array_equal(np.round(coordinates, 2), coordinates)


@settings(deadline=None, max_examples=50)
@given(shape=triangles, seed=st.integers(0, 20))
def test_each_part_lies_in_its_polygon_and_in_the_shape(shape: BaseGeometry, seed: int) -> None:
    polygons = patchwork(seed)
    tolerance_px2 = GRID_PX * shape.length

    for label in range(3):
        whole = shapely.union_all([polygon.geometry for polygon in polygons if polygon.label == label])
        parts = [polygon.geometry for polygon in cut(polygons, shape) if polygon.label == label]
        assert shapely.union_all(parts).area == pytest.approx((whole & shape).area, abs=tolerance_px2)
        assert (shapely.union_all(parts) - whole).area <= tolerance_px2


def test_polygons_away_from_the_border_stay_or_go_as_they_are() -> None:
    inside = LabelledPolygon(label=1, geometry=box(6, 6, 7, 7), pixels=1)
    outside = LabelledPolygon(label=1, geometry=box(20, 20, 21, 21), pixels=1)
    around = LabelledPolygon(label=2, geometry=box(0, 0, 30, 30) - box(6, 6, 7, 7) - box(20, 20, 21, 21), pixels=898)
    shape = Point(6.5, 6.5).buffer(4)

    kept = cut([around, inside, outside], shape)

    assert touches_border([around, inside, outside], shape).tolist() == [True, False, False]
    assert kept[1] is inside
    assert [polygon.label for polygon in kept] == [2, 1]
    assert kept[0].pixels == round(kept[0].geometry.area)


def test_a_polygon_that_only_touches_the_border_keeps_its_points_in_their_order() -> None:
    (polygon,) = vectorize(np.zeros((4, 4), np.uint8))

    (kept,) = cut([polygon], Polygon([(0, 0), (4, 0), (4, 4), (0, 4), (-3, 2)]))

    assert kept.geometry is polygon.geometry
    assert kept.pixels == 16


def test_a_polygon_that_falls_apart_gives_its_parts_from_top_to_bottom() -> None:
    polygon = LabelledPolygon(label=3, geometry=box(0, 0, 10, 30), pixels=300)

    parts = cut([polygon], box(-1, 20, 11, 25) | box(-1, 5, 11, 15))

    assert [(part.label, part.pixels, part.geometry.bounds) for part in parts] == [
        (3, 100, (0, 5, 10, 15)),
        (3, 50, (0, 20, 10, 25)),
    ]


def test_nothing_is_cut_into_nothing() -> None:
    assert cut([], box(0, 0, 1, 1)) == []
