import numpy as np
import pytest

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.evaluation.presence import PresenceTally

NAMES = ["a", "b", "c"]


def test_each_class_scores_found_patches_over_those_where_it_occurs_or_was_found() -> None:
    tally = PresenceTally(NAMES)

    tally.add(np.array([[1, 0, 0], [1, 1, 0]]), np.array([[True, True, False], [False, True, False]]))
    tally.add(np.array([[1, 0, 0]]), np.array([[True, False, False]]))

    assert tally.counts.tolist() == [[2, 1, 0], [1, 0, 1], [0, 0, 0]]
    np.testing.assert_array_equal(tally.iou, [2 / 3, 1 / 2, np.nan])
    assert tally.mean_iou == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_what_is_unknown_counts_nowhere() -> None:
    tally = PresenceTally(NAMES)

    tally.add(np.full((2, 3), IGNORE_INDEX), np.ones((2, 3), bool))

    assert not tally.counts.any()
    assert np.isnan(tally.mean_iou)


def test_a_class_that_never_occurs_counts_in_no_mean() -> None:
    tally = PresenceTally(NAMES, np.array([[3, 1, 0], [0, 0, 5], [0, 0, 0]]))

    assert tally.iou[1] == 0
    assert tally.mean_iou == 0.75
