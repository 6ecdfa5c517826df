"""How good single objects are: AJI, Dice, panoptic quality and F1."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import InstanceMap, Mask
from qpbridge.errors import InvalidValueError

MATCH_IOU: Final = 0.5
"""Above this intersection over union two objects are the same: no other can be as good (Kirillov et al. 2019)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlaps:
    """Pairs of true and predicted objects that share pixels.

    Parameters
    ----------
    true_areas, predicted_areas : ndarray of int64
        Pixels by number from 0 on; 0 for numbers that do not occur, and at position 0.
    true, predicted : ndarray of int64, shape (P,)
        Numbers of the objects of each pair, sorted.
    shared : ndarray of int64, shape (P,)
        Pixels that a pair has in common.
    """

    true_areas: npt.NDArray[np.int64]
    predicted_areas: npt.NDArray[np.int64]
    true: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    shared: npt.NDArray[np.int64]

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """Intersection over union of each pair."""
        return np.asarray(self.shared / self.united)

    @property
    def united(self) -> npt.NDArray[np.int64]:
        """Pixels that belong to either object of each pair."""
        return np.asarray(self.true_areas[self.true] + self.predicted_areas[self.predicted] - self.shared)

    @property
    def is_match(self) -> npt.NDArray[np.bool_]:
        """Which pairs are the same object."""
        return self.iou > MATCH_IOU


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceScores:
    """Counts of one image, or of several added up, and the scores that follow from them.

    Parameters
    ----------
    true_objects, predicted_objects : int
        Number of objects.
    matched : int
        Pairs that are the same object.
    matched_iou : float
        Sum of their intersections over unions.
    joint_px, either_px : int
        Pixels of AJI's numerator and denominator.
    hit_px, true_px, predicted_px : int
        Pixels that are in an object in both, in the truth, in the prediction.
    """

    true_objects: int = 0
    predicted_objects: int = 0
    matched: int = 0
    matched_iou: float = 0.0
    joint_px: int = 0
    either_px: int = 0
    hit_px: int = 0
    true_px: int = 0
    predicted_px: int = 0

    def __add__(self, other: InstanceScores) -> InstanceScores:
        """Return the pooled counts."""
        return InstanceScores(
            **{item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)}
        )

    @property
    def aji(self) -> float:
        """Aggregated Jaccard index; NaN without any object."""
        return _ratio(self.joint_px, self.either_px)

    @property
    def dice(self) -> float:
        """Dice of all pixels of objects; NaN without any object."""
        return _ratio(2 * self.hit_px, self.true_px + self.predicted_px)

    @property
    def detection_quality(self) -> float:
        """F1 of matched objects (DQ, F1 at IoU 0.5); NaN without any object."""
        return _ratio(2 * self.matched, self.true_objects + self.predicted_objects)

    @property
    def segmentation_quality(self) -> float:
        """Mean intersection over union of matched objects (SQ); NaN without any."""
        return _ratio(self.matched_iou, self.matched)

    @property
    def panoptic_quality(self) -> float:
        """PQ: SQ times DQ; 0 where nothing matches, NaN without any object."""
        return _ratio(2 * self.matched_iou, self.true_objects + self.predicted_objects)

    @property
    def recall(self) -> float:
        """Share of true objects that were found; NaN without any."""
        return _ratio(self.matched, self.true_objects)

    @property
    def precision(self) -> float:
        """Share of predicted objects that are true; NaN without any."""
        return _ratio(self.matched, self.predicted_objects)


