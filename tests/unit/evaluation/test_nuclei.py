from collections.abc import Sequence

import numpy as np
import pytest
from shapely import affinity, box
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX, RgbImage
from qpbridge.core.geometry import Region
from qpbridge.evaluation.instance_picture import COLORS_RGB, Verdict
from qpbridge.evaluation.nuclei import NucleiComparison
from qpbridge.evaluation.scoring import Frame

ANNOTATED = [box(10, 10, 20, 20), box(30, 10, 40, 20), box(40, 10, 50, 20), box(10, 40, 30, 50), box(70, 70, 80, 80)]
PREDICTED = [box(11, 10, 20, 20), box(30, 10, 50, 20), box(10, 40, 20, 50), box(20, 40, 30, 50), box(60, 40, 66, 46)]
REGION = box(0, 0, 100, 100)
AWAY = box(150, 150, 160, 160)


def frame(size: int = 200, downsample: float = 1.0) -> Frame:
    whole = Region(x_px=0, y_px=0, width_px=size, height_px=size)
    edge = int(size / downsample)
    return Frame(region=whole, downsample_x=downsample, downsample_y=downsample, width=edge, height=edge)


def compare(predicted: Sequence[BaseGeometry], where: Frame | None = None) -> NucleiComparison:
    return NucleiComparison([(REGION, 1)], ANNOTATED, predicted, where or frame())


def test_each_nucleus_is_judged() -> None:
    comparison = compare(PREDICTED)

    assert comparison.verdicts.count() == {"found": 1, "merged": 2, "split": 1, "missed": 1, "made_up": 1}
    scores = comparison.scores
    assert (scores.true_objects, scores.predicted_objects, scores.matched) == (5, 5, 1)
    # 90 of 100; twice 100 of 200; 100 of 200; 100 missed; the second half of the split one and 36 made up.
    assert scores.aji == (90 + 100 + 100 + 100) / (100 + 200 + 200 + 200 + 100 + 100 + 36)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, blocks = compare(PREDICTED).scores, Frame.blocks
    monkeypatch.setattr(Frame, "blocks", lambda self: blocks(self, 7))

    assert compare(PREDICTED).scores == whole


def test_where_nothing_is_known_nothing_counts() -> None:
    inside_by_a_third = box(94, 50, 112, 60)

    assert compare([*PREDICTED, AWAY, inside_by_a_third]).scores == compare(PREDICTED).scores


def test_a_nucleus_annotated_outside_all_regions_is_known() -> None:
    sparse = NucleiComparison([(AWAY, 0)], [AWAY], [affinity.translate(AWAY, 1, 0), box(0, 0, 9, 9)], frame())

    assert sparse.scores.matched == sparse.scores.predicted_objects == 1


def test_what_is_ignored_is_unknown() -> None:
    known = [(REGION, 1), (box(60, 30, 70, 50), IGNORE_INDEX)]

    comparison = NucleiComparison(known, ANNOTATED, PREDICTED, frame())

    assert comparison.verdicts.count()["made_up"] == 0


def test_pictures_show_what_is_known_and_no_more() -> None:
    asked = []

    def read(region: Region, width: int, height: int) -> RgbImage:
        asked.append((region, width, height))
        return np.full((height, width, 3), 200, np.uint8)

    ((block, drawn),) = compare(PREDICTED, frame(200, 2.0)).pictures(read)

    assert asked == [(Region(x_px=0, y_px=0, width_px=100, height_px=100), 50, 50)]
    assert (block.x, block.y, drawn.shape) == (0, 0, (50, 50, 3))
    assert drawn[5, 15].tolist() == list(COLORS_RGB[Verdict.MERGED])
    assert drawn[20, 30].tolist() == list(COLORS_RGB[Verdict.MADE_UP])
