"""Tissue from tags alone (Han et al. 2022, WSSS-Tissue): a classifier's maps teach a segmentation network.

The first stage learns which classes occur in a patch; pseudo masks are made from where it looks; from those the second
stage learns to label pixels. Both lie in one network. Shapes: B patches, K classes, T pseudo masks of a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from qpbridge.core.geometry import FieldOfView, View
from qpbridge.errors import InvalidValueError
from qpbridge.models.backbones.deeplab import DeepLab, light_trunk, resnet101_trunk
from qpbridge.models.backbones.published import Weights, resnet50_parts
from qpbridge.models.backbones.residual import light_parts
from qpbridge.models.backbones.resnet38d import resnet38d_parts
from qpbridge.models.blocks import PIXELS, initialize
from qpbridge.models.family import Outputs
from qpbridge.models.losses import weighted_cross_entropy
from qpbridge.models.recipe import Count, Positive, Share
from qpbridge.models.spec import FamilyConfig, Head
from qpbridge.models.weak.attention import Classifier, attention_threshold
from qpbridge.models.weak.presence import CLOSED_BELOW, gated, presence_loss
from qpbridge.models.weak.pseudo_masks import pseudo_masks, white_areas

LOGITS: Final = "logits"
PRESENCE: Final = "presence"

Stage: TypeAlias = Literal["classifier", "segmenter", "both"]
"""What a pass runs; "both" for prediction."""

MASK_WEIGHTS: Final[Mapping[str, tuple[float, ...]]] = {"multi_layer": (0.6, 0.2, 0.2), "single_layer": (1.0,)}
"""Weight of each pseudo mask in the second stage's loss, from the deepest part on, by variant (Han et al. 2022,
multi-layer pseudo-supervision)."""


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

    def forward(self, views: dict[str, Tensor], stage: Stage = "both", threshold: float | None = None) -> Outputs:
        """Return logits of the classes of pixels, and of their presence.

        Parameters
        ----------
        views : dict of Tensor
            ``"x1"``, shape (B, 3, H, W), in 0..1.
        stage : str
            What to run; ``"classifier"`` gives presence only, ``"segmenter"`` ungated logits only.
        threshold : float or None
            Of progressive dropout attention, as ``attention_threshold`` gives it for an epoch.

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
            outputs[PRESENCE] = self.classifier(seen, threshold)
        if stage == "both" and self.config.gate and not self.training:
            outputs[LOGITS] = gated(outputs[LOGITS], outputs[PRESENCE], self.config.gate_closed_below)
        return outputs

    def pseudo_masks(self, views: dict[str, Tensor], presence_BK: Tensor) -> Tensor:
        """Return what the second stage learns from, by the first.

        Parameters
        ----------
        views : dict of Tensor
            As for ``forward``.
        presence_BK : Tensor of int64
            1 where a class occurs, 0 where not; where it is ``IGNORE_INDEX``, the classifier decides.

        Returns
        -------
        Tensor of int64, shape (B, T, H, W)
            As many masks as the variant has weights for; ``IGNORE_INDEX`` where there is no label.
        """
        images = views["x1"]
        excluded = white_areas(images) if self.config.exclude_white else None
        masks = pseudo_masks(self.classifier, self.pixels(images), presence_BK, excluded)
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


def segmenter_loss(outputs: Outputs, masks: Tensor, class_weights: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the second stage's loss: the weighted sum of the cross-entropies to each pseudo mask.

    Parameters
    ----------
    outputs : dict of Tensor
        Of the network, ungated.
    masks : Tensor of int64, shape (B, T, H, W)
        As ``WeakTissue.pseudo_masks`` gives them; one mask has the whole weight, so that labels drawn by a person serve
        as well. Pixels of ``IGNORE_INDEX`` cost nothing.
    class_weights : Tensor of float, shape (K,)
        Weight of each class; all 1 in Han et al. 2022.
    label_smoothing : float
        Share of a label that is spread over all classes.

    References
    ----------
    Han et al. 2022, multi-layer pseudo-supervision.
    """
    weights = {len(one): one for one in MASK_WEIGHTS.values()}[masks.shape[1]]
    costs = [
        weight * weighted_cross_entropy(outputs[LOGITS], mask, class_weights, label_smoothing)
        for weight, mask in zip(weights, masks.unbind(dim=1), strict=True)
    ]
    return torch.stack(costs).sum()


def probabilities(outputs: Outputs) -> Tensor:
    """Return the softmax over the classes; those that the gate closed have next to none."""
    return outputs[LOGITS].float().softmax(dim=1)


SMALL: Final[Mapping[str, object]] = {
    # network
    "classifier": "light",
    "segmenter": "light",
    "width": 16,
    "weights": "random",
    "patch_px": 112,
    "pixels": "density",
}
"""Networks that train from scratch in minutes on two CPU cores. Departs from Han et al. 2022 in every value named."""
