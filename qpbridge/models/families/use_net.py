"""USE-Net (Rahmon et al. 2022): nuclei as a mask and, inside each, a shape marker. Maps are (B, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import FieldOfView, View
from qpbridge.errors import InvalidValueError
from qpbridge.models.backbones.published import RESNET18_CHANNELS, Weights, timm_network
from qpbridge.models.blocks import as_it_is, initialize, optical_density
from qpbridge.models.encoder_decoder import Decoder, Encoder
from qpbridge.models.family import PAPER, Encode, Family, Loss, Outputs, Targets, Truth
from qpbridge.models.losses import weighted_cross_entropy
from qpbridge.models.nuclei.loss import bce_dice
from qpbridge.models.nuclei.targets import nucleus_marker, nucleus_mask
from qpbridge.models.recipe import Count, NotNegative, Positive, Recipe, Share
from qpbridge.models.spec import FamilyConfig, Head
from qpbridge.vector.labels import Subject

MASK: Final = "mask"
MARKER: Final = "marker"
CLASSES: Final = "classes"
VIEW: Final = "x1"

DECODER_WIDTHS: Final = (256, 128, 64, 32, 16)
"""Channels after each doubling (public program of Rahmon et al. 2022)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UseNetConfig(FamilyConfig):
    """Which network, and what it learns. The defaults are those of Rahmon et al. 2022."""

    variant: Literal["se_resnet50", "resnet50", "resnet18", "unet"] = "se_resnet50"
    """Encoder (Rahmon et al. 2022, sec. II.B and table II); "unet" is a plain U-Net for CPUs, not in the paper."""

    patch_px: Count = 992
    """Edge of a patch in training, px (public program: images of 1000 px made smaller, as 992 divides by 32)."""

    mpp: Positive = 0.25
    """Pixel size, µm/px (Rahmon et al. 2022, sec. III.A: 40x)."""

    width: Count = 16
    """Channels of the finest level of "unet"; they double with each level."""

    marker: Literal["shape", "center", "none"] = "shape"
    """What tells touching nuclei apart (Rahmon et al. 2022, sec. III.D); the others are the paper's ablation."""

    dice_share: Share = 0.5
    """Weight of the Dice loss, the rest is cross-entropy's (Rahmon et al. 2022, eq. 3); 0 is the paper's ablation."""

    weights: Weights = "imagenet"
    """What encoders of timm start from (Rahmon et al. 2022, sec. II.B: ImageNet); "unet" starts at random."""

    squeeze_bias: bool = False
    """Whether the squeezes of "se_resnet50" have biases: not the paper's, but timm's ImageNet weights have, and lose
    them without."""

    class_head: bool = False
    """Whether the class of each nucleus is learned as well, where there are several; the paper has none."""

    class_cost: NotNegative = 0.5
    """Weight of the loss of the classes beside that of mask and marker; not in the paper."""

    pixels: Literal["intensity", "density"] = "intensity"
    """What the network sees: intensities (public program), or optical densities."""

    turns: Literal["none", "flips", "d4"] = "none"
    """Turns of each tile that a prediction is the mean over where the request does not say; the paper has none."""

    decoding: Literal["within_mask", "published"] = "within_mask"
    """How mask and marker become nuclei: markers spread over the mask and end there; or, as published for targets that
    were smaller, they cut a mask of all that is more probable than a tenth, and the pieces grow by a pixel."""

    align_corners: bool = True
    """Whether doubling keeps the corners of a map in place (public program). Then what lies in a patch moves a little
    with the patch; without, it does not."""

    def __post_init__(self) -> None:
        FamilyConfig.__post_init__(self)
        needed = divisor(self)
        if self.patch_px % needed:
            raise InvalidValueError(
                f"patch_px={self.patch_px} does not work: variant {self.variant} takes multiples of {needed}"
            )


