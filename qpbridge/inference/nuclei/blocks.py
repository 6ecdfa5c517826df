"""Parts of a mosaic that is still being predicted, each with the margin that decoding needs. Px of the mosaic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Layers = Mapping[str, npt.NDArray[np.uint8]]
"""Maps of a block by name, uint8, shape (C, H, W)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """A part of a mosaic, and what lies around it.

    Parameters
    ----------
    x, y : int
        Upper left corner of the core.
    width, height : int
        Of the core: cores cover the mosaic once.
    left, top : int
        Upper left corner of the maps: that of the core, or up to a margin before it.
    layers : mapping of str to ndarray of uint8, shape (C, H, W)
        Core and margin.
    """

    x: int
    y: int
    width: int
    height: int
    left: int
    top: int
    layers: Layers


class RollingMosaic:
    """Takes what is predicted tile by tile, row after row, and gives blocks; forgets what no block needs any more.

    Parameters
    ----------
    width, height : int
        Of the mosaic.
    channels : mapping of str to int
        Number of channels of each layer by name. What nothing is painted on is 0.
    edge : int
        Of a block's core.
    margin : int
        Around the cores, as far as the mosaic reaches.
    """

    def __init__(self, width: int, height: int, channels: Mapping[str, int], edge: int, margin: int) -> None:
        self._width = width
        self._height = height
        self._edge = edge
        self._margin = margin
        self._top = 0
        self._given = 0
        self._rows = {name: np.zeros((count, 0, width), np.uint8) for name, count in channels.items()}

    def paint(self, x: int, y: int, layers: Layers) -> None:
        """Lay maps into the mosaic; what they cover beyond it does not count.

        Parameters
        ----------
        x, y : int
            Upper left corner, inside the mosaic and not above rows that were told to be final.
        layers : mapping of str to ndarray of uint8, shape (C, H, W)
            All of one size.
        """
        for name, values in layers.items():
            bottom = min(y + values.shape[1], self._height)
            self._reach(name, bottom)
            target = self._rows[name][:, y - self._top : bottom - self._top, x : x + values.shape[2]]
            target[:] = values[:, : target.shape[1], : target.shape[2]]

    def take(self, known: int) -> Iterator[Block]:
        """Yield the blocks that are complete when so many rows are final, and that were not given before."""
        while self._given < self._height:
            end = min(self._given + self._edge, self._height)
            if min(end + self._margin, self._height) > known:
                return
            yield from self._row_of_blocks(self._given, end)
            self._given = end
            self._forget(max(0, end - self._margin))

    def _row_of_blocks(self, y: int, end: int) -> Iterator[Block]:
        top, bottom = max(0, y - self._margin), min(end + self._margin, self._height)
        for name in self._rows:
            self._reach(name, bottom)
        for x in range(0, self._width, self._edge):
            width = min(self._edge, self._width - x)
            left, right = max(0, x - self._margin), min(x + width + self._margin, self._width)
            window = np.s_[:, top - self._top : bottom - self._top, left:right]
            layers = {name: rows[window].copy() for name, rows in self._rows.items()}
            yield Block(x=x, y=y, width=width, height=end - y, left=left, top=top, layers=layers)

    def _reach(self, name: str, bottom: int) -> None:
        rows = self._rows[name]
        missing = bottom - self._top - rows.shape[1]
        if missing > 0:
            # By a whole row of blocks: rows come by the tile, and each time all are copied.
            more = min(max(missing, self._edge), self._height - self._top - rows.shape[1])
            blank = np.zeros((rows.shape[0], more, self._width), np.uint8)
            self._rows[name] = np.concatenate((rows, blank), axis=1)

    def _forget(self, top: int) -> None:
        for name, rows in self._rows.items():
            self._rows[name] = rows[:, top - self._top :].copy()
        self._top = top
