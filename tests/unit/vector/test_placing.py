import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from qpbridge.core.arrays import LabelMap
from qpbridge.core.geometry import Region
from qpbridge.vector.placing import place, translate
from qpbridge.vector.polygons import LabelledPolygon, vectorize
from qpbridge.vector.smoothing import smooth

WIDE = Region(x_px=-1e6, y_px=-1e6, width_px=2e6, height_px=2e6)

label_maps = arrays(
    np.uint8,
    array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([0, 1, 2, 255]),
    fill=st.sampled_from([0, 255]),
)
scales = st.floats(0.2, 40)
origins = st.floats(0, 90_000)


def geometries(polygons: list[LabelledPolygon]) -> npt.NDArray[np.object_]:
    return np.array([polygon.geometry for polygon in polygons], dtype=object)


def polygon(*points: tuple[float, float], pixels: int = 10) -> LabelledPolygon:
    return LabelledPolygon(label=1, geometry=shapely.Polygon(points), pixels=pixels)


@given(label_maps, origins, origins, scales, scales, st.sampled_from([0, 1.0, 3.0]))
@settings(deadline=None, max_examples=150)
def test_placed_polygons_are_valid_on_the_grid_and_still_fit_together(
    label_map: LabelMap, x: float, y: float, scale_x: float, scale_y: float, tolerance_px: float
) -> None:
    placed = geometries(place(smooth(vectorize(label_map), tolerance_px), (x, y), (scale_x, scale_y), WIDE))

    points = shapely.get_coordinates(placed)
    np.testing.assert_array_equal(points, np.round(points, 2))
    assert shapely.is_valid(placed).all()
    assert tolerance_px or shapely.coverage_is_valid(placed)
    assert shapely.union_all(placed).area == pytest.approx(shapely.area(placed).sum())


@given(label_maps, origins, scales)
@settings(deadline=None)
def test_points_move_by_less_than_the_grid(label_map: LabelMap, origin: float, scale: float) -> None:
    polygons = vectorize(label_map)

    for before, after in zip(polygons, place(polygons, (origin, -origin), (scale, scale), WIDE), strict=True):
        expected = shapely.get_coordinates(before.geometry) * scale + (origin, -origin)
        np.testing.assert_allclose(shapely.get_coordinates(after.geometry), expected, rtol=0, atol=0.005 + 1e-9)
        assert (after.label, after.pixels) == (before.label, before.pixels)


@given(label_maps)
@settings(deadline=None)
def test_nothing_lies_beyond_the_bounds(label_map: LabelMap) -> None:
    bounds = Region(x_px=3.333, y_px=2, width_px=8, height_px=8.005)

    placed = geometries(place(vectorize(label_map), (0, 0), (1.7, 1.7), bounds))

    assert shapely.is_valid(placed).all()
    assert shapely.coverage_is_valid(placed)
    for left, top, right, bottom in shapely.bounds(placed):
        assert (left, top) >= (3.34, 2)
        assert right <= 11.33
        assert top >= 2
        assert bottom <= 10.0


def test_the_last_column_ends_at_the_rim_of_the_image() -> None:
    bounds = Region(x_px=0, y_px=0, width_px=1001, height_px=999)

    (placed,) = place(vectorize(np.zeros((250, 251), np.uint8)), (0, 0), (4, 4), bounds)

    assert placed.geometry.bounds == (0, 0, 1001, 999)


def test_what_lies_outside_or_closes_up_is_left_out() -> None:
    outside = polygon((20, 20), (30, 20), (30, 30))
    sliver = polygon((0, 0), (0.001, 0), (0.001, 5), (0, 5))

    assert place([outside, sliver], (0, 0), (1, 1), Region(x_px=0, y_px=0, width_px=10, height_px=10)) == []


def test_what_snapping_makes_invalid_is_repaired_and_its_pixels_are_shared_out() -> None:
    hourglass = polygon((0, 0), (10, 0), (5.002, 5), (10, 10), (2, 10), (4.998, 5), pixels=60)

    parts = place([hourglass], (0, 0), (1, 1), WIDE)

    assert [part.geometry.geom_type for part in parts] == ["Polygon", "Polygon"]
    assert sorted(part.geometry.area for part in parts) == [20, 25]
    assert sorted(part.pixels for part in parts) == [27, 33]
    assert all(part.geometry.is_valid for part in parts)
    assert all(part.label == 1 for part in parts)


def test_nothing_to_place_gives_nothing() -> None:
    assert place([], (0, 0), (1, 1), WIDE) == []


def test_polygons_move_by_whole_pixels() -> None:
    polygons = vectorize(np.array([[0, 1], [0, 0]], np.uint8))

    moved = translate(polygons, 3, -1)

    assert [polygon.geometry.bounds for polygon in moved] == [(3, -1, 5, 1), (4, -1, 5, 0)]
    assert translate(polygons, 0, 0) == polygons
