import numpy as np
import pytest
import shapely

from qpbridge.slides.synthetic.nests import RAGGED_UM, Nests, candidates, joined, packed


def _bodies(nests: Nests) -> list[shapely.Polygon]:
    return [
        shapely.LineString(axis).buffer(half_width + RAGGED_UM)
        for axis, half_width in zip(nests.axes_um, nests.half_widths_um, strict=True)
    ]


def _room(x_um: np.ndarray, y_um: np.ndarray) -> np.ndarray:
    return np.minimum(np.minimum(x_um, 3000 - x_um), np.minimum(y_um, 2000 - y_um))


@pytest.mark.parametrize("between_um", [60.0, 200.0])
def test_packed_nests_keep_their_distances(between_um: float) -> None:
    bodies = _bodies(packed(candidates(3, 3000, 2000), _room, between_um))
    assert len(bodies) >= 8
    field = shapely.box(0, 0, 3000, 2000)
    assert all(field.contains(body) for body in bodies)
    gaps = [one.distance(other) for index, one in enumerate(bodies) for other in bodies[index + 1 :]]
    assert min(gaps) >= between_um


def test_hardly_any_candidate_fits_between_packed_nests() -> None:
    everything = candidates(3, 3000, 2000)
    bodies = shapely.union_all(_bodies(packed(everything, _room, 100.0)))
    field = shapely.box(0, 0, 3000, 2000)
    fitting = [body for body in _bodies(everything) if field.contains(body) and body.distance(bodies) > 115]
    assert fitting == []


def test_nowhere_to_be_gives_no_nests() -> None:
    none = packed(candidates(0, 500, 500), lambda x, y: np.full(np.broadcast_shapes(x.shape, y.shape), -1.0), 10.0)
    distance, kinds = none.inside_um(np.array([1.0, 2.0]), np.array([3.0, 4.0]), 50.0)
    assert len(none.kinds) == 0
    assert distance.tolist() == [-50, -50]
    assert kinds.tolist() == [0, 0]


def test_the_distance_is_that_to_the_nearest_body() -> None:
    nests = packed(candidates(5, 2000, 2000), lambda x, y: np.full(np.broadcast_shapes(x.shape, y.shape), 500.0), 80.0)
    nests.kinds[:] = np.arange(len(nests.kinds)) + 1
    x, y = np.random.default_rng(2).uniform(0, 2000, (2, 200))
    distance, kinds = nests.inside_um(x, y, 150.0)
    axes = [shapely.LineString(axis) for axis in nests.axes_um]
    for point, found, kind in zip(shapely.points(x, y), distance, kinds, strict=True):
        depths = [width - axis.distance(point) for axis, width in zip(axes, nests.half_widths_um, strict=True)]
        assert found == pytest.approx(max(*depths, -150))
        assert kind == (np.argmax(depths) + 1 if max(depths) > -150 else 0)


def test_joining_keeps_all_nests() -> None:
    first, second = candidates(0, 100, 100), candidates(1, 200, 100)
    both = joined(first, second)
    assert len(both.kinds) == len(first.kinds) + len(second.kinds)
    np.testing.assert_array_equal(both.axes_um[len(first.kinds) :], second.axes_um)
