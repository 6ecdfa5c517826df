"""A family of networks as one record; training, prediction and export never ask which one it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from torch import Tensor, nn

from qpbridge.core.geometry import View
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import FamilyConfig, Head, ModelClass, ModelSpec

Outputs: TypeAlias = dict[str, Tensor]
"""What a network returns, by the name of the head."""

PAPER = "paper"
"""Preset that every family has: the network exactly as published, with the published number of parameters."""

ConfigT = TypeVar("ConfigT", bound=FamilyConfig)


class Loss(Protocol):
    """How a family learns."""

    def __call__(self, outputs: Outputs, target: Tensor, class_weights: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the loss of a batch, a scalar.

        Parameters
        ----------
        outputs : dict of Tensor
            What the network returned.
        target : Tensor of int64, shape (B, H, W)
            Labels in the frame of the finest view; ``IGNORE_INDEX`` where nothing is known.
        class_weights : Tensor of float, shape (K,)
            Weight of each class.
        label_smoothing : float
            Share of a label that is spread over all classes.
        """


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
    loss : Loss
        Of a batch.
    probabilities : callable
        Outputs to class probabilities, Tensor (B, K, H, W) that sums to 1 over the classes.
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
    loss: Loss
    probabilities: Callable[[Outputs], Tensor]

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
