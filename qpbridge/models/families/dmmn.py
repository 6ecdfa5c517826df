"""Deep Multi-Magnification Networks (Ho et al. 2021) and the two networks that they are compared with.

Maps are (B, C, H, W). Levels are counted from 0, the finest; each next one has half the edge. Lists of maps go
from the finest level to the coarsest. ``x1``, ``x2``, ``x4`` are the magnifications of the paper: 20x, 10x, 5x.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from qpbridge.core.geometry import FieldOfView, View
from qpbridge.errors import InvalidValueError
from qpbridge.models.blocks import PIXELS, block, conv_relu, initialize, up_relu
from qpbridge.models.encoder_decoder import Decoder, Encoder, centers
from qpbridge.models.family import LABELS, PAPER, Family, Outputs, Targets
from qpbridge.models.losses import weighted_cross_entropy
from qpbridge.models.recipe import SMALL_TRAINING, Count, CountOrZero, Positive, Recipe
from qpbridge.models.spec import FamilyConfig, Head

LOGITS: Final = "logits"
UNLABELLED: Final = "unlabelled"
RATIOS: Final = (1, 2, 4)
"""Pixel sizes of the views relative to the finest (Ho et al. 2021, sec. 2.2: 20x, 10x, 5x)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DmmnConfig(FamilyConfig):
    """Which network. The defaults are those of Ho et al. 2021."""

    variant: Literal["m3", "m2s", "ms", "s2", "unet", "segnet"] = "m3"
    """Architecture (Ho et al. 2021, fig. 4 and table 2); the last two see one magnification."""

    patch_px: Count = 256
    """Edge of every view in training, px (Ho et al. 2021, sec. 2.2)."""

    mpp: Positive = 0.5
    """Pixel size of the finest view, µm/px (Ho et al. 2021, sec. 3: 0.498 and 0.502 at 20x)."""

    width: Count | None = None
    """Channels of the finest level; they double with each level. None for the paper's: 64, but 32 for m3, m2s and
    ms (Ho et al. 2021, sec. 3)."""

    norm: Literal["none", "batch"] = "none"
    """Normalization after each 3x3 convolution. Ho et al. 2021 have none; "batch" departs from them and learns in
    far fewer steps, from batches of 4 or more."""

    pixels: Literal["intensity", "density"] = "intensity"
    """What the network sees: intensities (Ho et al. 2021), or optical densities: there, more or less stain is a mere
    factor, and dark tissue keeps its texture."""

    extra_outputs: CountOrZero = 0
    """Outputs for unlabelled pixels, which are never trained towards nor predicted; the published parameter counts
    (Ho et al. 2021, table 2) hold one."""

    def __post_init__(self) -> None:
        FamilyConfig.__post_init__(self)
        needed = divisor(self)
        if self.patch_px % needed:
            raise InvalidValueError(
                f"patch_px={self.patch_px} does not work: variant {self.variant} takes multiples of {needed}"
            )


class StackedUNet(nn.Module):
    """U-Net on all its views stacked as channels: "unet" with one view, DMMN-S2 with three.

    Stacked views show different extents in one pixel grid; that is the published design.
    """

    def __init__(self, views: int, widths: Sequence[int], norm: str) -> None:
        super().__init__()
        self.channels = widths[0]
        self.encoder = Encoder(3 * views, widths, norm)
        self.decoder = Decoder(widths, norm)

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Return features of the finest view."""
        features: Tensor = self.decoder(self.encoder(torch.cat(list(views), dim=1)))[0]
        return features


class SegNet(nn.Module):
    """Encoder-decoder without concatenations: values go back to where the pooling took them from."""

    def __init__(self, views: int, widths: Sequence[int], norm: str) -> None:
        super().__init__()
        self.channels = widths[0]
        *levels, deepest = widths
        self.encoder = nn.ModuleList(block(a, b, norm) for a, b in zip([3 * views, *levels], levels, strict=False))
        self.center = block(levels[-1], levels[-1], norm, channels_between=deepest)
        narrower = [levels[0], *levels[:-1]]
        self.decoder = nn.ModuleList(
            block(a, b, norm, channels_between=a) for a, b in zip(levels, narrower, strict=True)
        )

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Return features of the finest view."""
        x: Tensor = torch.cat(list(views), dim=1)
        indices = []
        for level in self.encoder:
            x, index = functional.max_pool2d(level(x), 2, return_indices=True)
            indices.append(index)
        x = self.center(x)
        for level, index in zip(reversed(self.decoder), reversed(indices), strict=True):
            x = level(_unpool(x, index))
        return x


