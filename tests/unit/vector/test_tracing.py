import numpy as np

from qpbridge.vector.tracing import trace


def rings(ids: list[list[int]]) -> list[tuple[int, list[list[int]]]]:
    padded = np.pad(np.array(ids, np.uint32), 1)
    points, starts, owners = trace(padded, int(padded.max()), np.zeros(padded.shape, np.uint8))
    return [
        (owner, points[start:end].tolist())
        for owner, start, end in zip(owners.tolist(), starts[:-1], starts[1:], strict=True)
    ]


def test_a_pixel_has_four_corners_clockwise_on_the_screen_and_the_first_one_last() -> None:
    assert rings([[1]]) == [(0, [[1, 0], [1, 1], [0, 1], [0, 0]])]


def test_points_on_a_straight_border_stay_only_where_a_third_piece_begins() -> None:
    traced = rings([[1, 1, 1, 1], [2, 2, 3, 3]])

    assert traced[0] == (0, [[4, 0], [4, 1], [2, 1], [0, 1], [0, 0]])


def test_a_straight_border_keeps_its_point_where_the_neighbor_gives_way_to_nobody() -> None:
    traced = rings([[1, 1, 1, 1], [2, 2, 0, 0]])

    assert [2, 1] in traced[0][1]


def test_the_shell_comes_before_its_holes_and_holes_run_the_other_way() -> None:
    traced = rings([[1, 1, 1], [1, 0, 1], [1, 1, 1]])

    assert [owner for owner, _ in traced] == [0, 0]
    assert traced[0][1] == [[3, 0], [3, 3], [0, 3], [0, 0]]
    x, y = np.array(traced[1][1]).T
    assert np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) == -2


def test_a_ring_that_meets_itself_at_a_corner_is_split_there() -> None:
    traced = rings([[1, 1, 1], [1, 0, 1], [1, 1, 0]])

    assert [len(points) for _, points in traced] == [6, 4]
    assert [owner for owner, _ in traced] == [0, 0]


def test_pieces_are_numbered_in_reading_order_whatever_their_ids() -> None:
    assert [owner for owner, _ in rings([[7, 7, 2], [5, 2, 2]])] == [0, 1, 2]


def test_nothing_to_trace_gives_no_rings() -> None:
    assert rings([[0, 0]]) == []
