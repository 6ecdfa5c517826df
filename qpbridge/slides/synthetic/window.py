"""A square of pixels that is computed at once: slowly varying fields on nodes, then upsampled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from qpbridge.slides.synthetic.noise import Floats, Maps

TILE_PX = 512
"""Edge of the squares that make up a slide, level-0 px."""

_NODE_UM = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A tile of a slide with a rim of pixels around it, so that optical blur knows its surroundings.

    Parameters
    ----------
    column, row : int
        Which tile; tile (0, 0) begins at pixel (0, 0).
    mpp : float
        Pixel size, µm.
    """

    column: int
    row: int
    mpp: float

    @property
    def step_px(self) -> int:
        """Distance of nodes: a power of two near 4 µm."""
        return int(2 ** np.clip(round(math.log2(_NODE_UM / self.mpp)), 0, 6))

    @property
    def rim_px(self) -> int:
        """Pixels on each side beyond the tile, a multiple of ``step_px``."""
        return max(8, self.step_px)

    @property
    def size_px(self) -> int:
        """Edge with both rims."""
        return TILE_PX + 2 * self.rim_px

    @property
    def origin_px(self) -> tuple[int, int]:
        """Upper left corner (x, y) with the rim, level-0 px."""
        return self.column * TILE_PX - self.rim_px, self.row * TILE_PX - self.rim_px

    @property
    def core(self) -> tuple[slice, slice]:
        """Rows and columns of the tile proper."""
        inner = slice(self.rim_px, self.rim_px + TILE_PX)
        return inner, inner

    def node_axes(self) -> tuple[Floats, Floats]:
        """Return x (1, N) and y (N, 1) of the nodes, µm; one node more than the window on each side."""
        nodes = np.arange(-1, self.size_px // self.step_px + 1, dtype=np.float64)
        centers = (nodes + 0.5) * self.step_px
        x_px, y_px = self.origin_px
        return (x_px + centers)[None, :] * self.mpp, (y_px + centers)[:, None] * self.mpp

    def upsampled(self, nodes: Floats) -> Maps:
        """Return values on nodes as values of pixels, by bilinear interpolation."""
        step = self.step_px
        edge = nodes.shape[0] * step
        full = cv2.resize(nodes.astype(np.float32), (edge, edge), interpolation=cv2.INTER_LINEAR)
        return np.asarray(full[step:-step, step:-step], np.float32)
