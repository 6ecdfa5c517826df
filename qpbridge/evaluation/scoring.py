"""Compare annotations with predictions block by block, so that memory does not grow with the slide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.core.geometry import Region
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.vector.raster import ShapeIndex

BLOCK_PX: Final = 2048
"""Edge of what is painted at once."""

Shapes: TypeAlias = Sequence[tuple[BaseGeometry, int]]
"""Geometries in level-0 px with their labels, later ones on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The pixels that are compared.

    Parameters
    ----------
    region : Region
        Whose upper left corner is that of the first pixel.
    downsample_x, downsample_y : float
        Level-0 px per pixel.
    width, height : int
        Pixels.
    """

    region: Region
    downsample_x: float
    downsample_y: float
    width: int
    height: int

    def place(self, block: Block) -> Region:
        """Return what a block covers, level-0 px."""
        return Region(
            x_px=self.region.x_px + block.x * self.downsample_x,
            y_px=self.region.y_px + block.y * self.downsample_y,
            width_px=block.width * self.downsample_x,
            height_px=block.height * self.downsample_y,
        )

    def blocks(self, edge: int = BLOCK_PX) -> Iterator[Block]:
        """Yield blocks that cover the frame once, row by row."""
        for y in range(0, self.height, edge):
            for x in range(0, self.width, edge):
                yield Block(x=x, y=y, width=min(edge, self.width - x), height=min(edge, self.height - y))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Part of a frame, px of the frame."""

    x: int
    y: int
    width: int
    height: int


class Prediction(Protocol):
    """Gives the predicted labels of any block."""

    def labels(self, frame: Frame, block: Block) -> LabelMap:
        """Return uint8, shape (height, width); ``IGNORE_INDEX`` where nothing is predicted."""


class ShapePrediction:
    """Predicted outlines, painted when asked for."""

    def __init__(self, shapes: Shapes) -> None:
        self._index = ShapeIndex(shapes)

    def labels(self, frame: Frame, block: Block) -> LabelMap:
        """Return the labels of a block."""
        return self._index.rasterize(frame.place(block), block.width, block.height)


class MapPrediction:
    """A predicted label map that has the pixels of the frame."""

    def __init__(self, label_map: LabelMap) -> None:
        self._label_map = label_map

    def labels(self, frame: Frame, block: Block) -> LabelMap:
        """Return the labels of a block."""
        del frame
        return self._label_map[block.y : block.y + block.height, block.x : block.x + block.width]


class LabelledArea:
    """Where labelled pixels can be."""

    def __init__(self, shapes: Shapes) -> None:
        labelled = np.array([geometry for geometry, label in shapes if label != IGNORE_INDEX], dtype=object)
        shapely.prepare(labelled)
        self._tree = shapely.STRtree(labelled)

    def covers(self, region: Region) -> bool:
        """Whether a labelled shape touches a region, level-0 px."""
        box = shapely.box(region.x_px, region.y_px, region.right_px, region.bottom_px)
        return bool(self._tree.query(box, predicate="intersects").size)


def score(truth: Shapes, prediction: Prediction, frame: Frame, class_names: Sequence[str]) -> ConfusionMatrix:
    """Compare annotations with a prediction wherever there are annotations.

    Parameters
    ----------
    truth : sequence of (geometry, int)
        In painter's order; labels are positions among the class names, or ``IGNORE_INDEX``.
    prediction : Prediction
        With the same labels.
    frame : Frame
        Pixels to compare.
    class_names : sequence of str
        Position in this sequence is the label.
    """
    matrix = ConfusionMatrix(class_names)
    index, area = ShapeIndex(truth), LabelledArea(truth)
    for block in frame.blocks():
        region = frame.place(block)
        if area.covers(region):
            matrix.add(index.rasterize(region, block.width, block.height), prediction.labels(frame, block))
    return matrix
