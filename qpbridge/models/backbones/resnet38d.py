"""ResNet-38 with dilations: wide, pre-activated, with cells of 8 px."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from qpbridge.models.blocks import initialize


class FixedNorm(nn.BatchNorm2d):
    """Batch normalization that stays as it is in training: only of use with weights that were trained before."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> FixedNorm:  # noqa: ARG002 - torch asks for it
        """Stay in evaluation mode."""
        super().train(False)
        return self


class Unit(nn.Module):
    """Normalization, ReLU and convolution, two or three times, beside a shortcut.

    Where the shape changes, the shortcut is a convolution of the normalized input.

    Parameters
    ----------
    norm : type
        Of batch normalization.
    channels : sequence of int
        Before, between and after the convolutions: three numbers for two 3x3 convolutions, four for a bottleneck
        (1x1, 3x3, 1x1).
    stride : int
        Of the first convolution.
    dilations : sequence of int
        Of each 3x3 convolution.
    dropout : float
        Share of channels that a bottleneck drops before each convolution but its first.
    """

    def __init__(
        self,
        norm: type[nn.BatchNorm2d],
        channels: Sequence[int],
        *,
        stride: int = 1,
        dilations: Sequence[int] = (1, 1),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.entry = nn.Sequential(norm(channels[0]), nn.ReLU(inplace=True))
        if len(channels) == 3:
            start, middle, end = channels
            convolutions = [_conv(start, middle, stride, dilations[0]), _conv(middle, end, 1, dilations[1])]
        else:
            start, narrow, middle, end = channels
            convolutions = [_point(start, narrow, stride), _conv(narrow, middle, 1, dilations[0]), _point(middle, end)]
        self.body = nn.Sequential(convolutions[0])
        for width, convolution in zip(channels[1:], convolutions[1:], strict=False):
            self.body.extend([norm(width), nn.ReLU(inplace=True)])
            self.body.extend([nn.Dropout2d(dropout)] if dropout else [])
            self.body.append(convolution)
        is_same = channels[0] == channels[-1] and stride == 1
        self.shortcut = None if is_same else _point(channels[0], channels[-1], stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map after the unit."""
        entered = self.entry(x)
        beside = x if self.shortcut is None else self.shortcut(entered)
        out: Tensor = self.body(entered) + beside
        return out


def _conv(channels_in: int, channels_out: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride, padding=dilation, dilation=dilation, bias=False)


def _point(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)


def resnet38d_parts(width: int = 64, *, is_frozen: bool = False) -> nn.ModuleList:
    """Return ResNet-38d in three parts; the maps of Han et al. 2022 come out of them: b4_5, b5_2 and bn7 after ReLU.

    Parameters
    ----------
    width : int
        Channels of the first convolution (64); the parts give 8, 16 and 64 times as many.
    is_frozen : bool
        Whether batch normalization, the first convolution and the first three units are never trained.

    References
    ----------
    Wu et al. 2019, "Wider or deeper: revisiting the ResNet model for visual recognition"; dilations, dropout and what
    is frozen: Han et al. 2022, public program.
    """
    norm = FixedNorm if is_frozen else nn.BatchNorm2d
    w2, w4, w8, w16, w32, w64 = (width << doublings for doublings in range(1, 7))
    early = nn.Sequential(
        nn.Conv2d(3, width, kernel_size=3, padding=1, bias=False),
        Unit(norm, (width, w2, w2), stride=2),
        *(Unit(norm, (w2, w2, w2)) for _ in range(2)),
    )
    if is_frozen:
        early.requires_grad_(False)
    start = nn.Sequential(
        early,
        Unit(norm, (w2, w4, w4), stride=2),
        *(Unit(norm, (w4, w4, w4)) for _ in range(2)),
        Unit(norm, (w4, w8, w8), stride=2),
        *(Unit(norm, (w8, w8, w8)) for _ in range(5)),
    )
    middle = nn.Sequential(
        Unit(norm, (w8, w8, w16), dilations=(1, 2)),
        *(Unit(norm, (w16, w8, w16), dilations=(2, 2)) for _ in range(2)),
    )
    end = nn.Sequential(
        Unit(norm, (w16, w8, w16, w32), dilations=(4,), dropout=0.3),
        Unit(norm, (w32, w16, w32, w64), dilations=(4,), dropout=0.5),
        norm(w64),
        nn.ReLU(inplace=True),
    )
    parts = nn.ModuleList([start, middle, end])
    initialize(parts)
    return parts
