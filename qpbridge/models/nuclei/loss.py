"""The loss for mask and marker of nuclei. Shapes: B batch, C channels, H and W pixels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from qpbridge.core.arrays import IGNORE_INDEX

SMOOTHING = 1.0
"""Pixels added to both sides of the Dice ratio (public program of Rahmon et al. 2022)."""


def bce_dice(logits_BCHW: Tensor, target_BCHW: Tensor, dice_share: float) -> Tensor:
    """Return a weighted sum of binary cross-entropy and Dice loss over known pixels.

    Parameters
    ----------
    logits_BCHW : Tensor of float
        Scores before the sigmoid.
    target_BCHW : Tensor
        1, 0, or ``IGNORE_INDEX`` for pixels that cost nothing and get no gradient.
    dice_share : float
        Weight of the Dice loss, 0 to 1; the rest is that of the cross-entropy.

    Returns
    -------
    Tensor of float32, shape ()
        Zero, with zero gradient, where nothing is known.

    References
    ----------
    Rahmon et al. 2022, eq. (1) to (3); mean over channels, smoothing and Dice without squares: public program.
    """
    logits = logits_BCHW.float()
    known = (target_BCHW != IGNORE_INDEX).float()
    truth = (target_BCHW == 1).float()
    cost = functional.binary_cross_entropy_with_logits(logits, truth, weight=known, reduction="sum")
    entropy = cost / known.sum().clamp(min=1)
    predicted = logits.sigmoid() * known
    hits = (predicted * truth).sum(dim=(2, 3))
    # Half of what is predicted and half of what is true: hits, and half of both kinds of errors.
    all_half = (predicted.sum(dim=(2, 3)) + truth.sum(dim=(2, 3))) / 2
    dice = 1 - (hits + SMOOTHING) / (all_half + SMOOTHING)
    return (1 - dice_share) * entropy + dice_share * dice.mean()
