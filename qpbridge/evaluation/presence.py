"""How well the classes of patches are found, whole patches counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import IGNORE_INDEX

Scores = npt.NDArray[np.float64]


class PresenceTally:
    """Counts in how many patches each class was found, missed, or found wrongly.

    Parameters
    ----------
    class_names : sequence of str
        Position in this sequence is the class.
    counts : ndarray of int64, shape (K, 3), optional
        Patches in which a class was found, missed, found wrongly.
    """

    def __init__(self, class_names: Sequence[str], counts: npt.NDArray[np.int64] | None = None) -> None:
        self.class_names = tuple(class_names)
        self.counts = np.zeros((len(self.class_names), 3), np.int64) if counts is None else counts

    def add(self, truth: npt.NDArray[np.int64], found: npt.NDArray[np.bool_]) -> None:
        """Add patches.

        Parameters
        ----------
        truth : ndarray of int64, shape (B, K)
            1 where a class occurs, 0 where not, ``IGNORE_INDEX`` where that is unknown, which counts nowhere.
        found : ndarray of bool, shape (B, K)
            Where it seems to occur.
        """
        occurs, lacks = truth == 1, (truth != 1) & (truth != IGNORE_INDEX)
        self.counts += np.stack([(one).sum(axis=0) for one in (occurs & found, occurs & ~found, lacks & found)], axis=1)

    @property
    def iou(self) -> Scores:
        """Patches found over all in which a class occurs or was found, shape (K,); NaN where there are none."""
        whole = self.counts.sum(axis=1)
        scores = np.full(len(whole), np.nan)
        np.divide(self.counts[:, 0], whole, out=scores, where=whole > 0)
        return scores

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes that occur; NaN without any."""
        occurs = self.counts[:, :2].sum(axis=1) > 0
        return float(self.iou[occurs].mean()) if occurs.any() else float("nan")
