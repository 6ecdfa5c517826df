"""Tissue from tags alone (Han et al. 2022, WSSS-Tissue): a classifier's maps teach a segmentation network.

The first stage learns which classes occur in a patch; pseudo masks are made from where it looks; from those the second
stage learns to label pixels. Both lie in one network. Shapes: B patches, K classes, T pseudo masks of a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import FieldOfView, View
from qpbridge.errors import InvalidValueError
from qpbridge.models.backbones.deeplab import DeepLab, light_trunk, resnet101_trunk
from qpbridge.models.backbones.published import Weights, resnet50_parts
from qpbridge.models.backbones.residual import light_parts
from qpbridge.models.backbones.resnet38d import resnet38d_parts
from qpbridge.models.blocks import PIXELS, initialize
from qpbridge.models.family import (
    LABELS,
    MASKS,
    PAPER,
    PRESENCE,
    Encode,
    Family,
    Outputs,
    Stage,
    TagReading,
    Targets,
    Truth,
    Views,
    run_plainly,
)
from qpbridge.models.recipe import Count, Positive, Recipe, Share
from qpbridge.models.spec import FamilyConfig, Head
from qpbridge.models.weak.attention import Classifier, attention_threshold
from qpbridge.models.weak.multi_layer import MASK_WEIGHTS, masks_loss
from qpbridge.models.weak.presence import CLOSED_BELOW, gated, presence_loss, presence_of
from qpbridge.models.weak.pseudo_masks import pseudo_masks, white_areas

LOGITS: Final = "logits"
TAGGED: Final = "tagged"
"""Target: which pixels presence is about, bool, shape (B, H, W)."""

Parts: TypeAlias = Literal["classifier", "segmenter", "both"]
"""What a pass runs; "both" for prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakTissueConfig(FamilyConfig):
    """Which networks. The defaults are those of Han et al. 2022."""

    variant: Literal["multi_layer", "single_layer"] = "multi_layer"
    """Whether the second stage learns from pseudo masks of three parts of the classifier (Han et al. 2022), or of its
    last one alone, to compare."""

    patch_px: Count = 224
    """Edge of a patch, px (Han et al. 2022, public program)."""

    mpp: Positive = 1.0
    """Pixel size, µm/px (Han et al. 2022: 10x)."""

    classifier: Literal["resnet38d", "resnet50", "light"] = "resnet38d"
    """First stage: ResNet-38d (Han et al. 2022), ResNet-50 with cells of 8 px, or a light one for two CPU cores."""

    segmenter: Literal["deeplab_r101", "light"] = "deeplab_r101"
    """Second stage: DeepLabV3+ on ResNet-101 (Han et al. 2022), or on a light encoder."""

    width: Count = 16
    """Channels of the finest level of light networks."""

    weights: Weights = "imagenet"
    """What ResNet-50 and ResNet-101 start from. ResNet-38d starts at random: its ImageNet weights (Han et al. 2022)
    are in no library."""

    is_frozen: bool = False
    """Whether batch normalization and the first layers of ResNet-38d are never trained (Han et al. 2022); of use only
    where a bundle with trained ones is gone on from."""

    dropout: bool = True
    """Whether features are dropped at random in training (Han et al. 2022, public program); on CPUs, threads then work
    one after the other."""

    supervision: Literal["tags", "polygons"] = "tags"
    """What says which classes occur: tags of areas, or class polygons, each patch tagged with those that it shows; to
    compare both on the same regions."""

    absence: Literal["asserted", "unknown"] = "asserted"
    """Whether a class that tags do not name is absent (Han et al. 2022), or nothing is known of it."""

    presence_min_share: Share = 0.01
    """Share of the labelled pixels from which on a patch shows a class, where polygons say so (not published)."""

    classifier_epochs: Count = 20
    """Epochs of the first stage (Han et al. 2022, public program); ``epochs`` are those of the second."""

    attention: bool = True
    """Whether the first stage learns with progressive dropout attention (Han et al. 2022)."""

    exclude_white: bool = False
    """Whether white areas get no pseudo label (Han et al. 2022: in lung, but not in breast, where fat is white)."""

    gate: bool = True
    """Whether prediction closes classes that the first stage does not see (Han et al. 2022, classification gate)."""

    gate_closed_below: Share = CLOSED_BELOW
    """Probability up to which the gate closes a class (Han et al. 2022, public program)."""

    pixels: Literal["intensity", "density", "standardized"] = "intensity"
    """What the networks see: intensities in 0..1 (Han et al. 2022, public program), optical densities, or intensities
    standardized as in ImageNet."""

    def __post_init__(self) -> None:
        FamilyConfig.__post_init__(self)
        if self.patch_px % divisor(self):
            raise InvalidValueError(f"patch_px={self.patch_px} does not work: it takes multiples of {divisor(self)}")


