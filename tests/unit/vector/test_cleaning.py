import cc3d
import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.vector.cleaning import remove_small

label_maps = st.sampled_from([(0, 1), (0, 255), (0, 1, 255), (0, 1, 2, 3, 254)]).flatmap(
    lambda labels: arrays(
        np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from(labels), fill=st.nothing()
    )
)
areas = st.one_of(st.integers(0, 40), st.floats(0, 40))


def piece_sizes(label_map: LabelMap) -> npt.NDArray[np.int64]:
    """Size of the piece that each pixel lies in, 0 where ignored."""
    ids = cc3d.connected_components(label_map + np.uint8(1), connectivity=4)
    sizes = np.bincount(ids.ravel())
    sizes[0] = 0
    return sizes[ids]


@given(label_maps, areas)
@settings(deadline=None, max_examples=150)
def test_no_small_piece_is_left_unless_there_is_nothing_else(label_map: LabelMap, min_area_px: float) -> None:
    cleaned = remove_small(label_map, min_area_px)

    is_uniform = (cleaned == cleaned[0, 0]).all()
    sizes = piece_sizes(cleaned)
    assert is_uniform or (sizes[cleaned != IGNORE_INDEX] >= min_area_px).all()


@given(label_maps, areas)
@settings(deadline=None, max_examples=150)
def test_large_pieces_and_ignored_pixels_stay_as_they_are(label_map: LabelMap, min_area_px: float) -> None:
    cleaned = remove_small(label_map, min_area_px)

    stays = (piece_sizes(label_map) >= min_area_px) | (label_map == IGNORE_INDEX)
    np.testing.assert_array_equal(cleaned[stays], label_map[stays])


@given(label_maps, areas)
@settings(deadline=None)
def test_cleaning_twice_changes_nothing_more_and_the_input_stays(label_map: LabelMap, min_area_px: float) -> None:
    before = label_map.copy()

    cleaned = remove_small(label_map, min_area_px)

    np.testing.assert_array_equal(remove_small(cleaned, min_area_px), cleaned)
    np.testing.assert_array_equal(label_map, before)


def test_nothing_is_smaller_than_one_pixel_and_the_result_is_a_copy() -> None:
    label_map = np.array([[0, 1], [2, 3]], np.uint8)

    cleaned = remove_small(label_map, 1)

    np.testing.assert_array_equal(cleaned, label_map)
    assert not np.shares_memory(cleaned, label_map)


def test_specks_in_a_tissue_and_on_glass_go_but_a_hole_stays() -> None:
    label_map = np.full((20, 30), IGNORE_INDEX, np.uint8)
    label_map[:, :15] = 4
    label_map[5, 5] = 1
    label_map[5, 20] = 1
    label_map[12, 8] = IGNORE_INDEX
    expected = np.full((20, 30), IGNORE_INDEX, np.uint8)
    expected[:, :15] = 4
    expected[12, 8] = IGNORE_INDEX

    np.testing.assert_array_equal(remove_small(label_map, 4), expected)


def test_label_maps_may_be_read_only_views() -> None:
    label_map = np.zeros((8, 8), np.uint8)
    label_map[4, 4] = 1
    label_map.flags.writeable = False

    assert not remove_small(label_map[::2, ::2], 3).any()
