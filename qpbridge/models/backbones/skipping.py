"""The decoder of a U-Net over an encoder whose first map has half the image's edge. Tensors are (B, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qpbridge.models.blocks import block, conv_relu, resized


class SkipDecoder(nn.Module):
    """From the bottleneck to the full resolution, with what the encoder saw on its way down.

    Parameters
    ----------
    channels : sequence of int
        Of the encoder's five levels.
    arms : int
        Maps that meet at the bottleneck.
    norm : str
        Of all convolutions.
    align_corners : bool
        In bilinear doubling.
    """

    def __init__(self, channels: Sequence[int], arms: int, norm: str, *, align_corners: bool) -> None:
        super().__init__()
        first, *_, deepest = channels
        self.align_corners = align_corners
        self.image = block(3, first, norm)
        beside = [first, *channels[:-1]]
        self.skips = nn.ModuleList(conv_relu(width, width, norm, kernel=1) for width in beside)
        self.bottleneck = conv_relu(arms * deepest, deepest, norm, kernel=1)
        after = [first, 2 * first, channels[3], channels[3], deepest]
        self.steps = nn.ModuleList(
            conv_relu(before + skip, out, norm)
            for before, skip, out in zip([*after[1:], deepest], beside, after, strict=True)
        )

    def forward(self, x: Tensor, maps: Sequence[Tensor], deepest: Tensor) -> Tensor:
        """Return features of every pixel.

        Parameters
        ----------
        x : Tensor
            The image.
        maps : sequence of Tensor
            Of the encoder's levels but the deepest, before merging.
        deepest : Tensor
            All that meets at the bottleneck, as channels.
        """
        x_up: Tensor = self.bottleneck(deepest)
        for step, skip, beside in reversed(list(zip(self.steps, self.skips, [self.image(x), *maps], strict=True))):
            doubled = resized(x_up, beside.shape[2:], align_corners=self.align_corners)
            x_up = step(torch.cat([doubled, skip(beside)], dim=1))
        return x_up
