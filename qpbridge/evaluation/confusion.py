"""The confusion matrix over labelled pixels, and the scores that follow from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.errors import InvalidValueError

Scores = npt.NDArray[np.float64]


class ConfusionMatrix:
    """Pixel counts of true against predicted class, pooled over everything added.

    Pixels without a true label do not count. A labelled pixel without a prediction counts as missed.

    Parameters
    ----------
    class_names : sequence of str
        Position in this sequence is the label.
    counts : ndarray of int64, shape (K, K + 1), optional
        Row: true class. Column: predicted class; the last one holds pixels without a prediction.

    References
    ----------
    One pooled matrix over labelled pixels: Ho et al. 2021, sec. 3; frequency-weighted IoU: Han et al. 2022.
    """

    def __init__(self, class_names: Sequence[str], counts: npt.NDArray[np.int64] | None = None) -> None:
        self.class_names = tuple(class_names)
        size = len(self.class_names)
        self.counts = np.zeros((size, size + 1), np.int64) if counts is None else counts
        if self.counts.shape != (size, size + 1):
            raise InvalidValueError(f"counts of shape {self.counts.shape} do not fit {size} classes")

    def add(self, truth: LabelMap, prediction: LabelMap) -> None:
        """Count the pixels of a label map.

        Parameters
        ----------
        truth, prediction : ndarray of uint8, shape (H, W)
            ``IGNORE_INDEX`` where there is no label, or no prediction.

        Raises
        ------
        InvalidValueError
            If the shapes differ or a label is none of the classes.
        """
        if truth.shape != prediction.shape:
            raise InvalidValueError(f"a truth of {truth.shape} px cannot score a prediction of {prediction.shape} px")
        classes, columns = self.counts.shape
        is_labelled = truth != IGNORE_INDEX
        true = truth[is_labelled].astype(np.int64)
        predicted = prediction[is_labelled].astype(np.int64)
        predicted[predicted == IGNORE_INDEX] = classes
        if (true.size and true.max() >= classes) or (predicted.size and predicted.max() > classes):
            raise InvalidValueError(
                f"a label map holds labels beyond the {classes} classes {', '.join(self.class_names)}"
            )
        self.counts += np.bincount(true * columns + predicted, minlength=self.counts.size).reshape(classes, columns)

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Return the pooled matrix of two over the same classes."""
        if self.class_names != other.class_names:
            raise InvalidValueError(f"classes {self.class_names} and {other.class_names} cannot be pooled")
        return ConfusionMatrix(self.class_names, self.counts + other.counts)

    @property
    def labelled_px(self) -> int:
        """Number of labelled pixels."""
        return int(self.counts.sum())

    @property
    def true_px(self) -> npt.NDArray[np.int64]:
        """Labelled pixels of each class, shape (K,)."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def predicted_px(self) -> npt.NDArray[np.int64]:
        """Labelled pixels predicted to be of each class, shape (K,)."""
        return np.asarray(self.counts[:, :-1].sum(axis=0))

    @property
    def iou(self) -> Scores:
        """Intersection over union of each class, shape (K,); NaN where it is neither present nor predicted."""
        return _ratio(self._hits, self.true_px + self.predicted_px - self._hits)

    @property
    def recall(self) -> Scores:
        """Share of each class's pixels that were found, shape (K,); NaN where there are none."""
        return _ratio(self._hits, self.true_px)

    @property
    def precision(self) -> Scores:
        """Share of pixels predicted to be of a class that are, shape (K,).

        Zero for a class that is present and never predicted, NaN for one that is neither.
        """
        precision = _ratio(self._hits, self.predicted_px)
        precision[self.is_present & np.isnan(precision)] = 0.0
        return precision

    @property
    def is_present(self) -> npt.NDArray[np.bool_]:
        """Which classes have labelled pixels, shape (K,); means are taken over these."""
        return self.true_px > 0

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes present; NaN without any."""
        return self._mean(self.iou)

    @property
    def mean_recall(self) -> float:
        """Mean recall over the classes present; NaN without any."""
        return self._mean(self.recall)

    @property
    def mean_precision(self) -> float:
        """Mean precision over the classes present; NaN without any."""
        return self._mean(self.precision)

    @property
    def pixel_accuracy(self) -> float:
        """Share of labelled pixels predicted right; NaN without any."""
        return float(self._hits.sum() / self.labelled_px) if self.labelled_px else float("nan")

    @property
    def frequency_weighted_iou(self) -> float:
        """Mean IoU weighted by each class's share of labelled pixels; NaN without any."""
        if not self.labelled_px:
            return float("nan")
        present = self.is_present
        return float((self.iou[present] * self.true_px[present]).sum() / self.labelled_px)

    @property
    def _hits(self) -> npt.NDArray[np.int64]:
        return np.diagonal(self.counts)

    def _mean(self, scores: Scores) -> float:
        return float(scores[self.is_present].mean()) if self.is_present.any() else float("nan")


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Scores:
    ratio = np.full(len(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
