import cc3d
import numpy as np

from qpbridge.vector.merging import merge_small


def merged(rows: list[str], min_area: float) -> list[str]:
    """Merge a map drawn in digits, ``.`` for what belongs to nobody."""
    label_map = np.array([[255 if pixel == "." else int(pixel) for pixel in row] for row in rows], np.uint8)
    ids, count = cc3d.connected_components(label_map + np.uint8(1), connectivity=4, return_N=True, out_dtype=np.uint32)
    merge_small(label_map, ids, count, min_area)
    return ["".join("." if label == 255 else str(label) for label in row) for row in label_map.tolist()]


def test_a_small_piece_takes_the_label_with_the_longest_border() -> None:
    assert merged(["0000", "1221", "1111"], 3) == ["0000", "1111", "1111"]


def test_borders_with_several_pieces_of_one_label_count_together() -> None:
    rows = ["000000911111", "000000911111", "000000922222", "333333911111", "333333911111"]

    assert [row[6] for row in merged(rows, 5.5)] == list("11111")


def test_a_small_piece_becomes_one_with_all_neighbors_of_its_new_label() -> None:
    assert merged(["0000011211000000"], 5) == ["0000011111000000"]


def test_the_smallest_goes_first_and_what_has_joined_grows() -> None:
    assert merged(["0001123333"], 3) == ["0001113333"]


def test_of_equally_long_borders_the_smallest_label_wins() -> None:
    assert merged(["333122"], 2) == ["333222"]
    assert merged(["...122"], 2) == ["...222"]


def test_what_belongs_to_nobody_is_never_small_but_takes_in_small_pieces() -> None:
    assert merged(["00000", "00.00", "00000"], 3) == ["00000", "00.00", "00000"]
    assert merged([".....", "..1..", "....."], 3) == [".....", ".....", "....."]


def test_a_piece_that_fills_the_map_stays() -> None:
    assert merged(["11"], 5) == ["11"]


def test_a_mosaic_of_small_pieces_becomes_large_ones() -> None:
    mosaic = np.indices((20, 20)).sum(axis=0) % 2

    rows = merged(["".join(map(str, row)) for row in mosaic.tolist()], 10)

    label_map = np.array([[int(label) for label in row] for row in rows], np.uint8)
    ids = cc3d.connected_components(label_map + np.uint8(1), connectivity=4)
    assert np.bincount(ids.ravel())[1:].min() >= 10


def test_fixed_pieces_count_as_large() -> None:
    label_map = np.array([[0, 1, 2, 3, 3, 3]], np.uint8)

    merge_small(
        label_map, np.array([[1, 2, 3, 4, 4, 4]], np.uint32), 4, 3, np.array([False, False, True, False, False])
    )

    assert label_map.tolist() == [[1, 1, 1, 3, 3, 3]]


def test_small_pieces_stay_where_they_may_not_vanish() -> None:
    label_map = np.array([[255, 1, 255, 2, 3, 3, 3]], np.uint8)
    ids, count = cc3d.connected_components(label_map + np.uint8(1), connectivity=4, return_N=True, out_dtype=np.uint32)

    merge_small(label_map, ids, count, 3, may_vanish=False)

    assert label_map.tolist() == [[255, 1, 255, 3, 3, 3, 3]]
