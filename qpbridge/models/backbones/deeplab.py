"""DeepLabV3+: what several dilations see, and a little of what lies finer, for a single view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from qpbridge.models.backbones.published import timm_network
from qpbridge.models.backbones.residual import Residual, halving, stem
from qpbridge.models.blocks import initialize, resized

MULTI_GRID: Final = (2, 4, 8)
"""Dilations of the blocks of the last stage (Chen et al. 2017, sec. 3.2, for cells of 16 px)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """An encoder in two parts.

    Parameters
    ----------
    fine : nn.Module
        From the image to maps with cells of 4 px, of ``fine_channels``.
    deep : nn.Module
        From these to maps with cells of 16 px, of ``deep_channels``.
    """

    fine: nn.Module
    fine_channels: int
    deep: nn.Module
    deep_channels: int


def resnet101_trunk(weights: str) -> Trunk:
    """Return ResNet-101 with cells of 16 px and a multi-grid in its last stage."""
    network = timm_network("resnet101", weights, num_classes=0, output_stride=16, zero_init_last=False)
    parts = dict(network.named_children())
    for unit, dilation in zip(parts["layer4"].children(), MULTI_GRID, strict=True):
        convolution = unit.get_submodule("conv2")
        assert isinstance(convolution, nn.Conv2d)
        convolution.dilation = convolution.padding = (dilation, dilation)
    fine = nn.Sequential(*(parts[name] for name in ("conv1", "bn1", "act1", "maxpool", "layer1")))
    deep = nn.Sequential(*(parts[name] for name in ("layer2", "layer3", "layer4")))
    return Trunk(fine=fine, fine_channels=256, deep=deep, deep_channels=2048)


def light_trunk(width: int) -> Trunk:
    """Return a light encoder for two CPU cores."""
    fine = nn.Sequential(stem(width), halving(width, 2 * width))
    deep = nn.Sequential(
        halving(2 * width, 4 * width), halving(4 * width, 8 * width), Residual(8 * width, 8 * width, dilation=2)
    )
    initialize(fine)
    initialize(deep)
    return Trunk(fine=fine, fine_channels=2 * width, deep=deep, deep_channels=8 * width)


class PooledNorm(nn.BatchNorm2d):
    """Batch normalization of one value a channel and image; a batch of one image takes the running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized map."""
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        normalized: Tensor = super().forward(x)
        return normalized


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: the map through several dilations and as a whole, brought together.

    References
    ----------
    Chen et al. 2018, "Encoder-decoder with atrous separable convolution", sec. 3.1.
    """

    def __init__(self, channels_in: int, width: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.point = _unit(channels_in, width, 1)
        self.dilated = nn.ModuleList(_unit(channels_in, width, 3, rate) for rate in rates)
        self.whole = nn.Sequential(
            nn.Conv2d(channels_in, width, kernel_size=1, bias=False), PooledNorm(width), nn.ReLU(inplace=True)
        )
        self.joined = nn.Sequential(_unit((2 + len(rates)) * width, width, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same size."""
        whole = self.whole(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        joined: Tensor = self.joined(torch.cat([self.point(x), *(one(x) for one in self.dilated), whole], dim=1))
        return joined


class DeepLab(nn.Module):
    """DeepLabV3+ with plain convolutions.

    Parameters
    ----------
    trunk : Trunk
        Encoder.
    classes : int
        Number of classes.
    width : int
        Channels of pyramid and decoder (256).
    fine_width : int
        Channels that the fine maps are reduced to (48).
    rates : sequence of int
        Dilations in the pyramid (6, 12, 18 for cells of 16 px).

    References
    ----------
    Chen et al. 2018; dropout: Han et al. 2022, public program.
    """

    def __init__(
        self, trunk: Trunk, classes: int, width: int = 256, fine_width: int = 48, rates: Sequence[int] = (6, 12, 18)
    ) -> None:
        super().__init__()
        self.pyramid = Pyramid(trunk.deep_channels, width, rates)
        self.reduced = _unit(trunk.fine_channels, fine_width, 1)
        self.decoder = nn.Sequential(
            _unit(width + fine_width, width, 3),
            nn.Dropout(0.5),
            _unit(width, width, 3),
            nn.Dropout(0.1),
            nn.Conv2d(width, classes, kernel_size=1),
        )
        initialize(self)
        self.fine, self.deep = trunk.fine, trunk.deep

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of every pixel, (B, K, H, W), for images (B, 3, H, W) of 16 px or more."""
        fine = self.fine(x)
        seen = resized(self.pyramid(self.deep(fine)), fine.shape[2:], align_corners=True)
        logits: Tensor = self.decoder(torch.cat([seen, self.reduced(fine)], dim=1))
        return resized(logits, x.shape[2:], align_corners=True)


def _unit(channels_in: int, channels_out: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(
        channels_in, channels_out, kernel, padding=kernel // 2 * dilation, dilation=dilation, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))
