import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label, regionprops

from qpbridge.core.arrays import InstanceMap
from qpbridge.vector.instances.pieces import chosen, fill_holes, largest_pieces, pieces, survey

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))
MAPS = arrays(np.int32, SHAPES, elements=st.sampled_from([0, 0, 1, 2, 5]))


@settings(deadline=None)  # compiles at first
@given(instances=MAPS)
def test_pieces_are_numbered_in_reading_order(instances: InstanceMap) -> None:
    numbers = pieces(instances, 4)

    _, first = np.unique(numbers[numbers > 0], return_index=True)
    assert (np.diff(first) > 0).all()
    assert ((numbers > 0) == (instances > 0)).all()


@settings(deadline=None)  # compiles at first
@given(instances=MAPS)
def test_a_survey_counts_and_encloses(instances: InstanceMap) -> None:
    found = survey(instances)

    assert found.areas_px.tolist() == np.bincount(instances.ravel()).tolist()
    for region in regionprops(instances):
        top, left, bottom, right = region.bbox
        assert found.extents_px[region.label] == max(bottom - top, right - left)
        assert found.first[region.label] == np.flatnonzero(instances == region.label)[0]


@settings(deadline=None)  # compiles at first
@given(instances=MAPS)
def test_the_largest_piece_of_each_object_stays(instances: InstanceMap) -> None:
    left = largest_pieces(instances, 4)

    assert set(np.unique(left)) == set(np.unique(instances)) | ({0} if (left == 0).any() else set())
    for number in np.unique(instances[instances > 0]):
        regions = label(instances == number, connectivity=1, return_num=False)
        assert np.count_nonzero(left == number) == np.bincount(regions.ravel())[1:].max()
        assert label(left == number, connectivity=1).max() == 1


def test_numbers_are_chosen_by_a_table() -> None:
    instances = np.array([[0, 1, 2], [3, 3, 1]], np.int32)

    assert chosen(instances, np.array([False, True, False, True])).tolist() == [[0, 1, 0], [3, 3, 1]]


def test_holes_within_one_object_are_filled_and_gaps_between_several_are_not() -> None:
    instances = np.zeros((7, 14), np.int32)
    instances[1:6, 1:6] = 3
    instances[3, 3] = 0
    instances[1:6, 7:10], instances[1:6, 10:13] = 4, 5
    instances[3, 9:11] = 0

    filled = fill_holes(instances, 3)

    assert filled[3, 3] == 3
    assert (filled[3, 9:11] == 0).all()
    assert np.count_nonzero(filled != instances) == 1


def test_holes_at_the_rim_and_large_ones_stay() -> None:
    instances = np.full((6, 8), 2, np.int32)
    instances[0, 0] = instances[2, 3] = instances[2, 4] = 0

    assert (fill_holes(instances, 2) == instances).all()
    assert (fill_holes(instances, 2.5) != instances).sum() == 2
