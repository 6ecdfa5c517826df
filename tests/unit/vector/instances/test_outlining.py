import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import shape

from qpbridge.core.arrays import InstanceMap
from qpbridge.vector.instances.outlining import CUT_ERROR_PX, outline, simplify
from qpbridge.vector.instances.pieces import largest_pieces

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))
MAPS = arrays(np.int32, SHAPES, elements=st.sampled_from([0, 0, 1, 2, 100_000]))


@settings(deadline=None)  # compiles at first
@given(instances=MAPS)
def test_each_object_has_the_outline_that_rasterio_gives_its_largest_piece(instances: InstanceMap) -> None:
    from rasterio import features

    whole = largest_pieces(instances, 4)
    expected = {int(number): shape(one) for one, number in features.shapes(whole, mask=whole > 0, connectivity=4)}

    numbers, polygons = outline(instances)

    assert numbers.tolist() == sorted(expected)
    assert all(shapely.equals(expected[n], polygon) for n, polygon in zip(numbers.tolist(), polygons, strict=True))
    assert shapely.is_valid(polygons).all()


@settings(deadline=None)  # compiles at first
@given(instances=MAPS, error_px=st.sampled_from([0.0, 0.2, 0.5, 1.0, 2.0]))
def test_simpler_outlines_stay_within_the_error(instances: InstanceMap, error_px: float) -> None:
    _, polygons = outline(instances)

    simple = simplify(polygons, error_px)

    assert shapely.is_valid(simple).all()
    assert (shapely.area(simple) > 0).all()
    away = shapely.hausdorff_distance(shapely.boundary(polygons), shapely.boundary(simple))
    assert (away <= error_px + 1e-9).all()
    if error_px == 0:
        assert simple is polygons


def _disk(radius: float) -> InstanceMap:
    y, x = np.indices((64, 64))
    return (np.hypot(y - 31.7, x - 31.6) <= radius).astype(np.int32)


@pytest.mark.parametrize("radius", [6, 10, 20, 28])
def test_stairs_become_lines_so_that_disks_have_the_perimeter_of_disks(radius: int) -> None:
    _, stairs = outline(_disk(radius))

    (simple,) = simplify(stairs, 1.0)

    assert shapely.get_num_coordinates(simple) < shapely.get_num_coordinates(stairs[0]) / 2
    assert simple.area / stairs[0].area == pytest.approx(1, abs=0.03)
    assert simple.length / (2 * np.pi * radius) == pytest.approx(1, abs=0.03)
    assert stairs[0].length / (2 * np.pi * radius) > 1.2


def test_neighbors_still_fit_where_only_corners_are_cut() -> None:
    instances = _disk(20) + (_disk(20) * (np.indices((64, 64))[1] > 30)).astype(np.int32)
    _, polygons = outline(instances)

    left, right = simplify(polygons, CUT_ERROR_PX + 1e-6)

    assert shapely.intersection(left, right).area == pytest.approx(0, abs=1e-6)
    assert shapely.union(left, right).geom_type == "Polygon"
