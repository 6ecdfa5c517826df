"""Losses over labelled pixels. Shapes: B batch, K classes, H and W pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.errors import InvalidValueError


def class_weights(counts: Sequence[float] | Tensor) -> Tensor:
    """Return the weight of each class from its number of labelled pixels: ``1 - N_c / sum N``.

    Parameters
    ----------
    counts : sequence of float
        Labelled pixels (or area) of each class after balancing.

    Returns
    -------
    Tensor of float32, shape (K,)

    Raises
    ------
    InvalidValueError
        If a count is negative or all are zero.

    References
    ----------
    Ho et al. 2021, eq. (2).
    """
    numbers = torch.as_tensor(counts, dtype=torch.float64)
    if not (bool((numbers >= 0).all()) and float(numbers.sum()) > 0):
        raise InvalidValueError(f"class weights need counts from 0 on with one above 0, not {numbers.tolist()}")
    return (1 - numbers / numbers.sum()).float()


def weighted_cross_entropy(
    logits_BKHW: Tensor, target_BHW: Tensor, weights_K: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Return the cross-entropy over labelled pixels, divided by the sum of their weights.

    The paper divides by all pixels of a patch; by the weights, a step does not shrink where little is annotated.

    Parameters
    ----------
    logits_BKHW : Tensor of float
        Scores before the softmax.
    target_BHW : Tensor of int64
        Labels; pixels of ``IGNORE_INDEX`` cost nothing and get no gradient.
    weights_K : Tensor of float
        Weight of each class.
    label_smoothing : float
        Share of a label that is spread over all classes, each by its weight.

    Returns
    -------
    Tensor of float32, shape ()
        Zero, with zero gradient, where no pixel is labelled.

    References
    ----------
    Ho et al. 2021, eq. (1).
    """
    weights_K = weights_K.to(logits_BKHW.device, torch.float32)
    cost = functional.cross_entropy(
        logits_BKHW.float(),
        target_BHW,
        weights_K,
        ignore_index=IGNORE_INDEX,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    labelled = target_BHW != IGNORE_INDEX
    total = (weights_K[target_BHW.where(labelled, 0)] * labelled).sum()
    return cost / total.clamp(min=torch.finfo(torch.float32).tiny)


def weighted_binary_cross_entropy(
    logits_BKHW: Tensor, target_BHW: Tensor, weights_K: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Return the mean binary cross-entropy of each class against all others over labelled pixels.

    Parameters
    ----------
    logits_BKHW : Tensor of float
        Scores before the sigmoid.
    target_BHW : Tensor of int64
        Labels; pixels of ``IGNORE_INDEX`` cost nothing and get no gradient.
    weights_K : Tensor of float
        Weight of each class.
    label_smoothing : float
        Share of a label that is spread over all classes.

    Returns
    -------
    Tensor of float32, shape ()
        Zero, with zero gradient, where no pixel is labelled.
    """
    classes = logits_BKHW.shape[1]
    labelled = target_BHW != IGNORE_INDEX
    expected = functional.one_hot(target_BHW.where(labelled, 0), classes).movedim(-1, 1).float()
    expected = (1 - label_smoothing) * expected + label_smoothing / classes
    costs = functional.binary_cross_entropy_with_logits(logits_BKHW.float(), expected, reduction="none")
    weights = weights_K.to(costs.device, torch.float32)[:, None, None] * labelled[:, None]
    return (costs * weights).sum() / weights.sum().clamp(min=torch.finfo(torch.float32).tiny)
