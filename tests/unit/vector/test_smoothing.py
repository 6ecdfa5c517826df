import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from qpbridge.core.arrays import LabelMap
from qpbridge.vector.polygons import LabelledPolygon, vectorize
from qpbridge.vector.smoothing import smooth

label_maps = arrays(
    np.uint8,
    array_shapes(min_dims=2, max_dims=2, max_side=14),
    elements=st.sampled_from([0, 1, 2, 255]),
    fill=st.sampled_from([0, 255]),
)


def geometries(polygons: list[LabelledPolygon]) -> npt.NDArray[np.object_]:
    return np.array([polygon.geometry for polygon in polygons], dtype=object)


def disk(size: int) -> LabelMap:
    """Label 1 in a disk in label 0."""
    y, x = np.indices((size, size)) - (size - 1) / 2
    return (np.hypot(x, y) < size / 3).astype(np.uint8)


@given(label_maps, st.sampled_from([0.3, 0.8, 1.0, 2.5, 30.0]))
@settings(deadline=None, max_examples=150)
def test_smoothed_polygons_are_valid_and_fit_together(label_map: LabelMap, tolerance_px: float) -> None:
    smoothed = geometries(smooth(vectorize(label_map), tolerance_px))

    assert shapely.is_valid(smoothed).all()
    assert (shapely.area(smoothed) > 0).all()
    assert shapely.coverage_is_valid(smoothed)
    assert shapely.union_all(smoothed).area == pytest.approx(shapely.area(smoothed).sum())


@given(label_maps, st.sampled_from([0.8, 3.0]))
@settings(deadline=None)
def test_smoothing_adds_no_point(label_map: LabelMap, tolerance_px: float) -> None:
    polygons = vectorize(label_map)

    for before, after in zip(polygons, smooth(polygons, tolerance_px), strict=True):
        points = {tuple(point) for point in shapely.get_coordinates(after.geometry)}
        assert points <= {tuple(point) for point in shapely.get_coordinates(before.geometry)}
        assert (after.label, after.pixels) == (before.label, before.pixels)


def test_the_stairs_of_a_disk_go_and_its_area_nearly_stays() -> None:
    polygons = vectorize(disk(60))

    smoothed = smooth(polygons, 1.0)

    outer, inner = geometries(smoothed)
    assert shapely.get_num_coordinates(inner) < shapely.get_num_coordinates(polygons[1].geometry) / 2
    assert inner.area == pytest.approx(polygons[1].pixels, rel=0.02)
    assert outer.union(inner).equals(shapely.box(0, 0, 60, 60))


def test_corners_of_one_pixel_go_from_the_stated_tolerance_on() -> None:
    (polygon,) = vectorize(np.where(disk(60) == 1, 1, 255).astype(np.uint8))

    (below,), (above,) = smooth([polygon], 0.70), smooth([polygon], 0.71)

    assert below.geometry.normalize() == polygon.geometry.normalize()
    assert shapely.get_num_coordinates(above.geometry) < shapely.get_num_coordinates(polygon.geometry)


def test_points_where_three_pieces_meet_stay() -> None:
    label_map = np.zeros((40, 40), np.uint8)
    label_map[20:, :] = 1
    label_map[20:, 20:] = 2

    smoothed = smooth(vectorize(label_map), 10.0)

    assert all((20.0, 20.0) in polygon.geometry.exterior.coords for polygon in smoothed)


def test_no_tolerance_and_no_polygons_change_nothing() -> None:
    polygons = vectorize(disk(12))

    assert smooth(polygons, 0) == polygons
    assert smooth([], 2.0) == []


def test_the_rim_stays_on_request() -> None:
    label_map = disk(40)
    label_map[label_map == 0] = 255
    label_map[:20][label_map[:20] == 1] = 0
    polygons = vectorize(label_map)

    kept, moved = (geometries(smooth(polygons, 3, keeps_rim=keeps_rim)) for keeps_rim in (True, False))

    assert shapely.union_all(kept).equals(shapely.union_all(geometries(polygons)))
    assert not shapely.union_all(moved).equals(shapely.union_all(geometries(polygons)))
