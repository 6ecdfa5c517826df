"""How the demonstration's prediction compares with the truth, which only a made slide has."""

from __future__ import annotations

import numpy as np

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.progress import Progress
from qpbridge.demo.making import DemoCase
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.evaluation.scoring import Frame, Shapes
from qpbridge.slides.synthetic import CLASSES
from qpbridge.vector.labels import LabelRule, read_labels
from qpbridge.vector.raster import ShapeIndex

CLASS_NAMES = [item.name for item in CLASSES]


def compare_with_truth(case: DemoCase, predicted: Shapes, progress: Progress) -> ConfusionMatrix:
    """Return the confusion of a prediction with the truth, wherever nothing was annotated.

    Parameters
    ----------
    case : DemoCase
        Slide and annotations.
    predicted : sequence of (geometry, int)
        Shapes with positions in ``CLASS_NAMES``, level-0 px.
    progress : Progress
        Told block by block.
    """
    matrix = ConfusionMatrix(CLASS_NAMES)
    found = ShapeIndex(predicted)
    known = ShapeIndex(read_labels(case.annotations, LabelRule(class_names=CLASS_NAMES)).shapes)
    frame = Frame(
        region=case.slide.bounds,
        downsample_x=1,
        downsample_y=1,
        width=case.slide.width_px,
        height=case.slide.height_px,
    )
    blocks = list(frame.blocks())
    for done, block in enumerate(blocks, start=1):
        progress.raise_if_cancelled()
        region = frame.place(block)
        truth = case.slide.labels(region, block.width, block.height)
        is_annotated = known.rasterize(region, block.width, block.height) != IGNORE_INDEX
        matrix.add(
            np.where(is_annotated, np.uint8(IGNORE_INDEX), truth), found.rasterize(region, block.width, block.height)
        )
        progress.report("compare with the truth", done, len(blocks))
    return matrix