def _light_classifier(config: WeakTissueConfig, classes: int) -> Classifier:
    parts = light_parts(config.width)
    initialize(parts)
    return Classifier(parts, 8 * config.width, classes)


CLASSIFIERS: Final[Mapping[str, Callable[[WeakTissueConfig, int], Classifier]]] = {
    "resnet38d": lambda config, classes: Classifier(resnet38d_parts(is_frozen=config.is_frozen), 4096, classes),
    "resnet50": lambda config, classes: Classifier(resnet50_parts(config.weights), 2048, classes),
    "light": _light_classifier,
}

SEGMENTERS: Final[Mapping[str, Callable[[WeakTissueConfig, int], nn.Module]]] = {
    "deeplab_r101": lambda config, classes: DeepLab(resnet101_trunk(config.weights), classes),
    "light": lambda config, classes: DeepLab(
        light_trunk(config.width), classes, width=4 * config.width, fine_width=config.width, rates=(2, 4, 6)
    ),
}


class WeakTissue(nn.Module):
    """Both stages.

    Parameters
    ----------
    config : WeakTissueConfig
        Which networks.
    classes : int
        Number of classes.

    Raises
    ------
    WeightsMissingError
        If ImageNet weights are asked for, but cannot be had.
    """

    def __init__(self, config: WeakTissueConfig, classes: int) -> None:
        super().__init__()
        self.config = config
        self.pixels = PIXELS[config.pixels]
        self.classifier = CLASSIFIERS[config.classifier](config, classes)
        self.segmenter = SEGMENTERS[config.segmenter](config, classes)
        for module in self.modules():
            if isinstance(module, nn.Dropout | nn.Dropout2d) and not config.dropout:
                module.p = 0.0

    def forward(
        self, views: Views, stage: Parts = "both", threshold: float | None = None, tagged: Tensor | None = None
    ) -> Outputs:
        """Return logits of the classes of pixels, and of their presence.

        Parameters
        ----------
        views : dict of Tensor
            ``"x1"``, shape (B, 3, H, W), in 0..1.
        stage : str
            What to run; ``"classifier"`` gives presence only, ``"segmenter"`` ungated logits only.
        threshold : float or None
            Of progressive dropout attention, as ``attention_threshold`` gives it for an epoch.
        tagged : Tensor of bool, shape (B, H, W), or None
            Pixels that presence is about; all where None.

        Returns
        -------
        dict of Tensor
            ``"logits"`` (B, K, H, W), in evaluation mode and with both stages gated; ``"presence"`` (B, K).
        """
        seen = self.pixels(views["x1"])
        outputs: Outputs = {}
        if stage != "classifier":
            outputs[LOGITS] = self.segmenter(seen)
        if stage != "segmenter":
            outputs[PRESENCE] = self.classifier(seen, threshold, tagged)
        if stage == "both" and self.config.gate and not self.training:
            outputs[LOGITS] = gated(outputs[LOGITS], outputs[PRESENCE], self.config.gate_closed_below)
        return outputs

    def pseudo_masks(self, views: Views, presence_BK: Tensor, tagged: Tensor | None = None) -> Tensor:
        """Return what the second stage learns from, by the first.

        Parameters
        ----------
        views : dict of Tensor
            As for ``forward``.
        presence_BK : Tensor of int64
            1 where a class occurs, 0 where not; where it is ``IGNORE_INDEX``, the classifier decides.
        tagged : Tensor of bool, shape (B, H, W), or None
            Pixels that this is about, all where None; others get no label.

        Returns
        -------
        Tensor of int64, shape (B, T, H, W)
            As many masks as the variant has weights for; ``IGNORE_INDEX`` where there is no label.
        """
        images = views["x1"]
        excluded = white_areas(images) if self.config.exclude_white else None
        masks = pseudo_masks(self.classifier, self.pixels(images), presence_BK, tagged, excluded)
        return masks[:, : len(MASK_WEIGHTS[self.config.variant])]


def divisor(_config: WeakTissueConfig) -> int:
    """Return what the edges of the view must be a multiple of, px: cells of 16 px then lie in register."""
    return 16


def views(config: WeakTissueConfig) -> tuple[View, ...]:
    """Return the input."""
    return (View(name="x1", fov=FieldOfView(size_px=config.patch_px, mpp=config.mpp)),)


def heads(_config: WeakTissueConfig, classes: int) -> tuple[Head, ...]:
    """Return the outputs."""
    return Head(name=LOGITS, channels=classes), Head(name=PRESENCE, channels=classes)


def threshold_of(config: WeakTissueConfig, epoch: int) -> float | None:
    """Return the threshold of progressive dropout attention in an epoch of the first stage, counted from 0."""
    return attention_threshold(epoch) if config.attention else None


def classifier_loss(outputs: Outputs, presence: Tensor) -> Tensor:
    """Return the first stage's loss: binary cross-entropy of the presence (B, K) that is known."""
    return presence_loss(outputs[PRESENCE], presence)


