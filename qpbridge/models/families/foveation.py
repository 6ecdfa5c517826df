"""Foveation (Jin et al. 2020): at each place, a small module chooses between a large field of view and a fine one.

A sample is one place. Its fields are concentric squares of ever larger extent in the same number of pixels; its glance
is what a thumbnail shows around it. Shapes: B places, D fields, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from qpbridge.core.geometry import FieldOfView, View
from qpbridge.errors import InvalidValueError
from qpbridge.models.backbones.published import Weights
from qpbridge.models.backbones.segmenters import HighResolutionNet, Padded, UNet
from qpbridge.models.blocks import PIXELS, center, initialize
from qpbridge.models.family import LABELS, PAPER, Family, Outputs, Survey, Targets
from qpbridge.models.losses import weighted_cross_entropy
from qpbridge.models.recipe import SMALL_TRAINING, Count, CountOrZero, Positive, Recipe
from qpbridge.models.spec import FamilyConfig, Head

LOGITS: Final = "logits"
FIELDS: Final = "fields"
GLANCE: Final = "glance"
REACH_CELLS: Final = 7
"""Cells of the thumbnail that the module sees from one place: three 3x3 convolutions (Jin et al. 2020, sec. 3)."""
START_BIAS: Final = 1e-4
"""Of the module's batch normalization (Jin et al. 2020, public program)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoveationConfig(FamilyConfig):
    """Which network. The defaults are those of Jin et al. 2020."""

    variant: Literal["mean", "gumbel", "argmax", "fixed", "random", "average"] = "mean"
    """How the fields of a place become one image: their mean, weighted by the module (Jin et al. 2020, eq. 1); drawn
    softly by the module's weights (Gumbel-softmax) or the one of the largest weight (later versions of the paper); or,
    to compare, always one field, any one by chance, or the plain mean of all (Jin et al. 2020, sec. 4)."""

    patch_px: Count = 1100
    """Edge of every field in pixels of its own (Jin et al. 2020, sec. 3)."""

    mpp: Positive = 0.23
    """Pixel size of the finest field, µm/px (Gleason 2019: 40x)."""

    fields_px: tuple[Count, ...] = (1100, 2000, 2900, 3800, 4400)
    """Edges of the fields, px of the finest field's size; the first is ``patch_px`` (Jin et al. 2020, sec. 3)."""

    fixed_field: CountOrZero = 0
    """Position of the field that variant "fixed" always takes, counted from 0, the finest."""

    glance_factor: Positive = 44.0
    """Size of the thumbnail's pixels, in pixels of the finest field (public program: 4400 px become 100)."""

    glance_px: Annotated[int, msgspec.Meta(ge=REACH_CELLS, description="a whole number from 7 on")] = 15
    """Edge of the glance, px of the thumbnail. The module reaches 7; more serve the batch statistics."""

    temperature: Positive = 1.0
    """Of variant "gumbel": towards 0, draws approach a single field."""

    segmenter: Literal["hrnet_w48", "hrnet_w18", "unet"] = "hrnet_w48"
    """What labels the image: HRNetV2-W48 with the C1 head (Jin et al. 2020, sec. 3), a smaller HRNet, or a U-Net of
    ``width``, with batch normalization."""

    width: Count = 16
    """Channels of the U-Net's finest level; they double with each level."""

    weights: Weights = "imagenet"
    """What HRNet starts from (ImageNet: Jin et al. 2020, sec. 3); the U-Net starts at random."""

    pixels: Literal["intensity", "density", "standardized"] = "standardized"
    """What module and segmenter see: standardized as in ImageNet (public program: by the data's mean and standard
    deviation), intensities in 0..1, or optical densities."""

    def __post_init__(self) -> None:
        FamilyConfig.__post_init__(self)
        first, *others = self.fields_px or (0,)
        if first != self.patch_px or not others or list(self.fields_px) != sorted(set(self.fields_px)):
            raise InvalidValueError(
                f"fields_px={self.fields_px} does not work: it takes two or more growing edges, the first of which is "
                f"patch_px={self.patch_px}"
            )
        if self.fixed_field >= len(self.fields_px):
            raise InvalidValueError(
                f"fixed_field={self.fixed_field} does not work: there are {len(self.fields_px)} fields, counted from 0"
            )


class FoveationModule(nn.Module):
    """Weighs the fields for every cell of a thumbnail.

    References
    ----------
    Jin et al. 2020, sec. 3: three 3x3 convolutions with batch normalization.
    """

    def __init__(self, fields: int) -> None:
        super().__init__()
        between = 8 * fields
        self.layers = nn.Sequential(
            *_normalized(3, between),
            nn.ReLU6(),
            *_normalized(between, between),
            nn.ReLU6(),
            *_normalized(between, fields),
        )
        initialize(self)

    def forward(self, thumbnail: Tensor) -> Tensor:
        """Return weights (B, D, H, W) that sum to 1 over the fields, from a thumbnail (B, 3, H, W)."""
        weights: Tensor = self.layers(thumbnail).float().softmax(dim=1)
        return weights


