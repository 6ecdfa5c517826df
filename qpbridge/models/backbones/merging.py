"""Maps of coarser views brought into the frame of the finest, so that each cell stays at its place on the slide.

Maps are (B, C, H, W) of concentric views with the same number of pixels, from the same depth of their encoders: a cell
of a coarser map is ``ratio`` cells of the finest wide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from qpbridge.models.blocks import center, resized

IDENTITY_JITTER: Final = 1e-4
"""Standard deviation around the identity that a reducing merge starts with (Schmitz et al., public program)."""


def _exact(cells: int, ratio: int) -> int:
    # Half a cell more on either side: interpolation needs neighbors, and would repeat the rim without them.
    return 2 * -(-(cells + ratio) // (2 * ratio))


def _published(cells: int, ratio: int) -> int:
    return max(2, cells // ratio)


CROPS: Final[Mapping[str, Callable[[int, int], int]]] = {"exact": _exact, "published": _published}
"""How many cells of the context, at its center, are taken for so many cells of the finest map, by rule."""


def in_frame(context: Tensor, ratio: int, size: Sequence[int], rule: str = "exact") -> Tensor:
    """Return a context map in the frame of the finest map.

    Parameters
    ----------
    context : Tensor, shape (B, C, h, w)
        Of a view whose pixels are ``ratio`` times as large.
    ratio : int
        Even.
    size : sequence of int
        Rows and columns of the finest map, of the same parity as the context's; both even for an exact fit.
    rule : str
        ``"exact"``: every cell at its place; ``"published"``: as the authors do, the same but for the outermost
        ``ratio / 2`` cells, which are off by up to ``(ratio - 1) / 2`` cells; ``"resized"``: all of the context
        squeezed into the frame, which loses places (the authors' ablation).

    References
    ----------
    Schmitz et al. 2021, "merging model paths in a spatial relationship-preserving fashion".
    """
    rows, columns = size
    if rule == "resized":
        return resized(context, (rows, columns))
    crop = CROPS[rule]
    part = center(context, crop(rows, ratio), crop(columns, ratio))
    grown = functional.interpolate(part, scale_factor=float(ratio), mode="bilinear", align_corners=False)
    return center(grown, rows, columns)


class ReducingMerge(nn.Module):
    """Brings own and context maps together in as many channels as the own map has.

    It starts as the identity on the own map, so that training begins with the single-scale network.

    Parameters
    ----------
    channels : int
        Of each map.
    maps : int
        Number of maps, the own one included.
    """

    def __init__(self, channels: int, maps: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(maps * channels, channels, kernel_size=1)

    def start_as_identity(self) -> None:
        """Draw the weights; to be called after others were drawn."""
        weight, bias = self.convolution.weight, self.convolution.bias
        assert bias is not None
        if weight.is_meta:
            return
        with torch.no_grad():
            nn.init.normal_(weight, std=IDENTITY_JITTER)
            nn.init.zeros_(bias)
            own = range(weight.shape[0])
            weight[own, own] += 1

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the merged map; the own one comes first."""
        merged: Tensor = self.convolution(torch.cat(list(maps), dim=1)).relu()
        return merged


class ContextGate(nn.Module):
    """Scales each class's logits by how probably the class occurs; the logits as they were also pass.

    References
    ----------
    Schmitz et al. 2021, context classification gate.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.mix = nn.Conv2d(2 * classes, classes, kernel_size=1)

    def start_open(self) -> None:
        """Let the gate start as the mean of gated and ungated logits (what it starts as is not published)."""
        assert self.mix.bias is not None
        if not self.mix.weight.is_meta:
            nn.init.zeros_(self.mix.bias)
            half = 0.5 * torch.eye(self.classes).repeat(1, 2)[:, :, None, None]
            self.mix.weight.data.copy_(half)

    def forward(self, logits_BKHW: Tensor, presence_BK: Tensor) -> Tensor:
        """Return the logits after the gate, from those of pixels and those of presence."""
        through = logits_BKHW * presence_BK.sigmoid()[:, :, None, None]
        mixed: Tensor = self.mix(torch.cat([logits_BKHW, through], dim=1))
        return mixed
