"""Which classes occur in a field: taken from labels, learned, and used to close classes.

Presence is 1, 0, or ``IGNORE_INDEX`` where it is not known; shapes: B fields, K classes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap

CLOSED_BELOW: Final = 0.1
"""Probability of a class up to which the gate closes it (Han et al. 2022, public program)."""

_CLOSED_GAP: Final = 20.0
"""How far below all others the logit of a closed class lies: a probability of 2e-9, and a loss that stays finite."""


def presence_of(labels: LabelMap, classes: int, min_share: float, absence_share: float) -> npt.NDArray[np.int64]:
    """Return which classes occur in a field, as far as its labels tell.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        ``IGNORE_INDEX`` where nothing is known.
    classes : int
        Number of classes.
    min_share : float
        Share of the labelled pixels from which on a class occurs; where it has fewer, but some, that is left open.
    absence_share : float
        Share of the field that must be labelled for a class without a label to be absent; below it, this is not known.

    Returns
    -------
    ndarray of int64, shape (K,)
        1, 0, or ``IGNORE_INDEX``.
    """
    counts = np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)[:classes]
    labelled = int(counts.sum())
    is_absence_known = labelled > 0 and labelled >= absence_share * labels.size
    presence = np.where(counts > 0, IGNORE_INDEX, 0 if is_absence_known else IGNORE_INDEX)
    return np.where((counts > 0) & (counts >= min_share * labelled), 1, presence).astype(np.int64)


def presence_loss(logits_BK: Tensor, presence_BK: Tensor) -> Tensor:
    """Return the mean binary cross-entropy over what is known.

    Where all is known, this is the multi-label soft margin loss.

    Parameters
    ----------
    logits_BK : Tensor of float
        Before the sigmoid.
    presence_BK : Tensor of int64
        What is not known costs nothing and gets no gradient.

    Returns
    -------
    Tensor of float32, shape ()
        Zero, with zero gradient, where nothing is known.
    """
    known = presence_BK != IGNORE_INDEX
    expected = (presence_BK == 1).float()
    costs = functional.binary_cross_entropy_with_logits(logits_BK.float(), expected, reduction="none")
    return (costs * known).sum() / known.sum().clamp(min=1)


def gated(logits_BKHW: Tensor, presence_logits_BK: Tensor, closed_below: float = CLOSED_BELOW) -> Tensor:
    """Return logits in which classes that do not seem to occur are closed: they win nowhere.

    The program of Han et al. 2022 multiplies such logits by zero, which lets them win over negative ones. Where all
    classes would be closed, the most probable one stays open.

    Parameters
    ----------
    logits_BKHW : Tensor of float
        Of pixels, before the softmax.
    presence_logits_BK : Tensor of float
        Of the field, before the sigmoid.
    closed_below : float
        Classes of this probability or less are closed.
    """
    chances = presence_logits_BK.sigmoid()
    is_open = (chances > closed_below) | (chances == chances.amax(dim=1, keepdim=True))
    floor = logits_BKHW.amin(dim=1, keepdim=True) - _CLOSED_GAP
    return torch.where(is_open[:, :, None, None], logits_BKHW, floor)
