import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qpbridge.core.arrays import InstanceMap, Mask
from qpbridge.vector.instances.growing import expand, grow_within

SHAPES = st.shared(st.tuples(st.integers(1, 16), st.integers(1, 16)), key="shape")
SEEDS = arrays(np.int32, SHAPES, elements=st.sampled_from([0] * 12 + [1, 2, 3]))
MASKS = arrays(np.bool_, SHAPES)


@settings(deadline=None)  # compiles at first
@given(seeds=SEEDS, mask=MASKS, reach=st.integers(0, 8))
def test_seeds_keep_their_pixels_and_spread_over_the_mask_only(seeds: InstanceMap, mask: Mask, reach: int) -> None:
    grown = grow_within(seeds, mask, reach)

    assert (grown[seeds > 0] == seeds[seeds > 0]).all()
    assert (grown[~mask & (seeds == 0)] == 0).all()


@settings(deadline=None)  # compiles at first
@given(seeds=SEEDS, mask=MASKS, reach=st.integers(0, 8))
def test_one_step_more_only_adds(seeds: InstanceMap, mask: Mask, reach: int) -> None:
    fewer, more = grow_within(seeds, mask, reach), grow_within(seeds, mask, reach + 1)

    assert (more[fewer > 0] == fewer[fewer > 0]).all()


@settings(deadline=None)  # compiles at first
@given(seeds=SEEDS, mask=MASKS, data=st.data())
def test_a_part_with_a_margin_grows_as_the_whole_does(seeds: InstanceMap, mask: Mask, data: st.DataObject) -> None:
    reach, whole = 3, grow_within(seeds, mask, 3)
    y, x = (data.draw(st.integers(0, edge - 1)) for edge in seeds.shape)
    top, left = max(0, y - reach), max(0, x - reach)
    window = np.s_[top : y + reach + 1, left : x + reach + 1]

    part = grow_within(seeds[window], mask[window], reach)

    assert part[y - top, x - left] == whole[y, x]


def test_a_front_is_nearly_a_circle() -> None:
    seeds = np.zeros((61, 61), np.int32)
    seeds[30, 30] = 1

    grown = grow_within(seeds, np.ones(seeds.shape, np.bool_), 20)

    dy, dx = abs(np.indices(grown.shape) - 30)
    assert (grown == ((np.maximum(dy, dx) <= 20) & (dy + dx <= 30))).all()  # an octagon


def test_two_seeds_meet_in_the_middle_of_a_corridor() -> None:
    seeds = np.zeros((3, 10), np.int32)
    seeds[1, 0], seeds[1, 9] = 7, 4
    mask = np.zeros(seeds.shape, np.bool_)
    mask[1] = True

    assert grow_within(seeds, mask, 20)[1].tolist() == [7] * 5 + [4] * 5


def _nearest(instances: InstanceMap, y: int, x: int, reach: float) -> tuple[float, set[int]]:
    places = np.argwhere(instances)
    distances = np.hypot(*(places - (y, x)).T)
    least = distances.min(initial=np.inf)
    numbers = {int(instances[tuple(place)]) for place in places[distances == least]}
    return (least, numbers) if least <= reach else (0.0, {0})


@settings(deadline=None)  # compiles at first
@given(instances=SEEDS, reach=st.floats(0, 7))
def test_every_pixel_goes_to_a_nearest_object_within_reach(instances: InstanceMap, reach: float) -> None:
    expanded = expand(instances, reach)

    for y, x in np.ndindex(*instances.shape):
        assert expanded[y, x] in _nearest(instances, y, x, reach if reach >= 1 else 0)[1]


@settings(deadline=None)  # compiles at first
@given(instances=SEEDS, data=st.data())
def test_a_part_with_a_margin_expands_as_the_whole_does(instances: InstanceMap, data: st.DataObject) -> None:
    reach, whole = 4, expand(instances, 4)
    y, x = (data.draw(st.integers(0, edge - 1)) for edge in instances.shape)
    top, left = max(0, y - reach), max(0, x - reach)

    part = expand(instances[top : y + reach + 1, left : x + reach + 1], reach)

    assert part[y - top, x - left] == whole[y, x]
