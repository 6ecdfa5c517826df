import json

import numpy as np
import pytest

from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.evaluation.report import to_dict


@pytest.fixture
def matrix() -> ConfusionMatrix:
    # Tumor: 6 right, 1 called Stroma, 1 not predicted. Stroma: 2 right. Fat: nowhere.
    return ConfusionMatrix(("Tumor", "Stroma", "Fat"), np.array([[6, 1, 0, 1], [0, 2, 0, 0], [0, 0, 0, 0]]))


def test_a_report_holds_scores_areas_and_counts(matrix: ConfusionMatrix) -> None:
    report = to_dict(matrix, pixel_area_mm2=0.25)

    assert report["classes"]["Tumor"]["iou"] == 0.75
    assert report["classes"]["Stroma"]["precision"] == pytest.approx(2 / 3)
    assert report["mean_iou"] == pytest.approx((0.75 + 2 / 3) / 2)
    assert report["labelled_mm2"] == 2.5
    assert report["confusion"]["rows"]["Tumor"] == [6, 1, 0, 1]
    assert report["confusion"]["columns"] == ["Tumor", "Stroma", "Fat", "(none)"]


def test_a_report_is_strict_json(matrix: ConfusionMatrix) -> None:
    report = to_dict(matrix)

    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["classes"]["Fat"]["iou"] is None
    assert report["labelled_mm2"] is None