class OverlapTally:
    """Pairs of objects that share pixels, gathered block by block.

    Parameters
    ----------
    true_objects, predicted_objects : int
        Highest number of each.
    """

    def __init__(self, true_objects: int, predicted_objects: int) -> None:
        self._true = np.zeros(true_objects + 1, np.int64)
        self._inside = np.zeros(predicted_objects + 1, np.int64)
        self._whole = np.zeros(predicted_objects + 1, np.int64)
        self._shared: dict[int, int] = {}

    def add(self, truth: InstanceMap, prediction: InstanceMap, known: Mask | None = None) -> None:
        """Count the pixels of a block.

        Parameters
        ----------
        truth, prediction : ndarray of int32, shape (H, W)
            Numbers of objects, the same in all blocks; 0 for none.
        known : ndarray of bool, shape (H, W), or None
            Where all true objects are annotated; everywhere where None.

        Raises
        ------
        InvalidValueError
            If the shapes differ.
        """
        if truth.shape != prediction.shape:
            raise InvalidValueError(f"a truth of {truth.shape} px cannot score a prediction of {prediction.shape} px")
        self._whole += np.bincount(prediction.ravel(), minlength=len(self._whole))
        counted = np.s_[:] if known is None else known
        true, predicted = truth[counted].ravel(), prediction[counted].ravel()
        self._true += np.bincount(true, minlength=len(self._true))
        self._inside += np.bincount(predicted, minlength=len(self._inside))
        both = (true > 0) & (predicted > 0)
        keys, counts = np.unique(true[both].astype(np.int64) * len(self._whole) + predicted[both], return_counts=True)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            self._shared[key] = self._shared.get(key, 0) + count

    def overlaps(self) -> Overlaps:
        """Return the pairs, without predicted objects that lie by more than half where nothing is known."""
        is_counted = (2 * self._inside >= self._whole) & (self._inside > 0)
        is_counted[0] = False
        keys = np.array(sorted(self._shared), np.int64)
        shared = np.array([self._shared[key] for key in keys.tolist()], np.int64)
        true, predicted = np.divmod(keys, len(self._whole))
        kept = is_counted[predicted]
        return Overlaps(
            true_areas=np.where(np.arange(len(self._true)) > 0, self._true, 0),
            predicted_areas=np.where(is_counted, self._inside, 0),
            true=true[kept],
            predicted=predicted[kept],
            shared=shared[kept],
        )


def overlaps(truth: InstanceMap, prediction: InstanceMap, known: Mask | None = None) -> Overlaps:
    """Find all pairs of objects of an image that share pixels; parameters as for ``score_instances``.

    Raises
    ------
    InvalidValueError
        If the shapes differ.
    """
    tally = OverlapTally(int(truth.max(initial=0)), int(prediction.max(initial=0)))
    tally.add(truth, prediction, known)
    return tally.overlaps()


def score_instances(truth: InstanceMap, prediction: InstanceMap, known: Mask | None = None) -> InstanceScores:
    """Compare the objects of an image.

    Parameters
    ----------
    truth, prediction : ndarray of int32, shape (H, W)
        Numbers of objects; 0 for none.
    known : ndarray of bool, shape (H, W), or None
        Where all true objects are annotated. Predicted ones that lie outside by more than half do not count, and of
        the others, as of true ones, only what lies inside.
    """
    return score(overlaps(truth, prediction, known))


def score(found: Overlaps) -> InstanceScores:
    """Return what the overlaps of true and predicted objects are worth.

    References
    ----------
    AJI: Kumar et al. 2017, by the rule of Rahmon et al. 2022, eq. (4): a prediction may serve several true objects.
    PQ: Kirillov et al. 2019, eq. (1).
    """
    joint_px, either_px = _aggregated(found)
    is_match = found.is_match
    return InstanceScores(
        true_objects=int((found.true_areas > 0).sum()),
        predicted_objects=int((found.predicted_areas > 0).sum()),
        matched=int(is_match.sum()),
        matched_iou=float(found.iou[is_match].sum()),
        joint_px=joint_px,
        either_px=either_px,
        hit_px=int(found.shared.sum()),
        true_px=int(found.true_areas.sum()),
        predicted_px=int(found.predicted_areas.sum()),
    )


def mean_scores(images: Iterable[InstanceScores]) -> dict[str, float]:
    """Return each score's mean over the images where it is defined, as the paper reports AJI; NaN without any."""
    rows = [to_dict(image) for image in images]
    names = rows[0] if rows else to_dict(InstanceScores())
    return {name: _mean([row[name] for row in rows]) for name in names}


def to_dict(scores: InstanceScores) -> dict[str, float]:
    """Return all scores by name; NaN where one is not defined."""
    return {
        "aji": scores.aji,
        "dice": scores.dice,
        "pq": scores.panoptic_quality,
        "sq": scores.segmentation_quality,
        "dq": scores.detection_quality,
        "f1": scores.detection_quality,
        "recall": scores.recall,
        "precision": scores.precision,
    }


def _aggregated(found: Overlaps) -> tuple[int, int]:
    """Return numerator and denominator of AJI."""
    # Best partner first; of equally good ones that of the lower number.
    order = np.lexsort((found.predicted, -found.iou, found.true))
    best = order[np.diff(found.true[order], prepend=0) > 0]
    is_lonely, is_unused = found.true_areas > 0, found.predicted_areas > 0
    is_lonely[found.true] = False
    is_unused[found.predicted[best]] = False
    rest = found.true_areas[is_lonely].sum() + found.predicted_areas[is_unused].sum()
    return int(found.shared[best].sum()), int(found.united[best].sum() + rest)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else float("nan")
