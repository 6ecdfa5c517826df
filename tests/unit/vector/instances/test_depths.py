import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qpbridge.core.arrays import InstanceMap
from qpbridge.vector.instances.depths import deepest, squared_depths

MAPS = arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 1, 1, 2]))


def _by_pairs(instances: InstanceMap, most: int) -> InstanceMap:
    depths = np.zeros_like(instances)
    places = np.argwhere(np.ones(instances.shape))
    for y, x in np.argwhere(instances):
        others = places[instances.ravel() != instances[y, x]]
        depths[y, x] = min(((others - (y, x)) ** 2).sum(axis=1).min(initial=most), most)
    return depths


@settings(deadline=None)  # compiles at first
@given(instances=MAPS, reach=st.integers(0, 6))
def test_depths_are_those_of_all_pairs_of_pixels(instances: InstanceMap, reach: int) -> None:
    assert (squared_depths(instances, reach) == _by_pairs(instances, (reach + 1) ** 2)).all()


@settings(deadline=None)  # compiles at first
@given(instances=MAPS)
def test_the_deepest_pixel_of_each_object_counts(instances: InstanceMap) -> None:
    depths = squared_depths(instances, 5)

    found = deepest(instances, depths)

    assert found.tolist() == [depths[instances == number].max(initial=0) for number in range(len(found))]
