"""Segmentation networks for a single view, of any size. Tensors are (B, C, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qpbridge.models.backbones.published import timm_network
from qpbridge.models.blocks import conv_relu, initialize, padded, resized
from qpbridge.models.encoder_decoder import Decoder, Encoder


class Padded(nn.Module):
    """A segmentation network that also takes sizes its divisor does not divide: its input is mirrored at the rim.

    Parameters
    ----------
    network : nn.Module
        Gives logits of the size of its input.
    divisor : int
        What its edges must be a multiple of.
    """

    def __init__(self, network: nn.Module, divisor: int) -> None:
        super().__init__()
        self.network = network
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of every pixel."""
        rows, columns = x.shape[2:]
        logits: Tensor = self.network(padded(x, self.divisor))[..., :rows, :columns]
        return logits


class HighResolutionNet(nn.Module):
    """HRNetV2 with the C1 head: four branches, brought to the finest of them, a quarter of the image's edges.

    Edges are multiples of 32.

    Parameters
    ----------
    name : str
        Trunk in timm, e.g. ``"hrnet_w48"``.
    weights : str
        As for ``timm_network``.
    classes : int
        Number of classes.

    References
    ----------
    Sun et al. 2019, "High-resolution representations for labeling pixels and regions".
    """

    def __init__(self, name: str, weights: str, classes: int) -> None:
        super().__init__()
        # The classifier's wider maps ("incre", timm's own choice) are no part of the segmentation network.
        options = {"features_only": True, "feature_location": "", "out_indices": (1, 2, 3, 4)}
        trunk = timm_network(name, weights, **options)
        channels = sum(trunk.feature_info.channels())  # type: ignore[union-attr, operator]
        self.head = nn.Sequential(
            conv_relu(channels, channels // 4, "batch"), nn.Conv2d(channels // 4, classes, kernel_size=1)
        )
        initialize(self)
        self.trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of every pixel."""
        finest, *coarser = self.trunk(x)
        maps = [finest, *(resized(one, finest.shape[2:]) for one in coarser)]
        return resized(self.head(torch.cat(maps, dim=1)), x.shape[2:])


class UNet(nn.Module):
    """A U-Net of five levels; edges are multiples of 16."""

    def __init__(self, width: int, norm: str, classes: int) -> None:
        super().__init__()
        widths = [width << level for level in range(5)]
        self.encoder = Encoder(3, widths, norm)
        self.decoder = Decoder(widths, norm)
        self.head = nn.Conv2d(width, classes, kernel_size=1)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of every pixel."""
        logits: Tensor = self.head(self.decoder(self.encoder(x))[0])
        return logits
