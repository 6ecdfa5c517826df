"""Encoder and decoder of a U-Net, of which only the center may be wanted. Tensors are (B, C, H, W), finest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from qpbridge.models.blocks import block, center, up_relu

BLOCK_REACH_PX: Final = 2
"""How far two 3x3 convolutions look."""


def _reaches_px() -> list[int]:
    # Level by level from the finest: the block looks further, then two cells become one, and one more is seen.
    reaches = [0]
    for _ in range(4):
        reaches.append((reaches[-1] + BLOCK_REACH_PX) // 2 + 1)
    return reaches


REACHES_PX: Final = _reaches_px()
"""Margin around the center of each level's decoded map that the finest level's center depends on."""


class Encoder(nn.Module):
    """Five blocks with 2x2 max pooling between them."""

    def __init__(self, channels: int, widths: Sequence[int], norm: str) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            block(before, after, norm) for before, after in zip([channels, *widths], widths, strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of all levels."""
        maps = [self.blocks[0](x)]
        for level in list(self.blocks)[1:]:
            maps.append(level(functional.max_pool2d(maps[-1], 2)))
        return maps


class Decoder(nn.Module):
    """From the coarsest level to the finest: guests join, the size doubles, the encoder's map joins, a block.

    Parameters
    ----------
    widths : sequence of int
        Channels of the levels.
    norm : str
        Of the blocks.
    guests : sequence of int
        Channels that join at each level before it is doubled; the finest level's are not used here.
    """

    def __init__(self, widths: Sequence[int], norm: str, guests: Sequence[int] = (0, 0, 0, 0, 0)) -> None:
        super().__init__()
        steps = range(len(widths) - 1)
        self.ups = nn.ModuleList(up_relu(widths[i + 1] + guests[i + 1], widths[i], norm) for i in steps)
        self.blocks = nn.ModuleList(block(2 * widths[i], widths[i], norm) for i in steps)

    def forward(
        self, encoded: Sequence[Tensor], guests: Sequence[Sequence[Tensor]] = ((),) * 5, halvings: int = 0
    ) -> list[Tensor]:
        """Return the centers of the decoded maps of all levels, their edges halved so many times.

        What cannot reach these centers is not computed. Where a center cuts cells of a coarse level, these cells
        are whole in its map. The coarsest map is the encoder's. Guests join uncropped maps, so with no halvings only.
        """
        sizes = _center_sizes(encoded, halvings)
        wide = encoded[-1]
        decoded = [center(wide, *sizes[-1])]
        for i in reversed(range(len(self.ups))):
            wide = center(wide, *sizes[i + 1], margin=REACHES_PX[i + 1])
            up = self.ups[i](torch.cat([wide, *guests[i + 1]], dim=1))
            joined = [center(part, *sizes[i], margin=REACHES_PX[i] + BLOCK_REACH_PX) for part in (encoded[i], up)]
            wide = self.blocks[i](torch.cat(joined, dim=1))
            decoded.insert(0, center(wide, *sizes[i]))
        return decoded


def centers(maps: Sequence[Tensor], halvings: int) -> list[Tensor]:
    """Return the centers of the maps of all levels, their edges halved so many times.

    Where an edge has an odd number of cells left over, the center lies half a cell too far up or left.
    """
    return [center(level, level.shape[-2] >> halvings, level.shape[-1] >> halvings) for level in maps]


def _center_sizes(maps: Sequence[Tensor], halvings: int) -> list[tuple[int, int]]:
    # At each level the whole cells that the finest center lies on, as many before as behind: levels stay in register.
    rows, columns = ((edge - (edge >> halvings)) // 2 for edge in maps[0].shape[-2:])
    return [(level.shape[-2] - 2 * (rows >> i), level.shape[-1] - 2 * (columns >> i)) for i, level in enumerate(maps)]
