"""The patches on which a trained network errs most: picture, annotation and prediction side by side."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, RgbImage
from qpbridge.core.progress import Progress
from qpbridge.inference.engine import Engine
from qpbridge.training.patches import Patch, PatchSet
from qpbridge.training.reading import SampleMaker

SHOWN: Final = 8
"""Tiles in a report."""

LOOKED_AT: Final = 2000
"""Most patches that are looked at; of more, they are spread over all."""

TINT: Final = 0.45
"""Share of a class's color where the picture is colored."""

EDGE_MAX_PX: Final = 320
"""Longest edge of one picture in a report."""

JPEG_QUALITY: Final = 88


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tile:
    """One patch and what a network made of it.

    Parameters
    ----------
    patch : Patch
        Where.
    image : ndarray of uint8, shape (H, W, 3)
        The finest view, as the network saw it.
    labels, predicted : ndarray of uint8, shape (H, W)
        What is annotated, and what was predicted.
    """

    patch: Patch
    image: RgbImage
    labels: LabelMap
    predicted: LabelMap

    @property
    def labelled_px(self) -> int:
        """Pixels that are annotated."""
        return int(np.count_nonzero(self.labels != IGNORE_INDEX))

    @property
    def wrong_px(self) -> int:
        """Annotated pixels of which another class was predicted."""
        return int(np.count_nonzero((self.labels != IGNORE_INDEX) & (self.labels != self.predicted)))


def worst_tiles(
    engine: Engine, validation: PatchSet, maker: SampleMaker, progress: Progress, count: int = SHOWN
) -> list[Tile]:
    """Return the validation patches with the most pixels wrong, the worst first; none that is all right.

    Parameters
    ----------
    engine : Engine
        Runs the network.
    validation : PatchSet
        Where to look.
    maker : SampleMaker
        Reads the patches.
    progress : Progress
        Told of every batch; asked for cancellation.
    count : int
        How many at most.
    """
    patches = validation.patches[:: max(1, -(-len(validation.patches) // LOOKED_AT))]
    worst: list[tuple[int, int, Tile]] = []
    for position, tile in enumerate(_tiles(engine, patches, validation, maker, progress)):
        if tile.wrong_px:
            # Of equally wrong ones the first stays.
            (heapq.heappush if len(worst) < count else heapq.heappushpop)(worst, (tile.wrong_px, -position, tile))
    return [tile for _, _, tile in sorted(worst, key=lambda one: (-one[0], -one[1]))]


def _tiles(
    engine: Engine, patches: Sequence[Patch], validation: PatchSet, maker: SampleMaker, progress: Progress
) -> Iterator[Tile]:
    size = engine.runtime.batch_size
    with ThreadPoolExecutor(engine.runtime.readers, thread_name_prefix="read") as pool:
        for start in range(0, len(patches), size):
            progress.raise_if_cancelled()
            some = patches[start : start + size]
            samples = list(pool.map(lambda patch: maker.plain(patch, validation.labels), some))
            predicted = engine.labels(engine.load([sample.views for sample in samples])).cpu().numpy()
            for patch, sample, guess in zip(some, samples, predicted, strict=True):
                yield Tile(patch=patch, image=sample.views[0], labels=sample.labels, predicted=guess)
            progress.report("look at errors", start + len(some), len(patches))


def pictures(tile: Tile, colors_rgb: Sequence[tuple[int, int, int]]) -> Mapping[str, bytes]:
    """Return the picture of a tile, with its annotation and with its prediction, as JPEG files by name.

    Parameters
    ----------
    tile : Tile
        What to show.
    colors_rgb : sequence of (int, int, int)
        Of the classes, by label.
    """
    layers = {"picture": None, "annotation": tile.labels, "prediction": tile.predicted}
    return {name: _jpeg(_tinted(tile.image, labels, colors_rgb)) for name, labels in layers.items()}


def _tinted(image: RgbImage, labels: LabelMap | None, colors_rgb: Sequence[tuple[int, int, int]]) -> RgbImage:
    if labels is None:
        return image
    table = np.zeros((IGNORE_INDEX + 1, 3), np.float32)
    table[: len(colors_rgb)] = colors_rgb
    share = np.where(labels == IGNORE_INDEX, 0, TINT).astype(np.float32)[..., None]
    return np.asarray(np.rint((1 - share) * image + share * table[labels]), np.uint8)


def _jpeg(image: RgbImage) -> bytes:
    scale = min(1.0, EDGE_MAX_PX / max(image.shape[:2]))
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return encoded.tobytes()
