"""Class probabilities of a region, row after row; where tiles overlap, they fade into one another."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qpbridge.core.arrays import LabelMap, Mask
from qpbridge.core.progress import Progress
from qpbridge.core.tiles import Tile
from qpbridge.inference.engine import Batch, Engine
from qpbridge.inference.interest import Interest
from qpbridge.inference.predicting import Mosaic, Scene, computed, default_margin_px, label_rows, prepare

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Strip:
    """Rows of a mosaic that are final.

    Parameters
    ----------
    mosaic : Mosaic
        Its labels are final in these rows.
    y : int
        First row in ``mosaic.labels``.
    probabilities : ndarray of float32, shape (K, h, W)
        Sum to 1 where there is a label: what the network says, or certainty on blank glass. 0 elsewhere.
    seen : ndarray of bool, shape (h, W)
        Where the network said something.
    """

    mosaic: Mosaic
    y: int
    probabilities: Probabilities
    seen: Mask

    @property
    def labels(self) -> LabelMap:
        """Labels of these rows, uint8, shape (h, W)."""
        return self.mosaic.labels[self.y : self.y + len(self.seen)]

    @cached_property
    def uncertainty(self) -> npt.NDArray[np.float32]:
        """Entropy over that of ignorance, 0 to 1, shape (h, W); 0 where nothing was seen."""
        classes = len(self.probabilities)
        entropy = torch.special.entr(torch.from_numpy(self.probabilities)).sum(0).numpy()
        shares: npt.NDArray[np.float32] = np.clip(entropy / np.float32(np.log(max(2, classes))), 0, 1)
        return shares


class Taker(Protocol):
    """Makes something of probabilities."""

    def take(self, strip: Strip) -> None:
        """Look at the next rows; together they are all rows of the mosaic, from top to bottom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How tiles become pixels.

    Parameters
    ----------
    margin_px : int or None
        Rim of each tile that only serves as context, px of the finest view; an eighth of the edge where None.
    is_blended : bool
        Whether neighbors fade into one another over the inner half of their margins and as much of their cores. The
        outer half stays context: so what a network sees of a tile's border does not show.
    takers : tuple of Taker
        Told of the probabilities. Without any, and without blending, only labels leave the device.
    """

    margin_px: int | None = None
    is_blended: bool = False
    takers: tuple[Taker, ...] = ()


def rows_of(
    engine: Engine, scene: Scene, progress: Progress, plan: Plan, stage: str = "predict"
) -> Generator[tuple[Mosaic, int], None, None]:
    """Label a region tile by tile, row after row, by a plan; parameters, results and errors as for ``label_rows``.

    Labels are those of ``label_rows`` unless tiles are blended.
    """
    if not plan.is_blended and not plan.takers:
        yield from label_rows(engine, scene, progress, plan.margin_px, stage)
        return
    mosaic = None
    for strip in _strips(engine, scene, progress, plan, stage):
        for taker in plan.takers:
            taker.take(strip)
        mosaic, known = strip.mosaic, strip.y + len(strip.seen)
        yield mosaic, known


def _strips(engine: Engine, scene: Scene, progress: Progress, plan: Plan, stage: str) -> Iterator[Strip]:
    fov = engine.segmenter.views[0].fov
    margin_px = default_margin_px(fov) if plan.margin_px is None else plan.margin_px
    reach_px = margin_px // 2 if plan.is_blended else 0
    mosaic, tiles = prepare(engine, scene, margin_px, reach_px)
    band = _Band(mosaic, len(engine.segmenter.classes), reach_px, engine.segmenter.background, scene.interest)
    fade = torch.from_numpy(window(mosaic.grid.step_px, reach_px)).to(engine.runtime.device)
    inner = slice(margin_px - reach_px, fov.size_px - margin_px + reach_px)

    def compute(batch: Batch) -> Tensor:
        # Cut and weighed on the device: what does not count is not copied.
        return engine.probabilities(batch)[..., inner, inner] * fade

    progress.report(stage, 0, len(tiles))
    done = 0
    for batch, weighed in computed(compute, engine, scene, tiles, progress):
        for tile, probabilities in zip(batch, weighed, strict=True):
            yield from band.until(tile.y - reach_px - mosaic.y)
            band.add(tile, probabilities)
        done += len(batch)
        progress.report(stage, done, len(tiles))
    yield from band.until(len(mosaic.labels))


def window(step_px: int, reach_px: int) -> npt.NDArray[np.float32]:
    """Return the weight of each pixel of a tile, shape (step_px + 2 * reach_px,) * 2.

    It rises as a squared sine over ``2 * reach_px`` around each border of the core. Weights of all tiles of a grid sum
    to one at every pixel where the core is at least as wide as that.
    """
    along = np.arange(step_px + 2 * reach_px) + 0.5
    rise = np.sin(np.pi / 2 * np.clip(along / max(2 * reach_px, 1), 0, 1)) ** 2 if reach_px else np.ones_like(along)
    profile = rise * rise[::-1]
    return np.outer(profile, profile).astype(np.float32)


class _Band:
    """Weighed probabilities of the rows that tiles still change; as high as one row of tiles reaches."""

    def __init__(
        self, mosaic: Mosaic, classes: int, reach_px: int, background: int | None, interest: Interest | None
    ) -> None:
        self._mosaic, self._interest, self._background = mosaic, interest, background
        self._reach_px = reach_px
        self._window = window(mosaic.grid.step_px, reach_px)
        height, width = min(len(self._window), len(mosaic.labels)), mosaic.labels.shape[1]
        self._sums = np.zeros((classes, height, width), np.float32)
        self._weights = np.zeros((height, width), np.float32)
        self._seen = np.zeros((height, width), np.bool_)
        self._top = 0

    def add(self, tile: Tile, weighed: Probabilities) -> None:
        """Add the probabilities of a tile; all rows above those it reaches must have been taken."""
        rows, columns = self._mosaic.window(tile, self._reach_px)
        top, left = tile.y - self._reach_px - self._mosaic.y, tile.x - self._reach_px - self._mosaic.x
        part = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        place = (self._local(rows), columns)
        self._sums[:, *place] += weighed[:, *part]
        self._weights[place] += self._window[part]
        rows, columns = self._mosaic.window(tile)
        shown = self._mosaic.shown(tile, self._interest)
        self._seen[self._local(rows), columns] |= True if shown is None else shown

    def until(self, row: int) -> Iterator[Strip]:
        """Yield what no tile changes any more, down to a row."""
        while self._top < row:
            count = min(row - self._top, len(self._seen))
            yield self._taken(count)
            self._top += count
            for array in (self._sums, self._weights, self._seen):
                left = array.shape[-2] - count
                array[..., :left, :] = array[..., count:, :].copy()
                array[..., left:, :] = 0

    def _taken(self, count: int) -> Strip:
        labels = self._mosaic.labels[self._top : self._top + count]
        seen = self._seen[:count].copy()
        sums = self._sums[:, :count]
        probabilities = np.where(seen, sums / np.where(seen, self._weights[:count], 1), np.float32(0))
        np.copyto(labels, sums.argmax(axis=0).astype(np.uint8), where=seen)
        if self._background is not None:
            probabilities[self._background][~seen & (labels == self._background)] = 1
        return Strip(mosaic=self._mosaic, y=self._top, probabilities=probabilities, seen=seen)

    def _local(self, rows: slice) -> slice:
        return slice(rows.start - self._top, rows.stop - self._top)
