"""Which objects were found, missed, split, merged or made up, and a picture of that."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import InstanceMap, Mask, RgbImage
from qpbridge.evaluation.instances import Overlaps, overlaps

MOST: Final = 0.5
"""More than this share of an object is most of it."""


class Verdict(enum.IntEnum):
    """What became of an object; the first that holds."""

    MERGED = 1
    SPLIT = 2
    FOUND = 3
    MISSED = 4
    MADE_UP = 5


COLORS_RGB: Final[Mapping[Verdict, tuple[int, int, int]]] = {
    Verdict.MERGED: (255, 140, 0),
    Verdict.SPLIT: (0, 110, 255),
    Verdict.FOUND: (0, 170, 60),
    Verdict.MISSED: (255, 225, 0),
    Verdict.MADE_UP: (230, 0, 40),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdicts:
    """One verdict for each number.

    Parameters
    ----------
    true : ndarray of uint8
        By number of the true object: merged, split, found or missed; 0 for numbers that do not occur.
    predicted : ndarray of uint8
        By number of the predicted object: merged, split, found or made up.
    """

    true: npt.NDArray[np.uint8]
    predicted: npt.NDArray[np.uint8]

    def count(self) -> dict[str, int]:
        """Return how many true objects were merged, split, found and missed, and how many were made up."""
        true = {one.name.lower(): int((self.true == one).sum()) for one in list(Verdict)[:-1]}
        return true | {Verdict.MADE_UP.name.lower(): int((self.predicted == Verdict.MADE_UP).sum())}


def judge(found: Overlaps) -> Verdicts:
    """Say what became of each object.

    True objects are merged where a predicted one holds most of two or more, and split where most of two or more
    predicted ones lies in them; they are found where one is the same, else missed.
    """
    true = np.where(found.true_areas > 0, Verdict.MISSED, 0).astype(np.uint8)
    predicted = np.where(found.predicted_areas > 0, Verdict.MADE_UP, 0).astype(np.uint8)
    in_predicted = found.shared > MOST * found.true_areas[found.true]
    in_true = found.shared > MOST * found.predicted_areas[found.predicted]
    holds = np.bincount(found.predicted[in_predicted], minlength=len(predicted))
    is_held_by = np.bincount(found.true[in_true], minlength=len(true))
    is_merged = in_predicted & (holds[found.predicted] > 1)
    is_split = in_true & (is_held_by[found.true] > 1)
    for verdict, pairs in ((Verdict.FOUND, found.is_match), (Verdict.SPLIT, is_split), (Verdict.MERGED, is_merged)):
        true[found.true[pairs]] = verdict
        predicted[found.predicted[pairs]] = verdict
    return Verdicts(true=true, predicted=predicted)


def picture(image: RgbImage, truth: InstanceMap, prediction: InstanceMap, verdicts: Verdicts | None = None) -> RgbImage:
    """Draw what became of each object over an image, in ``COLORS_RGB``.

    True objects are tinted by their verdict; predicted ones are outlined by theirs.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        Not changed.
    truth, prediction : ndarray of int32, shape (H, W)
        Numbers of objects; 0 for none.
    verdicts : Verdicts or None
        Of all of these numbers, where the image is a part of what was compared; by this image alone where None.
    """
    verdicts = judge(overlaps(truth, prediction)) if verdicts is None else verdicts
    colors = np.zeros((len(Verdict) + 1, 3), np.uint8)
    for verdict, color in COLORS_RGB.items():
        colors[verdict] = color
    tinted = cv2.addWeighted(image, 0.65, colors[verdicts.true[truth]], 0.35, 0)
    drawn = np.where((truth > 0)[..., None], tinted, image)
    border = _borders(prediction)
    drawn[border] = colors[verdicts.predicted[prediction[border]]]
    return np.asarray(drawn, np.uint8)


def _borders(numbers: InstanceMap) -> Mask:
    """Return the pixels of objects with one of four neighbors that belongs to something else."""
    padded = np.pad(numbers, 1)
    inner = padded[1:-1, 1:-1]
    neighbors = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.asarray((inner > 0) & np.any([inner != other for other in neighbors], axis=0))
