import cv2
import numpy as np
import pytest

from qpbridge.slides.synthetic.pieces import Piece, drawn_pieces


def _labels() -> np.ndarray:
    """A ground, a large square in it, and three small disks."""
    labels = np.zeros((400, 500), np.uint8)
    labels[60:340, 60:300] = 1
    for column, row in ((370, 80), (430, 200), (380, 320)):
        cv2.circle(labels, (column, row), 30, 2, thickness=-1)
    return labels


def _drawn(share: float, seed: int = 0) -> list[Piece]:
    return drawn_pieces(_labels(), share, 25.0, np.random.default_rng(seed))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2])
def test_pieces_cover_the_share_in_equal_parts_as_far_as_classes_have_it(share: float) -> None:
    areas = np.zeros(3)
    for piece in _drawn(share):
        areas[piece.label] += piece.area_cells
    assert areas.sum() / _labels().size == pytest.approx(share, rel=0.1)
    assert areas[0] == pytest.approx(areas[1], rel=0.2)
    assert areas[2] <= 1.2 * areas[0]


def test_pieces_lie_inside_their_class_connected_and_apart() -> None:
    labels, taken = _labels(), np.zeros((400, 500), np.uint8)
    for piece in _drawn(0.15):
        there = (
            slice(piece.row, piece.row + piece.mask.shape[0]),
            slice(piece.column, piece.column + piece.mask.shape[1]),
        )
        depth = cv2.distanceTransform((labels == piece.label).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        assert depth[there][piece.mask].min() > 1.5
        assert cv2.connectedComponents(piece.mask.astype(np.uint8), connectivity=4)[0] == 2
        assert not taken[there][piece.mask].any()
        taken[there][piece.mask] = 1


def test_every_part_of_a_small_class_gets_its_turn() -> None:
    centers = [(80, 370), (200, 430), (320, 380)]
    touched = set()
    for piece in _drawn(0.1):
        if piece.label == 2:
            row, column = (int(k.mean()) for k in np.nonzero(piece.mask))
            place = piece.row + row, piece.column + column
            touched.add(min(centers, key=lambda c: np.hypot(c[0] - place[0], c[1] - place[1])))
    assert len(touched) == 3


def test_chance_decides_where_and_is_repeatable() -> None:
    first, again, other = _drawn(0.1), _drawn(0.1), _drawn(0.1, seed=1)
    assert [(p.row, p.column, p.area_cells) for p in first] == [(p.row, p.column, p.area_cells) for p in again]
    assert [(p.row, p.column) for p in first] != [(p.row, p.column) for p in other]
