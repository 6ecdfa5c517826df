"""Predicted nuclei against annotated ones on a slide, block by block, so that memory does not grow with the slide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX, InstanceMap, Mask, RgbImage
from qpbridge.core.geometry import Region
from qpbridge.evaluation.instance_picture import Verdicts, judge, picture
from qpbridge.evaluation.instances import InstanceScores, Overlaps, OverlapTally, score
from qpbridge.evaluation.scoring import Block, Frame, Shapes
from qpbridge.vector.instances.painting import InstanceIndex
from qpbridge.vector.raster import ShapeIndex

ReadPixels: TypeAlias = Callable[[Region, int, int], RgbImage]
"""Gives a region, level-0 px, in a width and a height."""


class NucleiComparison:
    """Nuclei of a slide beside those that were found there.

    Parameters
    ----------
    known : sequence of (geometry, int)
        In painter's order; where the label is not ``IGNORE_INDEX`` all nuclei are annotated.
    annotated, predicted : sequence of geometry
        Single nuclei, level-0 px, earlier ones on top.
    frame : Frame
        Pixels to compare.
    """

    def __init__(
        self,
        known: Shapes,
        annotated: Sequence[BaseGeometry],
        predicted: Sequence[BaseGeometry],
        frame: Frame,
    ) -> None:
        self._frame = frame
        self._known = ShapeIndex(known)
        labelled = np.array([geometry for geometry, label in known if label != IGNORE_INDEX], dtype=object)
        self._labelled = shapely.STRtree(labelled)
        # What nothing is known of counts nowhere; there may be much of it.
        near = self._labelled.query(np.array(predicted, dtype=object), predicate="intersects")[0]
        self._predicted = [predicted[i] for i in np.unique(near)]
        self._annotated = list(annotated)
        self._maps = InstanceIndex(self._annotated), InstanceIndex(self._predicted)
        self._anything = shapely.STRtree([*labelled, *self._predicted])

    @cached_property
    def overlaps(self) -> Overlaps:
        """All pairs of annotated and predicted nuclei that share pixels."""
        tally = OverlapTally(len(self._annotated), len(self._predicted))
        for block in self._blocks(self._anything):
            tally.add(*self._painted(block))
        return tally.overlaps()

    @cached_property
    def scores(self) -> InstanceScores:
        """What they are worth."""
        return score(self.overlaps)

    @cached_property
    def verdicts(self) -> Verdicts:
        """What became of each nucleus."""
        return judge(self.overlaps)

    def pictures(self, read: ReadPixels) -> Iterator[tuple[Block, RgbImage]]:
        """Yield pictures of all blocks in which something is known, cut to that.

        Parameters
        ----------
        read : callable
            Gives the pixels of the slide.
        """
        for block in self._blocks(self._labelled):
            truth, prediction, known = self._painted(block)
            rows, columns = _extent(known)
            if rows.stop:
                part = _part(block, rows, columns)
                image = read(self._frame.place(part), part.width, part.height)
                yield part, picture(image, truth[rows, columns], prediction[rows, columns], self.verdicts)

    def _blocks(self, places: shapely.STRtree) -> Iterator[Block]:
        for block in self._frame.blocks():
            region = self._frame.place(block)
            box = shapely.box(region.x_px, region.y_px, region.right_px, region.bottom_px)
            if places.query(box, predicate="intersects").size:
                yield block

    def _painted(self, block: Block) -> tuple[InstanceMap, InstanceMap, Mask]:
        place = self._frame.place(block), block.width, block.height
        truth, prediction = (one.rasterize(*place) for one in self._maps)
        return truth, prediction, self._known.rasterize(*place) != IGNORE_INDEX


def _extent(mask: Mask) -> tuple[slice, slice]:
    """Return the rows and columns that enclose a mask; empty where it is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _part(block: Block, rows: slice, columns: slice) -> Block:
    return Block(
        x=block.x + columns.start,
        y=block.y + rows.start,
        width=columns.stop - columns.start,
        height=rows.stop - rows.start,
    )