def probabilities(outputs: Outputs) -> Tensor:
    """Return the softmax over the classes; those that the gate closed have next to none."""
    return outputs[LOGITS].float().softmax(dim=1)


def encoder(config: WeakTissueConfig) -> Encode:
    """Return what says of a sample which classes occur in it, and where that is true."""

    def encode(truth: Truth) -> dict[str, npt.NDArray[Any]]:
        tagged = truth.labels != IGNORE_INDEX if truth.tagged is None else truth.tagged
        presence = truth.presence
        if presence is None:
            presence = presence_of(truth.labels, truth.classes, config.presence_min_share, absence_share=0.0)
        masks = {} if truth.masks is None else {MASKS: truth.masks.astype(np.int64)}
        return {PRESENCE: presence, TAGGED: tagged, **masks}

    return encode


def tags(config: WeakTissueConfig) -> TagReading | None:
    """Return how tags are taken; None where class polygons say which classes occur."""
    return TagReading(is_absence_asserted=config.absence == "asserted") if config.supervision == "tags" else None


def stages(config: WeakTissueConfig) -> tuple[Stage, ...]:
    """Return both stages: which classes occur, then where, as the first one's maps have it."""

    def run(network: nn.Module, views: Views, targets: Targets, epoch: int) -> Outputs:
        threshold = threshold_of(config, epoch) if network.training else None
        outputs: Outputs = network(views, stage="classifier", threshold=threshold, tagged=targets.get(TAGGED))
        return outputs

    return (
        Stage(
            name="classifier",
            loss=lambda outputs, targets, *_: classifier_loss(outputs, targets[PRESENCE]),
            epochs=config.classifier_epochs,
            learns=_part("classifier"),
            run=run,
            judged_by="presence",
            is_weighted=False,
        ),
        Stage(
            name="segmenter",
            loss=segmenter_loss,
            learns=_part("segmenter"),
            run=_run_segmenter,
            label=_labelled,
            is_weighted=False,
        ),
    )


def _part(name: str) -> Callable[[nn.Module], nn.Module]:
    return lambda network: network.get_submodule(name)


def _run_segmenter(network: nn.Module, views: Views, targets: Targets, epoch: int) -> Outputs:
    if not network.training:
        return run_plainly(network, views, targets, epoch)
    outputs: Outputs = network(views, stage="segmenter")
    return outputs


def segmenter_loss(outputs: Outputs, targets: Targets, class_weights: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the second stage's loss: of pseudo masks, or of labels where there are none."""
    masks = targets[MASKS] if MASKS in targets else targets[LABELS][:, None]
    return masks_loss(outputs[LOGITS], masks, class_weights, label_smoothing)


def _labelled(network: nn.Module, views: Views, targets: Targets) -> Tensor:
    assert isinstance(network, WeakTissue)
    return network.pseudo_masks(views, targets[PRESENCE], targets[TAGGED])


SMALL: Final[Mapping[str, object]] = {
    # network
    "classifier": "light",
    "segmenter": "light",
    "width": 16,
    "weights": "random",
    "patch_px": 64,
    "mpp": 2.0,
    "pixels": "density",
    "dropout": False,
    # steps
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "weight_decay": 1e-4,
    "batch_size": 16,
    "classifier_epochs": 12,
    "epochs": 12,
    "samples_per_epoch": 320,
    "ema_decay": 0.98,
    # data
    "stride_px": 32,
    "repeats_max": 0,
    "validation_share": 0.15,
    "selection_tolerance": 0.1,
    # augmentation
    "rot90_p": 0.5,
    "density_jitter": 0.4,
    "stain_jitter": 0.1,
    "scale_jitter": 0.1,
}
"""Networks that train from scratch in minutes on two CPU cores. Departs from Han et al. 2022 in every value named."""

RECIPE: Final = Recipe(
    optimizer="sgd",
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="poly",
    batch_size=20,
    epochs=30,
    stride_px=224,
    repeats_max=0,
    elastic_sigma_px=0.0,
    mild_elastic_alpha=0.0,
    rot90_p=0.0,
    color_p=0.0,
)
"""Of Han et al. 2022 (public program), but with momentum in the first stage, too, one rate for all weights, no blur,
and the loss of the second stage not divided by the batch size."""

WEAK_TISSUE: Final = Family(
    name="weak_tissue",
    title="Han et al. 2022, WSSS-Tissue: tissue segmentation from patch-level tags",
    config_type=WeakTissueConfig,
    recipe=RECIPE,
    presets={PAPER: {}, "small": SMALL},
    variants=tuple(MASK_WEIGHTS),
    paper_classes=4,
    views=views,
    heads=heads,
    divisor=divisor,
    build=WeakTissue,
    probabilities=probabilities,
    asks_for=frozenset({"tags", "masks"}),
    encoder=encoder,
    stages=stages,
    tags=tags,
)
