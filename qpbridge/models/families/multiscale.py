"""Multi-scale multi-encoder networks (Schmitz et al. 2021), and the single-scale U-Net that they are compared with.

Maps are (B, C, H, W). Levels are counted from 0, whose maps have half the edge of the view; lists of maps go from there
to the coarsest. ``x1``, ``x4`` and ``x16`` are concentric views, named after their pixel sizes in those of the finest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from qpbridge.core.geometry import FieldOfView, View
from qpbridge.errors import InvalidValueError
from qpbridge.models.backbones.merging import ContextGate, ReducingMerge, in_frame
from qpbridge.models.backbones.published import RESNET18_CHANNELS, Weights, resnet18_levels
from qpbridge.models.backbones.residual import light_channels, light_levels
from qpbridge.models.backbones.skipping import SkipDecoder
from qpbridge.models.blocks import PIXELS, initialize
from qpbridge.models.family import LABELS, PAPER, Encode, Family, Outputs, Targets, Truth
from qpbridge.models.losses import weighted_binary_cross_entropy, weighted_cross_entropy
from qpbridge.models.recipe import SMALL_TRAINING, Count, NotNegative, Positive, Recipe, Share
from qpbridge.models.spec import FamilyConfig, Head
from qpbridge.models.weak.presence import presence_loss, presence_of

LOGITS: Final = "logits"
PRESENCE: Final = "presence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What a variant adds to the single-scale network.

    Parameters
    ----------
    merged : tuple of int
        Ratios of the context views whose maps are merged into the own path.
    everywhere : bool
        Whether they are merged after every level, or only after the last.
    classified : int or None
        Ratio of the context view that presence is told from; by the encoder that is merged, or else by one of its own.
    is_gated : bool
        Whether that presence gates the logits.
    """

    merged: tuple[int, ...] = ()
    everywhere: bool = False
    classified: int | None = None
    is_gated: bool = False

    @property
    def contexts(self) -> tuple[int, ...]:
        """Ratios of all context views, the finest first."""
        return tuple(sorted({*self.merged, *([self.classified] if self.classified else [])}))


ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "unet": Architecture(),
    "msy4": Architecture(merged=(4,)),
    "msy16": Architecture(merged=(16,), classified=16),
    "msui": Architecture(classified=16, is_gated=True),
    "msyi": Architecture(merged=(4,), classified=16, is_gated=True),
    "msy2": Architecture(merged=(4, 16), classified=16),
    "msy_mm2": Architecture(merged=(4, 16), everywhere=True, classified=16),
    "msy_mm_i_mm": Architecture(merged=(4, 16), everywhere=True, classified=16, is_gated=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiscaleConfig(FamilyConfig):
    """Which network. The defaults are those of Schmitz et al. 2021, as far as they are known."""

    variant: Literal["unet", "msy4", "msy16", "msui", "msyi", "msy2", "msy_mm2", "msy_mm_i_mm"] = "msy2"
    """Architecture: single-scale "unet"; "y" merges context at the bottleneck (msY with the ratio 4 or 16, msY^2 with
    both), "mm" after every level, and "i" gates the logits by the classes told from the ratio 16."""

    patch_px: Count = 512
    """Edge of every view in training, px (public program)."""

    mpp: Positive = 0.2
    """Pixel size of the finest view, µm/px (public program's demonstration)."""

    backbone: Literal["resnet18", "light"] = "resnet18"
    """Encoders: ResNet-18 (public program), or a light one of ``width`` for two CPU cores."""

    width: Count = 16
    """Channels of the finest level of light encoders; ResNet-18 has 64."""

    weights: Weights = "imagenet"
    """What ResNet-18 starts from (ImageNet: public program); light encoders start at random."""

    norm: Literal["none", "batch"] = "none"
    """Normalization in skips and decoder (none: public program's demonstration); encoders have batch normalization.
    "batch" departs from that and learns in fewer steps."""

    merge: Literal["exact", "published", "resized"] = "exact"
    """How context is brought into the frame of the finest view: "exact" keeps every cell at its place; "published" errs
    by up to half a context cell at the rim; "resized" ignores places (Schmitz et al. 2021, ablation)."""

    upsampling: Literal["corners", "centers"] = "corners"
    """Whether the decoder's bilinear doubling aligns the corner cells' centers (public program), or lets cells lie
    at the centers of what they stand for, which makes predictions independent of where tiles begin."""

    pixels: Literal["intensity", "density", "standardized"] = "intensity"
    """What the network sees: intensities in 0..1, optical densities, or intensities standardized as in ImageNet."""

    segmentation_loss: Literal["cross_entropy", "binary"] = "cross_entropy"
    """For classes that exclude one another, or each class against all others (public program: the outputs are logits
    for the binary cross-entropy)."""

    presence_weight: NotNegative = 1.0
    """Weight of the presence loss beside the segmentation loss (not published)."""

    presence_min_share: Share = 0.01
    """Share of the labelled context from which on a class counts as present (not published)."""

    absence_min_share: Share = 0.9
    """Share of the context that must be labelled for classes without a label to count as absent; 0 counts them so
    wherever something is labelled (not published)."""

    def __post_init__(self) -> None:
        FamilyConfig.__post_init__(self)
        needed = divisor(self)
        if self.patch_px % needed:
            raise InvalidValueError(
                f"patch_px={self.patch_px} does not work: variant {self.variant} takes multiples of {needed}"
            )


class Multiscale(nn.Module):
    """A U-Net whose encoder is one of several.

    Parameters
    ----------
    config : MultiscaleConfig
        Which network.
    classes : int
        Number of classes.

    Raises
    ------
    WeightsMissingError
        If ImageNet weights are asked for, but cannot be had.
    """

    def __init__(self, config: MultiscaleConfig, classes: int) -> None:
        super().__init__()
        self.architecture = ARCHITECTURES[config.variant]
        self.pixels, self.rule = PIXELS[config.pixels], config.merge
        channels = BACKBONES[config.backbone].channels(config)
        arms = 1 + len(self.architecture.merged)
        self.merges = nn.ModuleList(
            ReducingMerge(width, arms) for width in (channels[:-1] if self.architecture.everywhere else ())
        )
        self.decoder = SkipDecoder(channels, arms, config.norm, align_corners=config.upsampling == "corners")
        self.head = nn.Conv2d(channels[0], classes, kernel_size=1)
        self.presence = nn.Linear(channels[-1], classes) if self.architecture.classified else None
        self.gate = ContextGate(classes) if self.architecture.is_gated else None
        # Encoders of timm draw their own weights, or bring them along.
        initialize(self)
        for merge in self.merges:
            merge.start_as_identity()  # type: ignore[operator]
        if self.gate is not None:
            self.gate.start_open()
        ratios = (1, *self.architecture.contexts)
        self.encoders = nn.ModuleDict({f"x{ratio}": BACKBONES[config.backbone].levels(config) for ratio in ratios})

    def forward(self, views: dict[str, Tensor]) -> Outputs:
        """Return logits of the classes, and of their presence where the variant tells it.

        Parameters
        ----------
        views : dict of Tensor, each (B, 3, H, W) in 0..1
            By name; all of one size that ``divisor`` divides.

        Returns
        -------
        dict of Tensor
            ``"logits"`` (B, K, H, W) in the frame of the finest view; ``"presence"`` (B, K), of the classes in the
            coarsest view.
        """
        x = self.pixels(views["x1"])
        contexts = {ratio: self._encoded(ratio, views) for ratio in self.architecture.contexts}
        maps, deepest = self._descend(x, {ratio: contexts[ratio] for ratio in self.architecture.merged})
        logits = self.head(self.decoder(x, maps, deepest))
        if self.presence is None:
            return {LOGITS: logits}
        presence = self.presence(contexts[self.architecture.contexts[-1]][-1].mean(dim=(2, 3)))
        return {LOGITS: logits if self.gate is None else self.gate(logits, presence), PRESENCE: presence}

    def _encoded(self, ratio: int, views: dict[str, Tensor]) -> list[Tensor]:
        maps = [self.pixels(views[f"x{ratio}"])]
        for level in _levels(self.encoders[f"x{ratio}"]):
            maps.append(level(maps[-1]))
        return maps[1:]

    def _descend(self, x: Tensor, contexts: Mapping[int, Sequence[Tensor]]) -> tuple[list[Tensor], Tensor]:
        maps = []
        levels = _levels(self.encoders["x1"])
        for depth, level in enumerate(levels):
            own = level(x)
            x, is_last = own, depth == len(levels) - 1
            if is_last or self.merges:
                guests = [in_frame(c[depth], ratio, own.shape[2:], self.rule) for ratio, c in contexts.items()]
                x = torch.cat([own, *guests], dim=1) if is_last else self.merges[depth]([own, *guests])
            if not is_last:
                maps.append(own)
        return maps, x


def _levels(encoder: nn.Module) -> list[nn.Module]:
    return list(encoder.children())


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """An encoder: its five levels, and their channels."""

    levels: Callable[[MultiscaleConfig], nn.ModuleList]
    channels: Callable[[MultiscaleConfig], Sequence[int]]


def _light(config: MultiscaleConfig) -> nn.ModuleList:
    levels = light_levels(config.width)
    initialize(levels)
    return levels


BACKBONES: Final[Mapping[str, Backbone]] = {
    "resnet18": Backbone(levels=lambda config: resnet18_levels(config.weights), channels=lambda _: RESNET18_CHANNELS),
    "light": Backbone(levels=_light, channels=lambda config: light_channels(config.width)),
}


def divisor(config: MultiscaleConfig) -> int:
    """Return what the edges of all views must be a multiple of, px: merged maps have a center between cells."""
    return 64 if ARCHITECTURES[config.variant].merged else 32


def views(config: MultiscaleConfig) -> tuple[View, ...]:
    """Return the inputs: the finest view, and those of its context with as many, but larger pixels."""
    return tuple(
        View(name=f"x{ratio}", fov=FieldOfView(size_px=config.patch_px, mpp=ratio * config.mpp))
        for ratio in (1, *ARCHITECTURES[config.variant].contexts)
    )


def heads(config: MultiscaleConfig, classes: int) -> tuple[Head, ...]:
    """Return the outputs."""
    has_presence = ARCHITECTURES[config.variant].classified is not None
    names = (LOGITS, PRESENCE) if has_presence else (LOGITS,)
    return tuple(Head(name=name, channels=classes) for name in names)


def encoder(config: MultiscaleConfig) -> Encode:
    """Return what makes the presence of classes from the labels of the surroundings, for variants that tell it."""

    def encode(truth: Truth) -> dict[str, npt.NDArray[np.int64]]:
        assert truth.surroundings is not None
        shares = config.presence_min_share, config.absence_min_share
        return {PRESENCE: presence_of(truth.surroundings, truth.classes, *shares)}

    return encode


SEGMENTATION_LOSSES: Final[Mapping[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]]] = {
    "cross_entropy": weighted_cross_entropy,
    "binary": weighted_binary_cross_entropy,
}


