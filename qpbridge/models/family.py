"""A family of networks as one record; training, prediction and export never ask which one it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from qpbridge.core.arrays import LabelMap
from qpbridge.core.geometry import View
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import FamilyConfig, Head, ModelClass, ModelSpec
from qpbridge.vector.labels import Subject

Views: TypeAlias = dict[str, Tensor]
"""What a network sees, float, shape (B, 3, H, W), in 0..1, by the name of the view."""

Outputs: TypeAlias = dict[str, Tensor]
"""What a network returns, by the name of the head."""

Targets: TypeAlias = dict[str, Tensor]
"""What the outputs of a batch should be, by name; ``LABELS`` is always among them."""

LABELS: Final = "labels"
"""Labels of pixels, int64, shape (B, H, W), in the frame of the finest view; ``IGNORE_INDEX`` where unknown."""

PRESENCE: Final = "presence"
"""Which classes occur, shape (B, K): logits among the outputs, 1, 0 or ``IGNORE_INDEX`` among the targets."""

MASKS: Final = "masks"
"""Labels of pixels that a network made of its own, as ``LABELS``, but several of each sample, shape (B, T, H, W)."""

PAPER = "paper"
"""Preset that every family has: the network exactly as published, with the published number of parameters."""

ConfigT = TypeVar("ConfigT", bound=FamilyConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is known about one sample, after augmentation.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        Class of each pixel of the finest view; ``IGNORE_INDEX`` where unknown.
    surroundings : ndarray of uint8, shape (h, w), or None
        The same for the coarsest view, where the family asks for it.
    instances : ndarray of int32, shape (H, W), or None
        Which nucleus each pixel of the finest view belongs to; 0 for none. Where the family asks for it.
    presence : ndarray of int64, shape (K,), or None
        What tags say about the classes: 1, 0, or ``IGNORE_INDEX`` where unknown. None where there are no tags.
    tagged : ndarray of bool, shape (H, W), or None
        Which pixels of the finest view the tags are about.
    masks : ndarray of uint8, shape (T, H, W), or None
        Labels that an earlier stage of training made. Where the family asks for them.
    mpp : float
        Pixel size of the finest view, µm/px.
    classes : int
        Number of classes.
    """

    labels: LabelMap
    surroundings: LabelMap | None = None
    instances: npt.NDArray[np.int32] | None = None
    presence: npt.NDArray[np.int64] | None = None
    tagged: npt.NDArray[np.bool_] | None = None
    masks: npt.NDArray[np.uint8] | None = None
    mpp: float
    classes: int


TruthPart: TypeAlias = Literal["surroundings", "instances", "tags", "masks"]
"""What a family may ask for beyond the labels."""


