"""Weights of one model as the beginning of another with other classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from qpbridge.models.registry import build
from qpbridge.models.spec import ModelClass, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Weights to begin with.

    Parameters
    ----------
    weights : dict of str to Tensor
        For every name in the new network's state.
    drawn_anew : tuple of str
        Names of those that the older model does not have in this form.
    """

    weights: dict[str, Tensor]
    drawn_anew: tuple[str, ...]


def transfer(network: nn.Module, spec: ModelSpec, weights: Mapping[str, Tensor], older: ModelSpec) -> Transfer:
    """Return weights for a network from those of an older one.

    What belongs to a class goes by its name: a class that is new keeps the network's own weights.

    Parameters
    ----------
    network : nn.Module
        The new one, with weights of its own.
    spec : ModelSpec
        Of the new one.
    weights : mapping of str to Tensor
        The older one's state.
    older : ModelSpec
        Of the older one; of the same family.
    """
    blocks = _class_blocks(spec)
    taken: dict[str, Tensor] = {}
    anew: list[str] = []
    for name, own in network.state_dict().items():
        taken[name] = own.clone()
        if not any(blocks[name]) and name in weights and weights[name].shape == own.shape:
            taken[name] = weights[name].clone()
            continue
        places = _places(own, weights.get(name), blocks[name], spec, older)
        if places is None:
            anew.append(name)
        else:
            new, old = places
            taken[name][new] = weights[name][old]
    return Transfer(weights=taken, drawn_anew=tuple(anew))


def _class_blocks(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Return, for each tensor and axis, how many blocks of one value a class lie at its end."""
    more = ModelClass(name="(one more)", color_rgb=(0, 0, 0))
    with torch.device("meta"):
        state = build(spec).state_dict()
        larger = build(replace(spec, classes=(*spec.classes, more))).state_dict()
    return {
        name: tuple(after - before for before, after in zip(value.shape, larger[name].shape, strict=True))
        for name, value in state.items()
    }


def _places(
    own: Tensor, found: Tensor | None, blocks: Sequence[int], spec: ModelSpec, older: ModelSpec
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None:
    """Return which elements of a tensor come from which of the older one, as indices; None where it does not fit."""
    if found is None or found.ndim != own.ndim:
        return None
    axes = []
    for size, older_size, count in zip(own.shape, found.shape, blocks, strict=True):
        rest = size - count * len(spec.classes)
        if rest != older_size - count * len(older.classes):
            return None
        axes.append(_along(rest, count, _names(spec), _names(older)))
    if not axes:
        return (), ()
    new, old = (torch.meshgrid(*side, indexing="ij") for side in zip(*axes, strict=True))
    return new, old


def _along(rest: int, count: int, names: Sequence[str], older: Sequence[str]) -> tuple[Tensor, Tensor]:
    shared = [name for name in names if name in older]
    sides = (
        [*range(rest), *(rest + block * len(own) + own.index(name) for block in range(count) for name in shared)]
        for own in (list(names), list(older))
    )
    new, old = (torch.tensor(side, dtype=torch.int64) for side in sides)
    return new, old


def _names(spec: ModelSpec) -> list[str]:
    return [item.name for item in spec.classes]
