from collections.abc import Callable

import numpy as np
import pytest
import shapely

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.core.progress import SilentProgress
from qpbridge.demo.judging import CLASS_NAMES, compare_with_truth
from qpbridge.demo.making import DemoCase
from qpbridge.errors import CancelledError
from qpbridge.evaluation.scoring import BLOCK_PX
from qpbridge.vector.labels import LabelRule, read_labels
from qpbridge.vector.polygons import vectorize
from qpbridge.vector.raster import rasterize

WIDTH_PX, HEIGHT_PX = BLOCK_PX + 100, 700


@pytest.fixture(scope="module")
def case(case_of: Callable[..., DemoCase]) -> DemoCase:
    """A slide of two blocks."""
    return case_of(WIDTH_PX, HEIGHT_PX)


def truth_of(case: DemoCase) -> LabelMap:
    return case.slide.labels(case.slide.bounds, WIDTH_PX, HEIGHT_PX)


def is_annotated(case: DemoCase) -> np.ndarray:
    shapes = read_labels(case.annotations, LabelRule(class_names=CLASS_NAMES)).shapes
    return rasterize(shapes, case.slide.bounds, WIDTH_PX, HEIGHT_PX) != IGNORE_INDEX


def test_the_truth_itself_is_perfect_on_all_that_was_not_annotated(case: DemoCase) -> None:
    truth = truth_of(case)
    perfect = [(one.geometry, one.label) for one in vectorize(truth)]

    matrix = compare_with_truth(case, perfect, SilentProgress())

    assert matrix.class_names == tuple(CLASS_NAMES)
    assert matrix.mean_iou == 1
    assert 0 < is_annotated(case).sum() < truth.size / 4
    assert matrix.true_px.tolist() == np.bincount(truth[~is_annotated(case)], minlength=len(CLASS_NAMES)).tolist()


def test_every_pair_of_labels_counts_where_it_occurs(case: DemoCase) -> None:
    stroma, tumor = CLASS_NAMES.index("Stroma"), CLASS_NAMES.index("Tumor")
    predicted = [(shapely.box(30, 10, 2100, 690), stroma), (shapely.box(1900, 100, 2120, 500), tumor)]

    matrix = compare_with_truth(case, predicted, SilentProgress())

    expected = np.zeros((len(CLASS_NAMES), len(CLASS_NAMES) + 1), np.int64)
    found = np.full((HEIGHT_PX, WIDTH_PX), len(CLASS_NAMES))
    found[10:690, 30:2100] = stroma
    found[100:500, 1900:2120] = tumor
    open_ones = ~is_annotated(case)
    np.add.at(expected, (truth_of(case)[open_ones], found[open_ones]), 1)
    assert matrix.counts.tolist() == expected.tolist()


def test_it_tells_how_far_it_is_and_stops_on_request(case: DemoCase) -> None:
    class Watching(SilentProgress):
        def __init__(self) -> None:
            super().__init__()
            self.steps: list[tuple[str, int, int]] = []

        def report(self, stage: str, done: int, total: int, **_: float) -> None:
            self.steps.append((stage, done, total))

        def raise_if_cancelled(self) -> None:
            if len(self.steps) == 3:
                raise CancelledError("stopped")

    progress = Watching()
    steps = [("compare with the truth", done, 2) for done in (1, 2)]

    compare_with_truth(case, [], progress)
    assert progress.steps == steps
    with pytest.raises(CancelledError):
        compare_with_truth(case, [], progress)
    assert progress.steps == [*steps, steps[0]]