Encode: TypeAlias = Callable[[Truth], dict[str, npt.NDArray[Any]]]
"""Makes further targets of one sample, by name, from what is known about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """What a model needs to know about a sample, and what it makes of that.

    Parameters
    ----------
    classes : int
        Number of classes.
    asks_for : frozenset of str
        Parts of ``Truth`` beyond the labels.
    encode : callable or None
        Further targets; None where the labels are all.
    """

    classes: int
    asks_for: frozenset[TruthPart] = frozenset()
    encode: Encode | None = None


class Loss(Protocol):
    """How a family learns."""

    def __call__(
        self, outputs: Outputs, targets: Targets, class_weights: Tensor, label_smoothing: float = 0.0
    ) -> Tensor:
        """Return the loss of a batch, a scalar.

        Parameters
        ----------
        outputs : dict of Tensor
            What the network returned.
        targets : dict of Tensor
            The labels, and what the family's ``encoder`` made, each with a first axis B.
        class_weights : Tensor of float, shape (K,)
            Weight of each class.
        label_smoothing : float
            Share of a label that is spread over all classes.
        """


def run_plainly(network: nn.Module, views: Views, targets: Targets, epoch: int) -> Outputs:
    """Run a network as prediction does."""
    del targets, epoch
    outputs: Outputs = network(views)
    return outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of training; most families have one.

    Parameters
    ----------
    name : str
        For reports.
    loss : Loss
        Of a batch.
    epochs : int or None
        How long it lasts; what the recipe says where None.
    learns : callable
        The part of the network whose weights change.
    run : callable
        Outputs of the network for the views and targets of a batch in an epoch of the stage, counted from 0; in
        training mode, or in evaluation mode to be judged.
    label : callable or None
        Makes labels of pixels that the stage learns from, int64, shape (B, T, H, W): by the network as the stages
        before left it, from views and targets. None where it learns from what is annotated.
    judged_by : str
        ``"pixels"``: IoU of labelled pixels. ``"presence"``: IoU of patches in which a class occurs and those in which
        it is found; ``PRESENCE`` is then an output and a target.
    is_weighted : bool
        Whether rare classes count more in the loss.
    """

    name: str
    loss: Loss
    epochs: int | None = None
    learns: Callable[[nn.Module], nn.Module] = lambda network: network
    run: Callable[[nn.Module, Views, Targets, int], Outputs] = run_plainly
    label: Callable[[nn.Module, Views, Targets], Tensor] | None = None
    judged_by: Literal["pixels", "presence"] = "pixels"
    is_weighted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TagReading:
    """How tags of areas are taken.

    Parameters
    ----------
    is_absence_asserted : bool
        Whether a class that they do not name is absent; otherwise nothing is known of it.
    """

    is_absence_asserted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a network says of a place as a whole.

    Parameters
    ----------
    network : nn.Module
        Takes a dict of the views and returns a dict with a Tensor (B, M) of measurements, M values a place.
    views : tuple of View
        What it needs to see.
    head : str
        Name of the measurements in what it returns.
    names : tuple of str
        Of the M measurements, with their units, as QuPath is to show them.
    """

    network: nn.Module
    views: tuple[View, ...]
    head: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(Generic[ConfigT]):
    """A family of networks.

    Parameters
    ----------
    name : str
        In requests and specs.
    title : str
        Citation.
    config_type : type
        Its configuration; the defaults are the paper's values.
    recipe : Recipe
        The paper's training.
    presets : mapping of str to mapping
        Named overrides of fields of configuration and recipe; ``PAPER`` is one of them.
    variants : tuple of str
        Architectures, values of ``config.variant``.
    paper_classes : int
        Number of classes in the paper.
    views : callable
        Inputs of a configuration, the finest first.
    heads : callable
        Outputs for a configuration and a number of classes.
    divisor : callable
        What the edges of a configuration's inputs, in px, must be a multiple of.
    build : callable
        A new network for a configuration and a number of classes, its weights drawn from torch's generator.
        ``forward`` takes a dict of one float tensor (B, 3, H, W) in 0..1 for each view and returns ``Outputs``.
    loss : callable or None
        For a configuration, the ``Loss`` of a batch; None where ``stages`` have losses of their own.
    probabilities : callable
        Outputs to class probabilities, Tensor (B, K, H, W) that sums to 1 over the classes.
    subject : Subject
        What it learns and finds: tissue or nuclei.
    maps : callable or None
        Outputs to all that single nuclei are decoded from, Tensor (B, C, H, W) of values from 0 to 1: mask, marker
        where there is one, and the classes where they are learned. None for tissue.
    asks_for : frozenset of str
        Parts of ``Truth`` that ``encoder`` needs.
    encoder : callable or None
        For a configuration, what makes further targets of a sample; None where the labels are all.
    turns : callable or None
        For a configuration, the turns of each tile that a prediction is the mean over where nobody says: "none",
        "flips" or "d4". None where that is "none" for all.
    decoding : callable or None
        For a configuration, how single nuclei are decoded: "within_mask" or "published". None for tissue.
    survey : callable or None
        For a network and its configuration, its ``Survey``, or None where that variant has none.
    stages : callable or None
        For a configuration, the parts of training in their order, the last one judged by pixels; None for a single one.
    tags : callable
        For a configuration, how it takes tags of areas; None for one that learns from labelled pixels.
    """

    name: str
    title: str
    config_type: type[ConfigT]
    recipe: Recipe
    presets: Mapping[str, Mapping[str, object]]
    variants: tuple[str, ...]
    paper_classes: int
    views: Callable[[ConfigT], tuple[View, ...]]
    heads: Callable[[ConfigT, int], tuple[Head, ...]]
    divisor: Callable[[ConfigT], int]
    build: Callable[[ConfigT, int], nn.Module]
    probabilities: Callable[[Outputs], Tensor]
    loss: Callable[[ConfigT], Loss] | None = None
    subject: Subject = Subject.TISSUE
    maps: Callable[[Outputs], Tensor] | None = None
    asks_for: frozenset[TruthPart] = frozenset()
    encoder: Callable[[ConfigT], Encode] | None = None
    turns: Callable[[ConfigT], str] | None = None
    decoding: Callable[[ConfigT], str] | None = None
    survey: Callable[[nn.Module, ConfigT], Survey | None] | None = None
    stages: Callable[[ConfigT], tuple[Stage, ...]] | None = None
    tags: Callable[[ConfigT], TagReading | None] = lambda _config: None

    def __post_init__(self) -> None:
        assert (self.loss is None) is (self.stages is not None)

    def course(self, config: ConfigT) -> tuple[Stage, ...]:
        """Return the parts of a configuration's training in their order."""
        if self.stages is not None:
            return self.stages(config)
        assert self.loss is not None
        return (Stage(name="train", loss=self.loss(config)),)

    def spec(self, config: ConfigT, classes: Sequence[ModelClass]) -> ModelSpec:
        """Return the spec of a configuration for some classes."""
        return ModelSpec(
            family=self.name,
            variant=config.variant,
            config=config,
            classes=tuple(classes),
            views=self.views(config),
            heads=self.heads(config, len(classes)),
        )

    def encoding(self, spec: ModelSpec) -> Encoding:
        """Return what a model of this family needs to know about samples."""
        encode = None if self.encoder is None else self.encoder(spec.config)  # type: ignore[arg-type]
        return Encoding(classes=len(spec.classes), asks_for=self.asks_for, encode=encode)
