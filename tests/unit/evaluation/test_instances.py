import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import box

from qpbridge.core.arrays import InstanceMap
from qpbridge.errors import InvalidValueError
from qpbridge.evaluation.instances import InstanceScores, mean_scores, overlaps, score_instances, to_dict

SHAPE = (9, 10)
MAPS = arrays(np.int32, SHAPE, elements=st.sampled_from([0, 0, 1, 2, 3, 7]))


def _aji(truth: InstanceMap, prediction: InstanceMap) -> float:
    """By the rule, object by object."""
    joint = either = 0
    used = set()
    for t in np.unique(truth[truth > 0]):
        mine = truth == t
        partners = np.unique(prediction[mine & (prediction > 0)])
        if not len(partners):
            either += mine.sum()
            continue
        ious = [(mine & (prediction == p)).sum() / (mine | (prediction == p)).sum() for p in partners]
        best = partners[int(np.argmax(ious))]
        used.add(best)
        joint += (mine & (prediction == best)).sum()
        either += (mine | (prediction == best)).sum()
    either += sum((prediction == p).sum() for p in np.unique(prediction[prediction > 0]) if p not in used)
    return joint / either if either else float("nan")


def _panoptic(truth: InstanceMap, prediction: InstanceMap) -> float:
    ious, counts = [], [len(np.unique(one[one > 0])) for one in (truth, prediction)]
    for t in np.unique(truth[truth > 0]):
        for p in np.unique(prediction[prediction > 0]):
            iou = ((truth == t) & (prediction == p)).sum() / ((truth == t) | (prediction == p)).sum()
            ious += [iou] if iou > 0.5 else []
    unmatched = sum(counts) - 2 * len(ious)
    return sum(ious) / (len(ious) + unmatched / 2) if sum(counts) else float("nan")


@settings(deadline=None)
@given(truth=MAPS, prediction=MAPS)
def test_scores_equal_those_counted_object_by_object(truth: InstanceMap, prediction: InstanceMap) -> None:
    scores = score_instances(truth, prediction)

    assert scores.aji == pytest.approx(_aji(truth, prediction), nan_ok=True)
    assert scores.panoptic_quality == pytest.approx(_panoptic(truth, prediction), nan_ok=True)
    hit, all_px = ((truth > 0) & (prediction > 0)).sum(), (truth > 0).sum() + (prediction > 0).sum()
    assert scores.dice == pytest.approx(2 * hit / all_px if all_px else math.nan, nan_ok=True)


@given(truth=MAPS.filter(lambda one: one.any()))
def test_the_truth_scores_one_whatever_its_numbers(truth: InstanceMap) -> None:
    scores = to_dict(score_instances(truth, truth * 5))

    assert scores == dict.fromkeys(scores, 1.0)


@given(truth=MAPS, prediction=MAPS)
def test_panoptic_quality_is_the_product_of_its_parts(truth: InstanceMap, prediction: InstanceMap) -> None:
    scores = score_instances(truth, prediction)

    if scores.matched:
        product = scores.segmentation_quality * scores.detection_quality
        assert scores.panoptic_quality == pytest.approx(product)


def _boxes(*corners: tuple[int, int, int, int]) -> InstanceMap:
    instances = np.zeros((20, 40), np.int32)
    for number, (x0, y0, x1, y1) in enumerate(corners, start=1):
        instances[y0:y1, x0:x1] = number
    return instances


def test_one_prediction_may_serve_two_true_objects_in_aji() -> None:
    truth, merged = _boxes((0, 0, 10, 10), (10, 0, 20, 10)), _boxes((0, 0, 20, 10))

    assert score_instances(truth, merged).aji == pytest.approx((100 + 100) / (200 + 200))
    assert score_instances(merged, truth).aji == pytest.approx(100 / (200 + 100))


def test_half_in_common_is_no_match_and_more_is() -> None:
    truth = _boxes((0, 0, 10, 12))

    assert score_instances(truth, _boxes((0, 0, 10, 6))).matched == 0
    assert score_instances(truth, _boxes((0, 0, 10, 7))).matched == 1


def test_recall_and_precision_count_objects() -> None:
    truth = _boxes((0, 0, 5, 5), (10, 0, 15, 5), (20, 0, 25, 5), (30, 0, 35, 5))
    prediction = _boxes((0, 0, 5, 5), (10, 10, 15, 15))

    scores = score_instances(truth, prediction)

    assert (scores.recall, scores.precision, scores.detection_quality) == (0.25, 0.5, pytest.approx(1 / 3))


def test_pooled_scores_count_all_objects_and_mean_scores_all_images_alike() -> None:
    good = score_instances(_boxes((0, 0, 10, 10)), _boxes((0, 0, 10, 10)))
    poor = score_instances(_boxes(*[(4 * i, 0, 4 * i + 3, 3) for i in range(9)]), _boxes((0, 10, 3, 13)))

    pooled = good + poor

    assert pooled.true_objects == 10
    assert pooled.aji == pytest.approx(100 / (100 + 81 + 9))
    assert mean_scores([good, poor])["aji"] == pytest.approx(0.5)
    assert mean_scores([good, poor])["sq"] == 1.0
    assert math.isnan(mean_scores([])["aji"])
    assert sum([good, poor], InstanceScores()) == pooled


def test_what_is_not_annotated_does_not_count() -> None:
    truth = _boxes((0, 0, 10, 10))
    prediction = _boxes((0, 0, 10, 10), (30, 0, 36, 6), (16, 0, 22, 6), (19, 10, 23, 14))
    known = np.zeros(truth.shape, np.bool_)
    known[:, :20] = True

    scores = score_instances(truth, prediction, known)

    assert scores.predicted_objects == 2  # the third lies inside by two thirds, the fourth by a quarter
    assert scores.predicted_px == 100 + 4 * 6
    assert scores.recall == 1


def test_shapes_must_agree() -> None:
    with pytest.raises(InvalidValueError, match=r"\(2, 3\).*\(3, 2\)"):
        overlaps(np.zeros((2, 3), np.int32), np.zeros((3, 2), np.int32))


def test_overlaps_are_areas_of_intersections() -> None:
    found = overlaps(_boxes((0, 0, 8, 6), (20, 0, 30, 9)), _boxes((4, 2, 24, 8)))

    corners = (box(0, 0, 8, 6), box(20, 0, 30, 9)), box(4, 2, 24, 8)
    assert found.shared.tolist() == [one.intersection(corners[1]).area for one in corners[0]]
    assert found.united.tolist() == [one.union(corners[1]).area for one in corners[0]]
