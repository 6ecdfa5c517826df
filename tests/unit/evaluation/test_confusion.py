import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.errors import InvalidValueError
from qpbridge.evaluation.confusion import ConfusionMatrix

NAMES = ("Epidermis", "Dermis", "Keratin")

label_maps = hnp.arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, IGNORE_INDEX]))


def matrix_of(truth: list[int], prediction: list[int]) -> ConfusionMatrix:
    matrix = ConfusionMatrix(NAMES)
    matrix.add(np.array([truth], np.uint8), np.array([prediction], np.uint8))
    return matrix


def scores_by_sets(truth: LabelMap, prediction: LabelMap) -> dict[str, list[float]]:
    """The same scores from sets of pixels, one class after the other."""
    labelled = {i for i, label in enumerate(truth.flat) if label != IGNORE_INDEX}
    scores: dict[str, list[float]] = {"iou": [], "recall": [], "precision": []}
    for label in range(len(NAMES)):
        true = {i for i in labelled if truth.flat[i] == label}
        found = {i for i in labelled if prediction.flat[i] == label}
        both, either = len(true & found), len(true | found)
        scores["iou"].append(both / either if either else math.nan)
        scores["recall"].append(both / len(true) if true else math.nan)
        scores["precision"].append(both / len(found) if found else (0.0 if true else math.nan))
    return scores


@given(truth=label_maps, prediction=label_maps)
def test_scores_equal_those_of_pixel_sets(truth: LabelMap, prediction: LabelMap) -> None:
    matrix = ConfusionMatrix(NAMES)
    matrix.add(truth, prediction)

    expected = scores_by_sets(truth, prediction)
    np.testing.assert_allclose(matrix.iou, expected["iou"])
    np.testing.assert_allclose(matrix.recall, expected["recall"])
    np.testing.assert_allclose(matrix.precision, expected["precision"])
    present = [label for label in range(3) if (truth == label).any()]
    if present:
        pixels = [(truth == label).sum() for label in present]
        assert matrix.mean_iou == pytest.approx(sum(expected["iou"][k] for k in present) / len(present))
        weighted = sum(n * expected["iou"][k] for k, n in zip(present, pixels, strict=True)) / sum(pixels)
        assert matrix.frequency_weighted_iou == pytest.approx(weighted)
        right = sum(t == p for t, p in zip(truth.flat, prediction.flat, strict=True) if t != IGNORE_INDEX)
        assert matrix.pixel_accuracy == pytest.approx(right / sum(pixels))


@given(truth=label_maps, prediction=label_maps)
def test_pooling_blocks_equals_counting_at_once(truth: LabelMap, prediction: LabelMap) -> None:
    whole, upper, lower = ConfusionMatrix(NAMES), ConfusionMatrix(NAMES), ConfusionMatrix(NAMES)

    whole.add(truth, prediction)
    upper.add(truth[:2], prediction[:2])
    lower.add(truth[2:], prediction[2:])

    np.testing.assert_array_equal((upper + lower).counts, whole.counts)


def test_pixels_nobody_labelled_do_not_count() -> None:
    matrix = matrix_of([0, 255, 255], [0, 1, 2])

    assert matrix.labelled_px == 1
    assert matrix.mean_iou == 1.0
    assert matrix.predicted_px.tolist() == [1, 0, 0]


def test_a_labelled_pixel_without_prediction_is_a_miss() -> None:
    matrix = matrix_of([0, 0, 1, 1], [0, 255, 1, 1])

    assert matrix.counts[0].tolist() == [1, 0, 0, 1]
    assert matrix.recall[:2].tolist() == [0.5, 1.0]
    assert matrix.precision[:2].tolist() == [1.0, 1.0]
    assert matrix.iou[:2].tolist() == [0.5, 1.0]


def test_a_class_absent_from_the_truth_does_not_enter_means() -> None:
    matrix = matrix_of([0, 0, 1, 1], [0, 0, 1, 2])

    assert matrix.iou.tolist() == [1.0, 0.5, 0.0]
    assert matrix.mean_iou == 0.75
    assert math.isnan(matrix.recall[2])


def test_a_class_that_is_present_but_never_predicted_has_no_precision() -> None:
    matrix = matrix_of([0, 1], [0, 0])

    assert matrix.precision[:2].tolist() == [0.5, 0.0]
    assert math.isnan(matrix.precision[2])


def test_scores_without_labelled_pixels_are_undefined() -> None:
    matrix = matrix_of([255], [0])

    undefined = (matrix.mean_iou, matrix.mean_recall, matrix.pixel_accuracy, matrix.frequency_weighted_iou)
    assert all(map(math.isnan, undefined))


def test_a_label_beyond_the_classes_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="beyond the 3 classes"):
        matrix_of([3], [0])
    with pytest.raises(InvalidValueError, match="beyond the 3 classes"):
        matrix_of([0], [7])


def test_maps_of_different_size_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="cannot score"):
        ConfusionMatrix(NAMES).add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))


def test_matrices_over_different_classes_do_not_pool() -> None:
    with pytest.raises(InvalidValueError, match="cannot be pooled"):
        ConfusionMatrix(NAMES) + ConfusionMatrix(("Tumor", "Stroma"))
