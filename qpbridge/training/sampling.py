"""Which samples an epoch holds."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.models.recipe import Recipe
from qpbridge.training.balancing import (
    Counts,
    Sample,
    balanced_samples,
    class_shares,
    draw_patches,
    expected_counts,
    sample_counts,
)


class Sampler:
    """Chooses the samples of every epoch.

    Parameters
    ----------
    counts : ndarray of int64, shape (P, K)
        Labelled pixels of each class in each patch.
    recipe : Recipe
        ``sampling``, ``repeats_max``, ``samples_per_epoch`` and ``paste_p``.
    seed : int
        Every epoch's chance follows from it.
    """

    def __init__(self, counts: Counts, recipe: Recipe, seed: int) -> None:
        self._counts = counts
        self._recipe = recipe
        self._seed = seed
        self._equal = class_shares(counts)
        self._shares = self._equal
        self._copies = balanced_samples(counts, recipe.repeats_max)
        self.per_epoch = recipe.samples_per_epoch or len(self._copies)

    @property
    def shares(self) -> list[float]:
        """How often each class is drawn, as the errors so far have it."""
        return [float(share) for share in self._shares]

    @shares.setter
    def shares(self, shares: Sequence[float]) -> None:
        self._shares = np.array(shares, np.float64)

    @property
    def class_counts(self) -> list[float]:
        """Labelled pixels of each class over the samples, in proportion; weights of the loss follow from them."""
        if self._recipe.sampling == "errors":
            return [float(count) for count in expected_counts(self._counts, self._equal)]
        return [float(count) for count in sample_counts(self._counts, self._copies)]

    def draw(self, epoch: int, errors: npt.NDArray[np.float64] | None) -> list[Sample]:
        """Return the samples of an epoch.

        Parameters
        ----------
        epoch : int
            From 1 on.
        errors : ndarray of float64, shape (K,), or None
            Share of each class's pixels mistaken in the epoch before, where that is known.
        """
        rng = np.random.default_rng([self._seed, 0, epoch])
        drawn = self._by_errors(errors, rng) if self._recipe.sampling == "errors" else self._in_turn(rng)
        if not self._recipe.paste_p:
            return drawn
        grounds = draw_patches(self._counts, self._equal, len(drawn), rng)
        pasted = rng.random(len(drawn)) < self._recipe.paste_p
        return [
            replace(sample, ground=ground) if is_pasted else sample
            for sample, ground, is_pasted in zip(drawn, grounds, pasted, strict=True)
        ]

    def _in_turn(self, rng: np.random.Generator) -> list[Sample]:
        # None a second time before all others.
        rounds = [rng.permutation(len(self._copies)) for _ in range(math.ceil(self.per_epoch / len(self._copies)))]
        return [self._copies[i] for i in np.concatenate(rounds)[: self.per_epoch]]

    def _by_errors(self, errors: npt.NDArray[np.float64] | None, rng: np.random.Generator) -> list[Sample]:
        if errors is not None:
            # Halfway only: one epoch's errors are few.
            self._shares = (self._shares + class_shares(self._counts, errors)) / 2
        return [Sample(patch) for patch in draw_patches(self._counts, self._shares, self.per_epoch, rng)]


_STEPS: Final = 65536
"""What a probability of 1 counts as."""


class ClassErrors:
    """Measures which share of the probability of each class's pixels goes to other classes, from several threads.

    Probabilities, not the most probable class: of two classes that a network cannot tell apart yet, all pixels of one
    or the other are mistaken, and to draw now one, now the other more often would teach it nothing but that.

    Parameters
    ----------
    classes : int
        Number of classes.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._lock = threading.Lock()
        self._pixels = torch.zeros(classes, dtype=torch.int64)
        self._right = torch.zeros(classes, dtype=torch.int64)

    @torch.no_grad()
    def add(self, labels: Tensor, probabilities: Tensor) -> None:
        """Add pixels.

        Parameters
        ----------
        labels : Tensor of int64, shape (B, H, W)
            ``IGNORE_INDEX`` where unknown.
        probabilities : Tensor, shape (B, K, H, W)
            Of the classes.
        """
        known = labels != IGNORE_INDEX
        truth = labels[known]
        own = probabilities.movedim(1, -1)[known].gather(1, truth[:, None])[:, 0]
        # Whole numbers: their sums do not depend on the order in which threads and processes add.
        steps = (own.double() * _STEPS).round().long()
        pixels = torch.bincount(truth, minlength=self._classes).cpu()
        right = torch.zeros_like(self._right, device=labels.device).scatter_add_(0, truth, steps).cpu()
        with self._lock:
            self._pixels += pixels
            self._right += right

    @property
    def counts(self) -> Tensor:
        """Pixels of each class, and the sum of their probabilities of it in steps of 1/65536, int64, shape (2, K)."""
        with self._lock:
            return torch.stack([self._pixels, self._right])

    @counts.setter
    def counts(self, counts: Tensor) -> None:
        with self._lock:
            self._pixels, self._right = (row.clone() for row in counts)

    def take(self) -> npt.NDArray[np.float64]:
        """Return the share mistaken of each class, 1 for a class not seen, shape (K,), and count anew."""
        with self._lock:
            pixels, right = self._pixels.double(), self._right.double()
            self._pixels.zero_()
            self._right.zero_()
        rates = torch.where(pixels > 0, 1 - right / (_STEPS * pixels.clamp(min=1)), 1.0)
        return np.asarray(rates.numpy(), np.float64)