def loss(
    outputs: Outputs,
    targets: Targets,
    class_weights: Tensor,
    label_smoothing: float = 0.0,
    *,
    config: MultiscaleConfig,
) -> Tensor:
    """Return the segmentation loss over labelled pixels and the weighted loss of presence over what is known.

    Parameters
    ----------
    outputs : dict of Tensor
        Of the network.
    targets : dict of Tensor
        ``LABELS``, and ``"presence"`` of the classes in the coarsest view, int64, shape (B, K), of ``encoder``.
    class_weights : Tensor of float, shape (K,)
        Weight of each class in the segmentation loss.
    label_smoothing : float
        Share of a label that is spread over all classes.
    config : MultiscaleConfig
        Which losses, and their weights.
    """
    segmentation = SEGMENTATION_LOSSES[config.segmentation_loss]
    total = segmentation(outputs[LOGITS], targets[LABELS], class_weights, label_smoothing)
    if PRESENCE not in outputs:
        return total
    return total + config.presence_weight * presence_loss(outputs[PRESENCE], targets[PRESENCE])


def probabilities(outputs: Outputs) -> Tensor:
    """Return the softmax over the classes."""
    return outputs[LOGITS].float().softmax(dim=1)


SMALL: Final[Mapping[str, object]] = {
    # network
    "variant": "msy2",
    "backbone": "light",
    "width": 8,
    "weights": "random",
    "norm": "batch",
    "upsampling": "centers",
    # fields of view of 128, 512 and 2048 µm
    "mpp": 1.0,
    "patch_px": 128,
    "pixels": "density",
    "absence_min_share": 0.25,
    **SMALL_TRAINING,
}
"""Trains in minutes on two CPU cores. Departs from Schmitz et al. 2021 in every value named here."""

RECIPE: Final = Recipe(
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=0.0,
    batch_size=6,
    stride_px=512,
    repeats_max=0,
    elastic_sigma_px=0.0,
    mild_elastic_alpha=0.0,
)
"""How Schmitz et al. 2021 trained is not published. Adam at 1e-3 is what others took for this network, batches of 6 or
more are what the public program advises."""

MULTISCALE: Final = Family(
    name="multiscale",
    title="Schmitz et al. 2021, Multi-scale fully convolutional neural networks for histopathology image segmentation",
    config_type=MultiscaleConfig,
    recipe=RECIPE,
    presets={PAPER: {"norm": "none"}, "small": SMALL},
    variants=tuple(ARCHITECTURES),
    paper_classes=4,
    views=views,
    heads=heads,
    divisor=divisor,
    build=Multiscale,
    loss=lambda config: partial(loss, config=config),
    probabilities=probabilities,
    asks_for=frozenset({"surroundings"}),
    encoder=encoder,
)
