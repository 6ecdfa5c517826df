"""Parts that families share. Tensors are (B, C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv_relu(channels_in: int, channels_out: int, norm: str, *, kernel: int = 3) -> nn.Sequential:
    """Return a convolution that keeps the size, normalization where asked for, and ReLU.

    Parameters
    ----------
    channels_in, channels_out : int
        Before and after.
    norm : str
        ``"none"`` (the convolution then has a bias) or ``"batch"``.
    kernel : int
        Edge of the kernel, odd.
    """
    convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=norm == "none")
    return nn.Sequential(convolution, *_norm(norm, channels_out), nn.ReLU(inplace=True))


def up_relu(channels_in: int, channels_out: int, norm: str) -> nn.Sequential:
    """Return a transposed 3x3 convolution that doubles the size, normalization where asked for, and ReLU."""
    convolution = nn.ConvTranspose2d(
        channels_in, channels_out, kernel_size=3, stride=2, padding=1, output_padding=1, bias=norm == "none"
    )
    return nn.Sequential(convolution, *_norm(norm, channels_out), nn.ReLU(inplace=True))


def block(channels_in: int, channels_out: int, norm: str, *, channels_between: int | None = None) -> nn.Sequential:
    """Return two ``conv_relu`` in a row."""
    between = channels_out if channels_between is None else channels_between
    return nn.Sequential(conv_relu(channels_in, between, norm), conv_relu(between, channels_out, norm))


def center(x: Tensor, rows: int, columns: int, margin: int = 0) -> Tensor:
    """Return the center of a map with a margin around it, as far as the map reaches.

    Rows and columns left out must be even in number; otherwise the center lies half a cell too far up or left.
    """
    rows, columns = min(rows + 2 * margin, x.shape[-2]), min(columns + 2 * margin, x.shape[-1])
    top, left = (x.shape[-2] - rows) // 2, (x.shape[-1] - columns) // 2
    return x[..., top : top + rows, left : left + columns]


def padded(x: Tensor, divisor: int) -> Tensor:
    """Return a map grown at its right and lower rim until a number divides its edges.

    The rim mirrors the map; a map that is too small for that repeats its last row and column.
    """
    below, right = -x.shape[-2] % divisor, -x.shape[-1] % divisor
    if not (below or right):
        return x
    mirrors = below < x.shape[-2] and right < x.shape[-1]
    return functional.pad(x, (0, right, 0, below), mode="reflect" if mirrors else "replicate")


def resized(x: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """Return a map interpolated bilinearly to (rows, columns)."""
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)


def optical_density(x: Tensor) -> Tensor:
    """Return half the optical density of intensities in 0..1: 0 for white, 2.8 for the black of 8-bit pixels."""
    return -0.5 * torch.log((255.0 * x + 1.0) / 256.0)


def as_it_is(x: Tensor) -> Tensor:
    """Return a tensor as it is."""
    return x


IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION: Final = (0.229, 0.224, 0.225)
"""Of red, green and blue over ImageNet: what networks with its weights were trained on."""


def standardized(x: Tensor) -> Tensor:
    """Return intensities in 0..1 less ImageNet's mean, in ImageNet's standard deviations."""
    mean, deviation = (x.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    return (x - mean) / deviation


PIXELS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "intensity": as_it_is,
    "density": optical_density,
    "standardized": standardized,
}
"""What networks may see of intensities in 0..1, by name."""


def initialize(network: nn.Module) -> None:
    """Draw the weights of all convolutions as He-normal and set biases to zero.

    References
    ----------
    He et al. 2015, "Delving deep into rectifiers", sec. 2.2.
    """
    for layer in network.modules():
        # Without memory there is nothing to draw, and torch would import its compiler (seconds) for that.
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and not layer.weight.is_meta:
            nn.init.normal_(layer.weight, std=math.sqrt(2 / _fan_in(layer)))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _fan_in(layer: nn.Conv2d | nn.ConvTranspose2d) -> float:
    # A transposed convolution spreads each kernel over stride x stride outputs, so fewer inputs meet in one.
    inputs = layer.in_channels * math.prod(layer.kernel_size) / layer.groups
    return inputs / math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else inputs


def _norm(norm: str, channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if norm == "batch" else []
