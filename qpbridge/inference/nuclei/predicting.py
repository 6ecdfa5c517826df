"""Nuclei of a region: the network tile by tile, single nuclei block by block beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.progress import Progress
from qpbridge.inference.engine import Batch, Engine
from qpbridge.inference.nuclei.blocks import Block, RollingMosaic
from qpbridge.inference.nuclei.crew import harvest_all
from qpbridge.inference.nuclei.decoding import CERTAIN
from qpbridge.inference.nuclei.harvesting import PIXELS, Harvesting, Nuclei, joined
from qpbridge.inference.nuclei.objects import Placement
from qpbridge.inference.predicting import Mosaic, Scene, computed, default_margin_px, prepare

BLOCK_PX: Final = 2048
"""Edge of the part of a mosaic whose nuclei one worker makes at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How nuclei are found.

    Parameters
    ----------
    layers : mapping of str to int
        Number of channels by name: mask, marker and classes, as in ``harvest``.
    harvesting : Harvesting
        How nuclei are made.
    workers : int
        Processes that make them beside the network; 0 for none.
    margin_px : int or None
        Rim of each tile that only serves as context, px of the finest view; an eighth of the edge where None.
    """

    layers: Mapping[str, int]
    harvesting: Harvesting
    workers: int = 0
    margin_px: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Nuclei of a region, and where their mosaic lies.

    Parameters
    ----------
    nuclei : Nuclei
        Px of the part of the mosaic that was predicted.
    mosaic : Mosaic
        Says where that is.
    """

    nuclei: Nuclei
    mosaic: Mosaic

    def placement(self, bounds: Region, calibration: PixelCalibration) -> Placement:
        """Return where the nuclei lie on their slide.

        Parameters
        ----------
        bounds : Region
            The image, level-0 px.
        calibration : PixelCalibration
            True pixel size of the slide.
        """
        grid = self.mosaic.grid
        return Placement(
            origin_px=(
                grid.region.x_px + self.mosaic.x * grid.downsample_x,
                grid.region.y_px + self.mosaic.y * grid.downsample_y,
            ),
            scale=(grid.downsample_x, grid.downsample_y),
            bounds=bounds,
            calibration=calibration,
        )


def predict_nuclei(engine: Engine, scene: Scene, finding: Finding, progress: Progress, stage: str = "predict") -> Found:
    """Find the nuclei of a region.

    Parameters
    ----------
    engine : Engine
        Whose segmenter gives values from 0 to 1 for each of the layers, one after the other.
    scene : Scene
        Slide and region.
    finding : Finding
        How.
    progress : Progress
        Told every batch; asked for cancellation.
    stage : str
        What progress calls this work.

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
    margin = default_margin_px(fov) if finding.margin_px is None else finding.margin_px
    mosaic, tiles = prepare(engine, scene, margin)
    height, width = mosaic.labels.shape
    layers = {**finding.layers, PIXELS: 3}
    rolling = RollingMosaic(width, height, layers, BLOCK_PX, finding.harvesting.margin_px)
    core = slice(margin, fov.size_px - margin)

    def compute(batch: Batch) -> Tensor:
        shares = (engine.probabilities(batch)[..., core, core] * CERTAIN).round().to(torch.uint8)
        pixels = batch[engine.segmenter.views[0].name].to(shares.device).permute(0, 3, 1, 2)[..., core, core]
        return torch.cat([shares, pixels], dim=1)

    def blocks() -> Iterator[Block]:
        done = 0
        progress.report(stage, 0, len(tiles))
        for batch, values in computed(compute, engine, scene, tiles, progress):
            for tile, channels in zip(batch, values, strict=True):
                # Above it no tile follows: they come row by row.
                yield from rolling.take(max(0, tile.y - mosaic.y))
                rows, columns = mosaic.window(tile)
                top, left = tile.y - mosaic.y, tile.x - mosaic.x
                part = channels[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
                if part.size:
                    rolling.paint(columns.start, rows.start, _parted(part, layers))
            done += len(batch)
            progress.report(stage, done, len(tiles))
        yield from rolling.take(height)

    found: list[Nuclei] = []
    for nuclei in harvest_all(blocks(), finding.harvesting, finding.workers):
        progress.raise_if_cancelled()
        found.append(nuclei)
    return Found(nuclei=joined(found), mosaic=mosaic)


def _parted(channels: npt.NDArray[np.uint8], layers: Mapping[str, int]) -> dict[str, npt.NDArray[np.uint8]]:
    parts, start = {}, 0
    for name, count in layers.items():
        parts[name] = channels[start : start + count]
        start += count
    return parts