def _normalized(channels_in: int, channels_out: int) -> list[nn.Module]:
    norm = nn.BatchNorm2d(channels_out)
    if not norm.bias.is_meta:
        nn.init.constant_(norm.bias, START_BIAS)
    return [nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False), norm]


def at_center(weights_BDHW: Tensor) -> Tensor:
    """Return the weights (B, D) at the center of a glance: of its central cell, or the mean of the central four."""
    rows, columns = (2 - edge % 2 for edge in weights_BDHW.shape[2:])
    return center(weights_BDHW, rows, columns).mean(dim=(2, 3))


def blended(weights_BD: Tensor, fields: Sequence[Tensor]) -> Tensor:
    """Return the mean of the fields of each place, (B, 3, H, W), by their weights (Jin et al. 2020, eq. 1)."""
    parts = zip(weights_BD.unbind(dim=1), fields, strict=True)
    return torch.stack([weight[:, None, None, None] * field for weight, field in parts]).sum(dim=0)


def average_field_px(weights_BD: Tensor, fields_px: Sequence[int]) -> Tensor:
    """Return the mean edge of the fields that each place prefers, shape (B,), px of the finest field.

    References
    ----------
    Jin et al. 2020, sec. 4: average patch size map.
    """
    # No matrix product: under autocast it would round to three digits.
    return (weights_BD * weights_BD.new_tensor(fields_px)).sum(dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is known of some places when their fields are chosen.

    Parameters
    ----------
    fields : sequence of Tensor
        D tensors (B, 3, H, W) in 0..1, the finest first.
    weights : Tensor or None
        Of the fields, by the module, shape (B, D); None in variants without it.
    is_training : bool
        Whether chance may play: predictions always come out the same.
    config : FoveationConfig
        Of the network.
    """

    fields: Sequence[Tensor]
    weights: Tensor | None
    is_training: bool
    config: FoveationConfig

    @property
    def preferred(self) -> Tensor:
        """The module's weights."""
        assert self.weights is not None
        return self.weights


def _drawn_softly(place: Place) -> Tensor:
    logits = place.preferred.clamp(min=torch.finfo(torch.float32).tiny).log()
    if place.is_training:
        return functional.gumbel_softmax(logits, tau=place.config.temperature, dim=1)
    return (logits / place.config.temperature).softmax(dim=1)


def _largest(place: Place) -> Tensor:
    # The choice itself has no gradient; that of the weights stands in for it (straight-through).
    weights = place.preferred
    chosen = _one_hot(weights.argmax(dim=1), place)
    return chosen + weights - weights.detach() if place.is_training else chosen


def _by_chance(place: Place) -> Tensor:
    finest = place.fields[0]
    if place.is_training:
        return _one_hot(torch.randint(len(place.fields), finest.shape[:1], device=finest.device), place)
    # In prediction the place's own pixels decide: as good as chance, but the same again and in any batch.
    sums = (255 * finest).round().to(torch.int64).sum(dim=(1, 2, 3))
    return _one_hot(sums % len(place.fields), place)


def _fixed(place: Place) -> Tensor:
    chosen = torch.full(place.fields[0].shape[:1], place.config.fixed_field, device=place.fields[0].device)
    return _one_hot(chosen, place)


def _evenly(place: Place) -> Tensor:
    finest, count = place.fields[0], len(place.fields)
    return torch.full((finest.shape[0], count), 1 / count, device=finest.device)


def _one_hot(chosen_B: Tensor, place: Place) -> Tensor:
    return functional.one_hot(chosen_B, len(place.fields)).float()


CHOICES: Final[Mapping[str, Callable[[Place], Tensor]]] = {
    "mean": lambda place: place.preferred,
    "gumbel": _drawn_softly,
    "argmax": _largest,
    "fixed": _fixed,
    "random": _by_chance,
    "average": _evenly,
}
"""How the weights (B, D) by which fields are blended come about, by variant."""

LEARNED: Final = frozenset({"mean", "gumbel", "argmax"})
"""Variants with the module; the others need no glance."""

SEGMENTERS: Final[Mapping[str, Callable[[FoveationConfig, int], nn.Module]]] = {
    "hrnet_w48": lambda config, classes: Padded(HighResolutionNet("hrnet_w48", config.weights, classes), 32),
    "hrnet_w18": lambda config, classes: Padded(HighResolutionNet("hrnet_w18", config.weights, classes), 32),
    "unet": lambda config, classes: Padded(UNet(config.width, "batch", classes), 16),
}


class Foveation(nn.Module):
    """The module, and a segmenter that sees what it chose.

    Parameters
    ----------
    config : FoveationConfig
        Which network.
    classes : int
        Number of classes.

    Raises
    ------
    WeightsMissingError
        If ImageNet weights are asked for, but cannot be had.
    """

    def __init__(self, config: FoveationConfig, classes: int) -> None:
        super().__init__()
        self.draws_at_random = config.variant in ("gumbel", "random")
        self.config, self.pixels = config, PIXELS[config.pixels]
        self.module = FoveationModule(len(config.fields_px)) if config.variant in LEARNED else None
        self.segmenter = SEGMENTERS[config.segmenter](config, classes)

    def forward(self, views: dict[str, Tensor]) -> Outputs:
        """Return logits of the classes, and the weights of the fields where they are learned.

        Parameters
        ----------
        views : dict of Tensor, each (B, 3, H, W) in 0..1
            By name; the fields are of one size.

        Returns
        -------
        dict of Tensor
            ``"logits"`` (B, K, H, W) in the frame of the finest field; ``"fields"`` (B, D), weights that sum to 1, as
            the module gives them before anything is drawn.
        """
        fields = [views[view.name] for view in field_views(self.config)]
        weights = None if self.module is None else at_center(self.module(self.pixels(views[GLANCE])))
        place = Place(fields=fields, weights=weights, is_training=self.training, config=self.config)
        seen = blended(CHOICES[self.config.variant](place), fields)
        logits = self.segmenter(self.pixels(seen))
        return {LOGITS: logits} if weights is None else {LOGITS: logits, FIELDS: weights}


def divisor(_config: FoveationConfig) -> int:
    """Return what the edges of all views must be a multiple of, px: any will do, since segmenters pad."""
    return 1


def field_views(config: FoveationConfig) -> tuple[View, ...]:
    """Return the fields of a place, the finest first."""
    return tuple(
        View(
            name=f"field{position}",
            fov=FieldOfView(size_px=config.patch_px, mpp=config.mpp * edge_px / config.patch_px),
        )
        for position, edge_px in enumerate(config.fields_px)
    )


def views(config: FoveationConfig) -> tuple[View, ...]:
    """Return the inputs: the fields, and the glance where one is needed."""
    glance = View(name=GLANCE, fov=FieldOfView(size_px=config.glance_px, mpp=config.mpp * config.glance_factor))
    return (*field_views(config), *([glance] if config.variant in LEARNED else []))


def heads(config: FoveationConfig, classes: int) -> tuple[Head, ...]:
    """Return the outputs."""
    fields = (Head(name=FIELDS, channels=len(config.fields_px)),) if config.variant in LEARNED else ()
    return (Head(name=LOGITS, channels=classes), *fields)


def loss(outputs: Outputs, targets: Targets, class_weights: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the weighted cross-entropy over labelled pixels of the finest field."""
    return weighted_cross_entropy(outputs[LOGITS], targets[LABELS], class_weights, label_smoothing)


def probabilities(outputs: Outputs) -> Tensor:
    """Return the softmax over the classes."""
    return outputs[LOGITS].float().softmax(dim=1)


class Preference(nn.Module):
    """Which fields a network prefers: their weights, and the mean of their extents, µm."""

    def __init__(self, network: Foveation) -> None:
        super().__init__()
        assert network.module is not None
        self.module, self.pixels, self.config = network.module, network.pixels, network.config

    def forward(self, views: dict[str, Tensor]) -> Outputs:
        """Return D weights and the mean extent of each place, (B, D + 1)."""
        weights = at_center(self.module(self.pixels(views[GLANCE])))
        mean_um = self.config.mpp * average_field_px(weights, self.config.fields_px)
        return {FIELDS: torch.cat([weights, mean_um[:, None]], dim=1)}


def survey(network: nn.Module, config: FoveationConfig) -> Survey | None:
    """Return what tells the preferred fields of places; None for variants that learn none."""
    assert isinstance(network, Foveation)
    if network.module is None:
        return None
    names = [f"Field of {view.fov.extent_um:g} µm" for view in field_views(config)]
    return Survey(network=Preference(network), views=views(config)[-1:], head=FIELDS, names=(*names, "Mean field µm"))


SMALL: Final[Mapping[str, object]] = {
    # network
    "segmenter": "unet",
    "width": 8,
    "weights": "random",
    "pixels": "density",
    # fields of 128, 256 and 512 µm
    "mpp": 1.0,
    "patch_px": 128,
    "fields_px": (128, 256, 512),
    "glance_factor": 16.0,
    **SMALL_TRAINING,
}
"""Trains in minutes on two CPU cores. Departs from Jin et al. 2020 in every value named here."""

RECIPE: Final = Recipe(
    optimizer="adamw",
    learning_rate=2e-5,
    schedule="poly",
    batch_size=16,
    patches_at_once=2,
    epochs=50,
    stride_px=1100,
    repeats_max=0,
    elastic_sigma_px=0.0,
    mild_elastic_alpha=0.0,
    rot90_p=0.0,
    color_p=0.0,
)
"""Of Jin et al. 2020, sec. 3 and public program, but with flips both ways, a step for 16 places, and AdamW's decay."""

FOVEATION: Final = Family(
    name="foveation",
    title="Jin et al. 2020, Foveation for segmentation of mega-pixel histology images",
    config_type=FoveationConfig,
    recipe=RECIPE,
    presets={PAPER: {}, "small": SMALL},
    variants=tuple(CHOICES),
    paper_classes=4,
    views=views,
    heads=heads,
    divisor=divisor,
    build=Foveation,
    loss=lambda _config: loss,
    probabilities=probabilities,
    survey=survey,
)
