"""Learning from several pseudo masks of a patch at once; B patches, K classes, T masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from qpbridge.models.losses import weighted_cross_entropy

MASK_WEIGHTS: Final[Mapping[str, tuple[float, ...]]] = {"multi_layer": (0.6, 0.2, 0.2), "single_layer": (1.0,)}
"""Weight of each pseudo mask in the second stage's loss, from the deepest part on, by variant (Han et al. 2022,
multi-layer pseudo-supervision)."""


def masks_loss(logits_BKHW: Tensor, masks: Tensor, class_weights: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the second stage's loss: the weighted sum of the cross-entropies to each pseudo mask.

    Parameters
    ----------
    logits_BKHW : Tensor
        Of pixels, ungated.
    masks : Tensor of int64, shape (B, T, H, W)
        From the deepest part of the classifier on; one mask has the whole weight, so that labels drawn by a person
        serve as well. Pixels of ``IGNORE_INDEX`` cost nothing.
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
        weight * weighted_cross_entropy(logits_BKHW, mask, class_weights, label_smoothing)
        for weight, mask in zip(weights, masks.unbind(dim=1), strict=True)
    ]
    return torch.stack(costs).sum()
