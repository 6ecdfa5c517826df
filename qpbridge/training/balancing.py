"""Class balance: additional deformed copies of patches that hold rare classes, and class weights for the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Counts: TypeAlias = npt.NDArray[np.int64]
"""Labelled pixels of each class in each patch, shape (P, K)."""


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """One training sample: a patch, and which deformed copy of it (0 is the patch itself)."""

    patch: int
    copy: int


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


def sample_counts(counts: Counts, samples: Sequence[Sample]) -> npt.NDArray[np.int64]:
    """Return the labelled pixels of each class over all samples, shape (K,); weights of the loss follow from it."""
    return np.asarray(counts[[sample.patch for sample in samples]].sum(axis=0), np.int64)
