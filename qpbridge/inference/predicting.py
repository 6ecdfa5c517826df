"""Tiles in, mosaic out: a label for every pixel of a region at the model's own pixel size."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, Mask, RgbImage
from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region
from qpbridge.core.progress import Progress
from qpbridge.core.tiles import Tile, TileGrid, view_region
from qpbridge.inference.engine import Batch, Engine
from qpbridge.inference.interest import Interest

if TYPE_CHECKING:
    from torch import Tensor

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
    interest : Interest or None
        Nothing else is labelled, except for some pixels around it.
    """

    slide: RegionReader
    calibration: PixelCalibration
    region: Region
    tissue: Coverage | None = None
    wanted: Coverage | None = None
    interest: Interest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mosaic:
    """Labels of a region, or of a window in it.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        ``IGNORE_INDEX`` where nothing was predicted.
    grid : TileGrid
        Says where in level-0 px a pixel lies.
    x, y : int
        Where the window begins in the mosaic of the whole grid, mosaic px.
    """

    labels: LabelMap
    grid: TileGrid
    x: int = 0
    y: int = 0

    @classmethod
    def blank(cls, grid: TileGrid, interest: Interest | None) -> Mosaic:
        """Return a mosaic without labels, as large as what is to be predicted."""
        left, top, right, bottom = 0, 0, grid.mosaic_width, grid.mosaic_height
        if interest is not None:
            bounds, origin = interest.bounds, grid.region
            left, right = _pixels(bounds.x_px - origin.x_px, bounds.width_px, grid.downsample_x, right)
            top, bottom = _pixels(bounds.y_px - origin.y_px, bounds.height_px, grid.downsample_y, bottom)
        return cls(labels=np.full((bottom - top, right - left), IGNORE_INDEX, np.uint8), grid=grid, x=left, y=top)

    def window(self, tile: Tile, reach_px: int = 0) -> tuple[slice, slice]:
        """Return the rows and columns in ``labels`` of the core of a tile, and of what lies so many mosaic px around.

        They are empty where that lies outside.
        """
        height, width = self.labels.shape
        rows = _cut(tile.y - reach_px - self.y, tile.height + 2 * reach_px, height)
        return rows, _cut(tile.x - reach_px - self.x, tile.width + 2 * reach_px, width)

    def shown(self, tile: Tile, interest: Interest | None) -> Mask | None:
        """Return which pixels of the ``window`` of a tile are of interest; None where that is all of them."""
        touched = None if interest is None else interest.touched(core_of(self.grid, tile), tile.width, tile.height)
        if touched is None:
            return None
        rows, columns = self.window(tile)
        top, left = tile.y - self.y, tile.x - self.x
        return touched[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def default_margin_px(fov: FieldOfView) -> int:
    """Return the rim of a tile that only serves as context, px of its finest view."""
    return int(fov.size_px * _MARGIN_SHARE)


def predict_labels(
    engine: Engine, scene: Scene, progress: Progress, margin_px: int | None = None, stage: str = "predict"
) -> Mosaic:
    """Label a region tile by tile, as ``label_rows`` does.

    Returns
    -------
    Mosaic
        With all its rows.
    """
    *_, (mosaic, _) = label_rows(engine, scene, progress, margin_px, stage)
    return mosaic


def label_rows(
    engine: Engine, scene: Scene, progress: Progress, margin_px: int | None = None, stage: str = "predict"
) -> Generator[tuple[Mosaic, int], None, None]:
    """Label a region tile by tile, row after row.

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

    Yields
    ------
    mosaic : Mosaic
        Always the same object. Its labels do not depend on the batch size and the number of readers, up to
        rounding inside the network.
    rows : int
        So many rows of it are final; more each time, at the end all.

    Raises
    ------
    InvalidValueError
        If the margin leaves no core.
    DeviceMemoryError
        If a single tile does not fit the device.
    CancelledError
        If somebody asked to stop.
    """
    mosaic, tiles = prepare(engine, scene, margin_px)
    progress.report(stage, 0, len(tiles))
    done = known = 0
    for batch, cores in computed(engine.labels, engine, scene, tiles, progress):
        for tile, core in zip(batch, cores, strict=True):
            _paint(mosaic, tile, core[tile.in_view], scene.interest)
        done += len(batch)
        progress.report(stage, done, len(tiles))
        if done < len(tiles) and tiles[done].y - mosaic.y > known:
            known = tiles[done].y - mosaic.y
            yield mosaic, known
    yield mosaic, len(mosaic.labels)


def prepare(engine: Engine, scene: Scene, margin_px: int | None = None, reach_px: int = 0) -> tuple[Mosaic, list[Tile]]:
    """Return a mosaic on which only blank glass is labelled, and the tiles to be shown to the network, row by row.

    Parameters
    ----------
    engine : Engine
        Network and device.
    scene : Scene
        Slide and region.
    margin_px : int or None
        As for ``label_rows``.
    reach_px : int
        How far around its core a tile counts, mosaic px.

    Raises
    ------
    InvalidValueError
        If the margin leaves no core.
    """
    fov, background = engine.segmenter.views[0].fov, engine.segmenter.background
    margin_px = default_margin_px(fov) if margin_px is None else margin_px
    grid = TileGrid(region=scene.region, fov=fov, margin_px=margin_px, calibration=scene.calibration)
    mosaic = Mosaic.blank(grid, scene.interest)
    tiles = []
    for tile in grid:
        is_outside = mosaic.labels[mosaic.window(tile, reach_px)].size == 0
        if is_outside or not _is_wanted(scene, core_of(grid, tile, reach_px)):
            continue
        if scene.tissue is None or scene.tissue.covers(core_of(grid, tile)):
            tiles.append(tile)
        elif background is not None:
            _paint(mosaic, tile, np.full((tile.height, tile.width), background, np.uint8), scene.interest)
    return mosaic, tiles


def _is_wanted(scene: Scene, core: Region) -> bool:
    return all(one is None or one.covers(core) for one in (scene.wanted, scene.interest))


def _paint(mosaic: Mosaic, tile: Tile, core: LabelMap, interest: Interest | None) -> None:
    rows, columns = mosaic.window(tile)
    top, left = tile.y - mosaic.y, tile.x - mosaic.x
    part = core[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    shown = mosaic.shown(tile, interest)
    mosaic.labels[rows, columns] = part if shown is None else np.where(shown, part, np.uint8(IGNORE_INDEX))


def _pixels(begin_px: float, length_px: float, downsample: float, most: int) -> tuple[int, int]:
    # 1e-6 absorbs the rounding of a border that lies between two pixels.
    begin = min(max(0, math.floor(begin_px / downsample + 1e-6)), most - 1)
    end = math.ceil((begin_px + length_px) / downsample - 1e-6)
    return begin, min(max(begin + 1, end), most)


def _cut(begin: int, length: int, most: int) -> slice:
    first = min(max(0, begin), most)
    return slice(first, max(first, min(begin + length, most)))


def core_of(grid: TileGrid, tile: Tile, reach_px: int = 0) -> Region:
    """Return the core of a tile, grown by so many mosaic px, in level-0 px."""
    return Region(
        x_px=grid.region.x_px + (tile.x - reach_px) * grid.downsample_x,
        y_px=grid.region.y_px + (tile.y - reach_px) * grid.downsample_y,
        width_px=(tile.width + 2 * reach_px) * grid.downsample_x,
        height_px=(tile.height + 2 * reach_px) * grid.downsample_y,
    )


def computed(
    compute: Callable[[Batch], Tensor], engine: Engine, scene: Scene, tiles: Sequence[Tile], progress: Progress
) -> Iterator[tuple[Sequence[Tile], npt.NDArray[Any]]]:
    """Yield tiles batch by batch with what is computed of their pixels, read ahead by other threads.

    Parameters
    ----------
    compute : callable
        Takes a batch and returns a tensor on the device, its first axis B.
    engine, scene, progress
        As for ``label_rows``.
    tiles : sequence of Tile
        In the order in which they are to be read.
    """

    def load(batch: Sequence[Tile]) -> Batch:
        return engine.load([_views(engine, scene, tile) for tile in batch])

    size = engine.runtime.batch_size
    batches = [tiles[start : start + size] for start in range(0, len(tiles), size)]
    # What a batch gave is fetched once the next one is under way, so that a GPU never waits for a copy.
    running = None
    for batch, pixels in _ahead(load, batches, engine.runtime.readers):
        progress.raise_if_cancelled()
        found = compute(pixels)
        if running is not None:
            yield running[0], running[1].cpu().numpy()
        running = batch, found
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
