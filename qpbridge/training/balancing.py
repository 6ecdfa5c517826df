"""Class balance: additional deformed copies of patches that hold rare classes, and class weights for the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Counts: TypeAlias = npt.NDArray[np.int64]
"""Labelled pixels of each class in each patch, shape (P, K)."""


LEAST_SHARE = 0.1
"""Part of the samples that goes to all classes alike, however easy they are."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample: a patch, which deformed copy of it (0 is the patch itself), and what it is pasted on."""

    patch: int
    copy: int = 0
    ground: int | None = None


def patch_classes(counts: Counts) -> npt.NDArray[np.int64]:
    """Give each patch one class: the rarest that it holds.

    Parameters
    ----------
    counts : ndarray of int64, shape (P, K)
        Labelled pixels of each class in each patch; every patch holds some.

    Returns
    -------
    ndarray of int64, shape (P,)
        Class of each patch.

    References
    ----------
    Ho et al. 2021, sec. 2.4, order the classes by hand; their order runs from rare to frequent.
    """
    rarity = np.argsort(counts.sum(axis=0), kind="stable")
    present = counts[:, rarity] > 0
    return np.asarray(rarity[present.argmax(axis=1)], np.int64)


def copies_of_classes(counts: Counts, most: int) -> npt.NDArray[np.int64]:
    """Return how many deformed copies patches of each class get, so that labelled pixels even out.

    Parameters
    ----------
    counts : ndarray of int64, shape (P, K)
        Labelled pixels of each class in each patch.
    most : int
        Largest number of copies (Ho et al. 2021, sec. 2.4: 10, for benign epithelium).

    Returns
    -------
    ndarray of int64, shape (K,)
        ``round(N_max / N_c) - 1`` within 0 and ``most``, N_c the labelled pixels of patches of class c.
    """
    classes = patch_classes(counts)
    labelled = np.bincount(classes, weights=counts.sum(axis=1), minlength=counts.shape[1])
    ratios = np.divide(labelled.max(), labelled, out=np.ones_like(labelled), where=labelled > 0)
    copies: npt.NDArray[np.int64] = np.clip(np.rint(ratios) - 1, 0, most).astype(np.int64)
    return copies


def balanced_samples(counts: Counts, most: int) -> list[Sample]:
    """Return every patch once, and copies of patches that hold rare classes."""
    copies = copies_of_classes(counts, most)[patch_classes(counts)]
    return [Sample(patch, copy) for patch, extra in enumerate(copies) for copy in range(int(extra) + 1)]


def draw_patches(counts: Counts, shares: npt.NDArray[np.float64], count: int, rng: np.random.Generator) -> list[int]:
    """Draw patches: a class by its share, then a patch by its part of the class's labelled pixels.

    Parameters
    ----------
    counts : ndarray of int64, shape (P, K)
        Labelled pixels of each class in each patch.
    shares : ndarray of float64, shape (K,)
        Probability of each class; 0 for a class without pixels.
    count : int
        How many to draw, with replacement.
    rng : numpy Generator
        Source of chance.
    """
    classes = rng.choice(len(shares), size=count, p=shares)
    ends = np.cumsum(counts, axis=0)
    places = (rng.random(count) * ends[-1, classes]).astype(np.int64)
    return [int(np.searchsorted(ends[:, c], place, side="right")) for c, place in zip(classes, places, strict=True)]


def class_shares(counts: Counts, errors: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.float64]:
    """Return how often each class is drawn.

    Parameters
    ----------
    counts : ndarray of int64, shape (P, K)
        Labelled pixels of each class in each patch.
    errors : ndarray of float64, shape (K,), or None
        Share of each class's pixels that is still mistaken; where None, all classes count alike.

    Returns
    -------
    ndarray of float64, shape (K,)
        In proportion to the errors, but no class below ``LEAST_SHARE`` of an equal share; 0 for a class without pixels.
    """
    present = counts.sum(axis=0) > 0
    wanted = np.where(present, 1.0 if errors is None else np.maximum(errors, 1e-6), 0.0)
    equal = present / present.sum()
    return np.asarray(LEAST_SHARE * equal + (1 - LEAST_SHARE) * wanted / wanted.sum(), np.float64)


def expected_counts(counts: Counts, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the labelled pixels of each class that a patch drawn by ``draw_patches`` holds in the mean, shape (K,)."""
    totals = counts.sum(axis=0)
    chances = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0) @ shares
    return np.asarray(chances @ counts, np.float64)


def sample_counts(counts: Counts, samples: Sequence[Sample]) -> npt.NDArray[np.int64]:
    """Return the labelled pixels of each class over all samples, shape (K,); weights of the loss follow from it."""
    return np.asarray(counts[[sample.patch for sample in samples]].sum(axis=0), np.int64)
