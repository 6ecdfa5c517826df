import numpy as np

from qpbridge.core.arrays import InstanceMap
from qpbridge.evaluation.instance_picture import COLORS_RGB, Verdict, judge, picture
from qpbridge.evaluation.instances import overlaps


def _boxes(*corners: tuple[int, int, int, int]) -> InstanceMap:
    instances = np.zeros((30, 60), np.int32)
    for number, (x0, y0, x1, y1) in enumerate(corners, start=1):
        instances[y0:y1, x0:x1] = number
    return instances


TRUTH = _boxes((0, 0, 10, 10), (12, 0, 22, 10), (30, 0, 40, 10), (40, 0, 50, 10), (0, 15, 20, 25), (40, 20, 45, 25))
PREDICTION = _boxes(
    (0, 0, 10, 9), (30, 0, 50, 10), (0, 15, 10, 25), (10, 15, 20, 25), (25, 15, 30, 20), (44, 24, 54, 30)
)


def test_each_object_gets_its_verdict() -> None:
    verdicts = judge(overlaps(TRUTH, PREDICTION))

    v = Verdict
    assert verdicts.true.tolist() == [0, v.FOUND, v.MISSED, v.MERGED, v.MERGED, v.SPLIT, v.MISSED]
    assert verdicts.predicted.tolist() == [0, v.FOUND, v.MERGED, v.SPLIT, v.SPLIT, v.MADE_UP, v.MADE_UP]
    assert verdicts.count() == {"merged": 2, "split": 1, "found": 1, "missed": 2, "made_up": 2}


def test_a_true_object_beside_a_small_crumb_is_found() -> None:
    truth, prediction = _boxes((0, 0, 20, 10)), _boxes((0, 0, 18, 10), (18, 0, 26, 4))

    assert judge(overlaps(truth, prediction)).true.tolist() == [0, Verdict.FOUND]


def test_numbers_that_do_not_occur_have_no_verdict() -> None:
    verdicts = judge(overlaps(TRUTH * 3, PREDICTION))

    assert verdicts.true[1] == verdicts.true[2] == 0
    assert verdicts.true[3] == Verdict.FOUND


def test_the_picture_outlines_predictions_and_tints_truth() -> None:
    image = np.full((30, 60, 3), 240, np.uint8)

    drawn = picture(image, TRUTH, PREDICTION)

    assert (image == 240).all()
    assert (drawn[12] == 240).all()
    assert drawn[0, 0].tolist() == list(COLORS_RGB[Verdict.FOUND])
    assert drawn[0, 35].tolist() == list(COLORS_RGB[Verdict.MERGED])
    assert drawn[15, 25].tolist() == list(COLORS_RGB[Verdict.MADE_UP])
    missed = np.array(COLORS_RGB[Verdict.MISSED]) * 0.35 + 240 * 0.65
    assert abs(drawn[5, 17] - missed).max() <= 1


def test_nothing_to_compare_leaves_the_image_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    nothing = np.zeros((8, 9), np.int32)

    assert (picture(image, nothing, nothing) == image).all()