def _unpool(x: Tensor, index: Tensor) -> Tensor:
    # As torch's max_unpool2d, which cannot be exported to ONNX.
    batch, channels, rows, columns = x.shape
    empty = x.new_zeros(batch, channels, 4 * rows * columns)
    return empty.scatter(2, index.flatten(2), x.flatten(2)).view(batch, channels, 2 * rows, 2 * columns)


class Guests(nn.Module):
    """Brings the centers of maps of x2 and x4 into the frame of x1 by learned doubling."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.from_x2 = up_relu(channels, channels, norm)
        self.from_x4 = nn.Sequential(up_relu(channels, channels, norm), up_relu(channels, channels, norm))

    def forward(self, map_x2: Tensor, map_x4: Tensor) -> list[Tensor]:
        """Return both in the frame of x1."""
        return [self.from_x2(map_x2), self.from_x4(map_x4)]


class MultiEncoder(nn.Module):
    """DMMN-MS: three encoders, one decoder; the coarser encoders' maps join at every level."""

    def __init__(self, views: int, widths: Sequence[int], norm: str) -> None:
        super().__init__()
        self.channels = views * widths[0]
        self.encoders = nn.ModuleList(Encoder(3, widths, norm) for _ in range(views))
        self.guests = nn.ModuleList(Guests(width, norm) for width in widths)
        self.decoder = Decoder(widths, norm, guests=[2 * width for width in widths])

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Return features of the finest view."""
        x1, x2, x4 = (encoder(view) for encoder, view in zip(self.encoders, views, strict=True))
        parts = zip(self.guests, centers(x2, halvings=1), centers(x4, halvings=2), strict=True)
        guests = [join(two, four) for join, two, four in parts]
        return torch.cat([self.decoder(x1, guests)[0], *guests[0]], dim=1)


class SingleConcatenation(nn.Module):
    """DMMN-M2S: three encoder-decoders that meet once, at the end."""

    def __init__(self, views: int, widths: Sequence[int], norm: str) -> None:
        super().__init__()
        self.channels = views * widths[0]
        self.encoders = nn.ModuleList(Encoder(3, widths, norm) for _ in range(views))
        self.decoders = nn.ModuleList(Decoder(widths, norm) for _ in range(views))
        self.guests = Guests(widths[0], norm)

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Return features of the finest view."""
        parts = enumerate(zip(self.encoders, self.decoders, views, strict=True))
        x1, x2, x4 = (decoder(encoder(view), halvings=i)[0] for i, (encoder, decoder, view) in parts)
        return torch.cat([x1, *self.guests(x2, x4)], dim=1)


class MultiConcatenation(nn.Module):
    """DMMN-M3, the proposed network: three encoder-decoders that meet at every level.

    A guest comes from the level whose cells have the size of x1's cells, one level finer in x2 and two in x4, so it
    is cropped and never resampled.
    """

    def __init__(self, views: int, widths: Sequence[int], norm: str) -> None:
        super().__init__()
        self.channels = widths[0]
        self.encoders = nn.ModuleList(Encoder(3, widths, norm) for _ in range(views))
        guests = [sum(widths[max(i - 2, 0) : i]) for i in range(len(widths))]
        self.decoders = nn.ModuleList([Decoder(widths, norm, guests), Decoder(widths, norm), Decoder(widths, norm)])

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Return features of the finest view."""
        x1, x2, x4 = (encoder(view) for encoder, view in zip(self.encoders, views, strict=True))
        x2, x4 = self.decoders[1](x2, halvings=1), self.decoders[2](x4, halvings=2)
        guests = [_guests_of(level, x2, x4) for level in range(len(x2))]
        features: Tensor = self.decoders[0](x1, guests)[0]
        return features


def _guests_of(level: int, x2: Sequence[Tensor], x4: Sequence[Tensor]) -> list[Tensor]:
    return [maps[level - finer] for maps, finer in ((x2, 1), (x4, 2)) if level >= finer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One variant: its trunk, the number of views, the paper's width, and what input edges must divide by."""

    trunk: Callable[[int, Sequence[int], str], nn.Module]
    views: int
    width: int
    divisor: int


ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "m3": Architecture(trunk=MultiConcatenation, views=3, width=32, divisor=64),
    "m2s": Architecture(trunk=SingleConcatenation, views=3, width=32, divisor=64),
    "ms": Architecture(trunk=MultiEncoder, views=3, width=32, divisor=64),
    "s2": Architecture(trunk=StackedUNet, views=3, width=64, divisor=16),
    "unet": Architecture(trunk=StackedUNet, views=1, width=64, divisor=16),
    "segnet": Architecture(trunk=SegNet, views=1, width=64, divisor=16),
}


