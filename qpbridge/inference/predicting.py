"""Tiles in, mosaic out: a label for every pixel of a region at the model's own pixel size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, RgbImage
from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region
from qpbridge.core.progress import Progress
from qpbridge.core.tiles import Tile, TileGrid, view_region
from qpbridge.inference.engine import Batch, Engine

_MARGIN_SHARE = 1 / 8
"""Rim of a tile that is not kept, as a share of its edge."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class RegionReader(Protocol):
    """Gives pixels of any region at any size; ``Slide`` does."""

    def read(self, region: Region, width: int, height: int) -> RgbImage:
        """Return a region, level-0 px, resampled to a size."""


class Coverage(Protocol):
    """Knows where something is; ``TissueMask`` does."""

    def covers(self, region: Region) -> bool:
        """Whether any of it lies in a region, level-0 px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is to be labelled.

    Parameters
    ----------
    slide : RegionReader
        Safe to read from several threads.
    calibration : PixelCalibration
        Fitted to the model's mpp.
    region : Region
        To be labelled, level-0 px.
    tissue : Coverage or None
        Tiles without it are blank glass and are not shown to the network (Ho et al. 2021, public code).
    wanted : Coverage or None
        Tiles without it are left unlabelled.
    """

    slide: RegionReader
    calibration: PixelCalibration
    region: Region
    tissue: Coverage | None = None
    wanted: Coverage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mosaic:
    """Labels of a region.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        ``IGNORE_INDEX`` where nothing was predicted.
    grid : TileGrid
        Says where in level-0 px a pixel lies.
    """

    labels: LabelMap
    grid: TileGrid


def default_margin_px(fov: FieldOfView) -> int:
    """Return the rim of a tile that only serves as context, px of its finest view."""
    return int(fov.size_px * _MARGIN_SHARE)


def predict_labels(
    engine: Engine, scene: Scene, progress: Progress, margin_px: int | None = None, stage: str = "predict"
) -> Mosaic:
    """Label a region tile by tile.

    Parameters
    ----------
    engine : Engine
        Network and device.
    scene : Scene
        Slide and region.
    progress : Progress
        Asked before every batch whether to go on.
    margin_px : int or None
        Rim of each tile that only serves as context, px of the finest view; an eighth of the edge where None.
    stage : str
        What progress calls this work.

    Returns
    -------
    Mosaic
        The same whatever the batch size and the number of readers, up to rounding inside the network.

    Raises
    ------
    InvalidValueError
        If the margin leaves no core.
    DeviceMemoryError
        If a single tile does not fit the device.
    CancelledError
        If somebody asked to stop.
    """
    fov = engine.segmenter.views[0].fov
    margin_px = default_margin_px(fov) if margin_px is None else margin_px
    grid = TileGrid(region=scene.region, fov=fov, margin_px=margin_px, calibration=scene.calibration)
    labels: LabelMap = np.full((grid.mosaic_height, grid.mosaic_width), IGNORE_INDEX, np.uint8)
    tiles = _tiles_to_predict(scene, grid, labels, engine.segmenter.background)
    progress.report(stage, 0, len(tiles))
    for done, (batch, cores) in enumerate(_labelled(engine, scene, tiles, progress), start=1):
        for tile, core in zip(batch, cores, strict=True):
            labels[tile.in_mosaic] = core[tile.in_view]
        progress.report(stage, min(done * engine.runtime.batch_size, len(tiles)), len(tiles))
    return Mosaic(labels=labels, grid=grid)


def _tiles_to_predict(scene: Scene, grid: TileGrid, labels: LabelMap, background: int | None) -> list[Tile]:
    tiles = []
    for tile in grid:
        core = _core(grid, tile)
        if scene.wanted is not None and not scene.wanted.covers(core):
            continue
        if scene.tissue is None or scene.tissue.covers(core):
            tiles.append(tile)
        elif background is not None:
            labels[tile.in_mosaic] = background
    return tiles


def _core(grid: TileGrid, tile: Tile) -> Region:
    return Region(
        x_px=grid.region.x_px + tile.x * grid.downsample_x,
        y_px=grid.region.y_px + tile.y * grid.downsample_y,
        width_px=tile.width * grid.downsample_x,
        height_px=tile.height * grid.downsample_y,
    )


def _labelled(
    engine: Engine, scene: Scene, tiles: Sequence[Tile], progress: Progress
) -> Iterator[tuple[Sequence[Tile], LabelMap]]:
    def load(batch: Sequence[Tile]) -> Batch:
        return engine.load([_views(engine, scene, tile) for tile in batch])

    size = engine.runtime.batch_size
    batches = [tiles[start : start + size] for start in range(0, len(tiles), size)]
    # The labels of a batch are fetched once the next one is under way, so that a GPU never waits for a copy.
    running = None
    for batch, pixels in _ahead(load, batches, engine.runtime.readers):
        progress.raise_if_cancelled()
        labels = engine.labels(pixels)
        if running is not None:
            yield running[0], running[1].cpu().numpy()
        running = batch, labels
    if running is not None:
        yield running[0], running[1].cpu().numpy()


def _views(engine: Engine, scene: Scene, tile: Tile) -> list[RgbImage]:
    return [
        scene.slide.read(view_region(tile.center_px, view.fov, scene.calibration), view.fov.size_px, view.fov.size_px)
        for view in engine.segmenter.views
    ]


def _ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in order, computed a few items ahead by some threads."""
    pending: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(function, item)))
                if len(pending) > threads:
                    ready, future = pending.popleft()
                    yield ready, future.result()
            while pending:
                ready, future = pending.popleft()
                yield ready, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