class DoublingDecoder(nn.Module):
    """Doubles the size five times, each time joined by an encoder's map and followed by two convolutions.

    Parameters
    ----------
    encoded : sequence of int
        Channels of the encoder's maps, the finest (half the size of the image) first.
    align_corners : bool
        Of the bilinear doubling.
    """

    def __init__(self, encoded: Sequence[int], align_corners: bool) -> None:
        super().__init__()
        self._align_corners = align_corners
        *skips, deepest = encoded
        joined = (*reversed(skips), 0)
        before = (deepest, *DECODER_WIDTHS[:-1])
        self.blocks = nn.ModuleList(
            nn.Sequential(*_conv_norm_relu(wide + skip, width), *_conv_norm_relu(width, width))
            for wide, skip, width in zip(before, joined, DECODER_WIDTHS, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return features of the size of the image."""
        *skips, x = maps
        for block, skip in zip(self.blocks, (*reversed(skips), None), strict=True):
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=self._align_corners)
            x = block(x if skip is None else torch.cat([x, skip], dim=1))
        return x


def _conv_norm_relu(channels_in: int, channels_out: int) -> list[nn.Module]:
    # The bias does nothing before a batch norm, but the published number of parameters holds it.
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]


class ResNetUNet(nn.Module):
    """U-Net whose encoder is one of timm's networks."""

    def __init__(self, config: UseNetConfig) -> None:
        super().__init__()
        kind = ENCODERS[config.variant]
        # Branches that start at zero (timm's own choice) would get no gradient in the first step.
        options = {"features_only": True, "zero_init_last": False, **kind.options(config)}
        self.encoder = timm_network(kind.timm_name, config.weights, **options)
        self.decoder = DoublingDecoder(kind.channels, config.align_corners)
        self.channels = DECODER_WIDTHS[-1]
        initialize(self.decoder)

    def forward(self, image: Tensor) -> Tensor:
        """Return features of the size of the image."""
        features: Tensor = self.decoder(self.encoder(image))
        return features


class PlainUNet(nn.Module):
    """Small U-Net with batch norm."""

    def __init__(self, config: UseNetConfig) -> None:
        super().__init__()
        widths = [config.width << level for level in range(5)]
        self.encoder = Encoder(3, widths, "batch")
        self.decoder = Decoder(widths, "batch")
        self.channels = config.width
        initialize(self)

    def forward(self, image: Tensor) -> Tensor:
        """Return features of the size of the image."""
        features: Tensor = self.decoder(self.encoder(image))[0]
        return features


def _no_options(config: UseNetConfig) -> dict[str, Any]:
    del config
    return {}


def _squeezes(config: UseNetConfig) -> dict[str, Any]:
    # The network that the authors load has no biases; timm's own has 16,048.
    from timm.layers.squeeze_excite import SEModule

    squeeze = partial(SEModule, bias=config.squeeze_bias)
    return {"block_args": {"attn_layer": squeeze}, "pretrained_strict": config.squeeze_bias}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderKind:
    """One variant: its trunk and what input edges must divide by; timm's name and options, and the levels' channels."""

    trunk: Callable[[UseNetConfig], nn.Module]
    divisor: int
    timm_name: str = ""
    options: Callable[[UseNetConfig], dict[str, Any]] = _no_options
    channels: tuple[int, ...] = ()


RESNET50_CHANNELS: Final = (64, 256, 512, 1024, 2048)
"""Of five levels, each with half the edge of the one before, the first with half the image's."""

ENCODERS: Final[Mapping[str, EncoderKind]] = {
    "se_resnet50": EncoderKind(
        trunk=ResNetUNet, divisor=32, timm_name="seresnet50", options=_squeezes, channels=RESNET50_CHANNELS
    ),
    "resnet50": EncoderKind(trunk=ResNetUNet, divisor=32, timm_name="resnet50", channels=RESNET50_CHANNELS),
    "resnet18": EncoderKind(trunk=ResNetUNet, divisor=32, timm_name="resnet18", channels=RESNET18_CHANNELS),
    "unet": EncoderKind(trunk=PlainUNet, divisor=16),
}

PIXELS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {"intensity": as_it_is, "density": optical_density}


class UseNet(nn.Module):
    """A trunk and one 3x3 convolution for all outputs.

    Parameters
    ----------
    config : UseNetConfig
        Which network.
    classes : int
        Number of classes of nuclei.

    Attributes
    ----------
    divisor : int
        What the edges of the image must be a multiple of.
    """

    def __init__(self, config: UseNetConfig, classes: int) -> None:
        super().__init__()
        self.divisor = divisor(config)
        self.pixels = PIXELS[config.pixels]
        self.heads = heads(config, classes)
        self.trunk = ENCODERS[config.variant].trunk(config)
        channels: int = self.trunk.channels  # type: ignore[assignment]
        self.head = nn.Conv2d(channels, sum(head.channels for head in self.heads), kernel_size=3, padding=1)
        initialize(self.head)

    def forward(self, views: dict[str, Tensor]) -> Outputs:
        """Return logits.

        Parameters
        ----------
        views : dict of Tensor, (B, 3, H, W) in 0..1
            One view; H and W are multiples of ``divisor``.

        Returns
        -------
        dict of Tensor
            ``"mask"`` and ``"marker"`` (B, 1, H, W), before the sigmoid; ``"classes"`` (B, K, H, W), before the
            softmax, where they are learned. Without markers there is no ``"marker"``.
        """
        logits = self.head(self.trunk(self.pixels(views[VIEW])))
        parts = torch.split(logits, [head.channels for head in self.heads], dim=1)
        return {head.name: part for head, part in zip(self.heads, parts, strict=True)}


def divisor(config: UseNetConfig) -> int:
    """Return what the edges of the image must be a multiple of, px."""
    return ENCODERS[config.variant].divisor


def views(config: UseNetConfig) -> tuple[View, ...]:
    """Return the one input."""
    return (View(name=VIEW, fov=FieldOfView(size_px=config.patch_px, mpp=config.mpp)),)


def heads(config: UseNetConfig, classes: int) -> tuple[Head, ...]:
    """Return the outputs."""
    marker = () if config.marker == "none" else (Head(name=MARKER, channels=1),)
    own = (Head(name=CLASSES, channels=classes),) if config.class_head and classes > 1 else ()
    return (Head(name=MASK, channels=1), *marker, *own)


def encoder(config: UseNetConfig) -> Encode:
    """Return what makes the targets of a sample: mask, marker, and the classes of nuclei.

    All nuclei are annotated wherever the sample has a label; the last label is that of what is no nucleus.
    """

    def encode(truth: Truth) -> dict[str, npt.NDArray[Any]]:
        instances, known = truth.instances, truth.labels != IGNORE_INDEX
        if instances is None:
            raise InvalidValueError("nuclei cannot be learned from labels of pixels; give a map of single nuclei")
        made = {MASK: nucleus_mask(instances, known)}
        if config.marker != "none":
            made[MARKER] = nucleus_marker(instances, known, truth.mpp, config.marker)
        classes = np.where(instances > 0, truth.labels, np.uint8(IGNORE_INDEX))
        return made | {CLASSES: classes.astype(np.int64)}

    return encode


def loss(config: UseNetConfig) -> Loss:
    """Return the loss of a configuration; the weight of the last class, of what is no nucleus, does not count."""

    def cost(outputs: Outputs, targets: Targets, class_weights: Tensor, label_smoothing: float = 0.0) -> Tensor:
        binary = [name for name in (MASK, MARKER) if name in outputs]
        logits = torch.cat([outputs[name] for name in binary], dim=1)
        parted = bce_dice(logits, torch.stack([targets[name] for name in binary], dim=1), config.dice_share)
        if CLASSES not in outputs:
            return parted
        named = weighted_cross_entropy(outputs[CLASSES], targets[CLASSES], class_weights[:-1], label_smoothing)
        return parted + config.class_cost * named

    return cost


def probabilities(outputs: Outputs) -> Tensor:
    """Return the probability of each class of nuclei, and last of what is no nucleus, (B, K, H, W)."""
    nucleus = outputs[MASK].float().sigmoid()
    own = outputs[CLASSES].float().softmax(dim=1) if CLASSES in outputs else 1.0
    return torch.cat([nucleus * own, 1 - nucleus], dim=1)


def maps(outputs: Outputs) -> Tensor:
    """Return mask, marker where there is one, and classes where they are learned, (B, C, H, W)."""
    binary = [outputs[name].float().sigmoid() for name in (MASK, MARKER) if name in outputs]
    own = [outputs[CLASSES].float().softmax(dim=1)] if CLASSES in outputs else []
    return torch.cat([*binary, *own], dim=1)


RECIPE: Final = Recipe(
    # Adam (Rahmon et al. 2022, sec. III.B).
    optimizer="adamw",
    weight_decay=0.0,
    learning_rate=1e-4,
    schedule="tenths",
    batch_size=8,
    epochs=60,
    # As many as nine tenths of the 4,500 images made of 30 (sec. II.A.2).
    samples_per_epoch=4050,
    stain_normalization="vahadane",
    # Flips, turns and shifts by a fifth (sec. II.A.2; public program), no deformation, no change of color.
    rot90_p=0.0,
    rotation_p=1.0,
    rotation_deg=25.0,
    color_p=0.0,
    mild_elastic_alpha=0.0,
    elastic_sigma_px=0.0,
    repeats_max=0,
    stride_px=198,
    validation_share=0.1,
)
"""The paper's training, as far as ``Recipe`` knows its parts."""

SMALL: Final[Mapping[str, object]] = {
    # network
    "variant": "unet",
    "weights": "random",
    "width": 16,
    "patch_px": 128,
    "pixels": "density",
    "class_head": True,
    "turns": "d4",
    # steps
    "learning_rate": 2e-3,
    "schedule": "cosine",
    "weight_decay": 1e-4,
    "batch_size": 8,
    "epochs": 32,
    "samples_per_epoch": 480,
    "ema_decay": 0.99,
    # Classes of few nuclei say little about outlines: only what collapsed is not kept.
    "selection_tolerance": 0.3,
    # data
    "stride_px": 32,
    # augmentation
    "rot90_p": 0.5,
    "stain_jitter": 0.1,
    "density_jitter": 0.4,
    "scale_jitter": 0.2,
}
"""Trains in minutes on two CPU cores. Departs from Rahmon et al. 2022 in every value named here."""

USE_NET: Final = Family(
    name="use_net",
    title="Rahmon et al. 2022, extended USE-Net for nuclei in H&E",
    config_type=UseNetConfig,
    recipe=RECIPE,
    presets={PAPER: {}, "small": SMALL},
    variants=tuple(ENCODERS),
    paper_classes=2,
    views=views,
    # The last class of a model is what is no nucleus; no output is its own.
    heads=lambda config, classes: heads(config, classes - 1),
    divisor=divisor,
    build=lambda config, classes: UseNet(config, classes - 1),
    loss=loss,
    probabilities=probabilities,
    subject=Subject.NUCLEI,
    maps=maps,
    turns=lambda config: config.turns,
    decoding=lambda config: config.decoding,
    asks_for=frozenset({"instances"}),
    encoder=encoder,
)