class Dmmn(nn.Module):
    """A trunk and its head.

    Parameters
    ----------
    config : DmmnConfig
        Which network.
    classes : int
        Number of classes.

    Attributes
    ----------
    divisor : int
        What the edges of all views must be a multiple of.
    """

    def __init__(self, config: DmmnConfig, classes: int) -> None:
        super().__init__()
        architecture = ARCHITECTURES[config.variant]
        width = config.width if config.width is not None else architecture.width
        self.divisor = architecture.divisor
        self.pixels = PIXELS[config.pixels]
        self.view_names = [view.name for view in views(config)]
        self.extra_outputs = config.extra_outputs
        self.trunk = architecture.trunk(architecture.views, [width << level for level in range(5)], config.norm)
        channels: int = self.trunk.channels  # type: ignore[assignment]
        self.head = nn.Sequential(
            conv_relu(channels, width, config.norm), nn.Conv2d(width, config.extra_outputs + classes, kernel_size=1)
        )
        initialize(self)

    def forward(self, views: dict[str, Tensor]) -> Outputs:
        """Return logits of the classes, and of the extra outputs where there are some.

        Parameters
        ----------
        views : dict of Tensor, each (B, 3, H, W) in 0..1
            By name; H and W are multiples of ``divisor``.

        Returns
        -------
        dict of Tensor
            ``"logits"`` (B, K, H, W) in the frame of the finest view.
        """
        logits = self.head(self.trunk([self.pixels(views[name]) for name in self.view_names]))
        if not self.extra_outputs:
            return {LOGITS: logits}
        return {LOGITS: logits[:, self.extra_outputs :], UNLABELLED: logits[:, : self.extra_outputs]}


def divisor(config: DmmnConfig) -> int:
    """Return what the edges of all views must be a multiple of, px."""
    return ARCHITECTURES[config.variant].divisor


def views(config: DmmnConfig) -> tuple[View, ...]:
    """Return the inputs: the finest view, and those of twice and four times its pixel size around its center."""
    return tuple(
        View(name=f"x{ratio}", fov=FieldOfView(size_px=config.patch_px, mpp=ratio * config.mpp))
        for ratio in RATIOS[: ARCHITECTURES[config.variant].views]
    )


def heads(config: DmmnConfig, classes: int) -> tuple[Head, ...]:
    """Return the outputs."""
    extra = (Head(name=UNLABELLED, channels=config.extra_outputs),) if config.extra_outputs else ()
    return (Head(name=LOGITS, channels=classes), *extra)


def loss(outputs: Outputs, targets: Targets, class_weights: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the weighted cross-entropy over labelled pixels; extra outputs compete, but no pixel is theirs."""
    logits = outputs[LOGITS]
    if UNLABELLED in outputs:
        extra = outputs[UNLABELLED]
        logits = torch.cat([logits, extra], dim=1)
        class_weights = functional.pad(class_weights, (0, extra.shape[1]))
    return weighted_cross_entropy(logits, targets[LABELS], class_weights, label_smoothing)


def probabilities(outputs: Outputs) -> Tensor:
    """Return the softmax over the classes; extra outputs take no part."""
    return outputs[LOGITS].float().softmax(dim=1)


SMALL: Final[Mapping[str, object]] = {
    # network
    "variant": "m3",
    "width": 8,
    "norm": "batch",
    # the paper's fields of view (128, 256, 512 µm) in a quarter of its pixels
    "mpp": 1.0,
    "patch_px": 128,
    "pixels": "density",
    **SMALL_TRAINING,
}
"""Trains in minutes on two CPU cores. Departs from Ho et al. 2021 in every value named here."""

DMMN: Final = Family(
    name="dmmn",
    title="Ho et al. 2021, Deep Multi-Magnification Networks for multi-class breast cancer image segmentation",
    config_type=DmmnConfig,
    recipe=Recipe(),
    presets={PAPER: {"extra_outputs": 1}, "small": SMALL},
    variants=tuple(ARCHITECTURES),
    paper_classes=6,
    views=views,
    heads=heads,
    divisor=divisor,
    build=Dmmn,
    loss=lambda _config: loss,
    probabilities=probabilities,
)
