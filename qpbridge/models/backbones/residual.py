"""A light residual encoder for two CPU cores.

Every halving takes the whole of four cells, so that a cell lies at the center of what it stands for at every level;
in ResNet, whose strides skip cells, it does not.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions with batch normalization beside a shortcut; then ReLU."""

    def __init__(self, channels_in: int, channels_out: int, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels_in, channels_out, dilation),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            _conv(channels_out, channels_out, dilation),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same size."""
        out: Tensor = (self.body(x) + self.shortcut(x)).relu()
        return out


def _conv(channels_in: int, channels_out: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=dilation, dilation=dilation, bias=False)


def stem(width: int) -> nn.Sequential:
    """Return what makes a map of half the edge of an RGB image."""
    convolution = nn.Conv2d(3, width, kernel_size=4, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def halving(channels_in: int, channels_out: int) -> nn.Sequential:
    """Return what makes a map of half the edge."""
    return nn.Sequential(nn.MaxPool2d(2), Residual(channels_in, channels_out))


def light_channels(width: int) -> tuple[int, ...]:
    """Return the channels of the five levels of ``light_levels``; those of ResNet-18 for a width of 64."""
    return (width, width, 2 * width, 4 * width, 8 * width)


def light_levels(width: int) -> nn.ModuleList:
    """Return five levels, each with half the edge of the one before, the first with half the image's."""
    channels = light_channels(width)
    return nn.ModuleList([stem(width), *(halving(before, after) for before, after in pairwise(channels))])


def light_parts(width: int) -> nn.ModuleList:
    """Return an encoder with cells of 8 px in three parts; the last gives ``8 * width`` channels."""
    start = nn.Sequential(stem(width), halving(width, 2 * width), halving(2 * width, 4 * width))
    return nn.ModuleList([start, Residual(4 * width, 4 * width, 2), Residual(4 * width, 8 * width, 2)])
