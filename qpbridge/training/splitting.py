"""What is held back for validation: whole slides where there are enough, otherwise patches spread over the slides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ENOUGH_SLIDES = 4
"""From this many annotated slides on, whole slides are held back."""

MOST_OF_A_CLASS = 0.5
"""No class gives more than this share of its labelled pixels away."""

MODEST_EXCESS = 1.5
"""No class gives more than this times what is asked for, unless there is no other way."""


def held_back_slides(counts: npt.NDArray[np.int64], share: float, rng: np.random.Generator) -> list[int]:
    """Choose slides for validation.

    Parameters
    ----------
    counts : ndarray of int64, shape (S, K)
        Labelled pixels of each class on each slide.
    share : float
        Share of all labelled pixels to hold back, at least.
    rng : numpy Generator
        Source of chance.

    Returns
    -------
    list of int
        Positions of slides; empty if there are too few, or if no choice leaves every class half of its pixels.
    """
    if (counts.sum(axis=1) > 0).sum() < ENOUGH_SLIDES:
        return []
    return sorted(_choose(counts, share, rng, classwise=False))


def held_back_patches(counts: npt.NDArray[np.int64], share: float, rng: np.random.Generator) -> list[int]:
    """Choose patches for validation so that every class gives about the same share.

    Parameters
    ----------
    counts : ndarray of int64, shape (P, K)
        Labelled pixels of each class in patches that do not overlap.
    share : float
        Share of each class's labelled pixels to hold back.
    rng : numpy Generator
        Source of chance.

    Returns
    -------
    list of int
        Positions of patches; a class that lies in a single patch keeps it for training.
    """
    return sorted(_choose(counts, share, rng, classwise=True))


def _choose(counts: npt.NDArray[np.int64], share: float, rng: np.random.Generator, *, classwise: bool) -> set[int]:
    totals = counts.sum(axis=0)
    held = np.zeros_like(totals)
    chosen: set[int] = set()
    order = _by_rarity(counts, rng)
    # First what takes little more than asked for: who annotated little needs it for training.
    for most in (min(MODEST_EXCESS * share, MOST_OF_A_CLASS), MOST_OF_A_CLASS):
        for index in order:
            gain = counts[index]
            lacking = held < share * totals if classwise else held.sum() < share * totals.sum()
            if index not in chosen and (lacking & (gain > 0)).any() and np.all(held + gain <= most * totals):
                chosen.add(index)
                held += gain
    return chosen


def _by_rarity(counts: npt.NDArray[np.int64], rng: np.random.Generator) -> Sequence[int]:
    # Patches of rare classes first, in random order among their like: later ones often are no longer needed.
    shuffled = rng.permutation(len(counts))
    rank = np.argsort(np.argsort(counts.sum(axis=0), kind="stable"))
    present = counts[shuffled] > 0
    rarest = np.where(present, rank, len(rank)).min(axis=1)
    return [int(i) for i in shuffled[np.argsort(rarest, kind="stable")]]
