"""What tells whether a stage of training got better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.evaluation.presence import PresenceTally
from qpbridge.models.family import LABELS, PRESENCE, Family, Outputs, Targets


class Tally(Protocol):
    """Counts of what was right and wrong."""

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """All that there is to it."""

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """Of each class, shape (K,); NaN where undefined."""

    @property
    def mean_iou(self) -> float:
        """Over the classes there are; NaN without any."""


@dataclass(frozen=True, slots=True)
class Judge:
    """How a stage is judged.

    Parameters
    ----------
    begin : callable
        A tally for some classes, from counts where they are given.
    add : callable
        Adds the outputs and targets of a batch to a tally.
    """

    begin: Callable[[Sequence[str], npt.NDArray[np.int64] | None], Any]
    add: Callable[[Any, Family[Any], Outputs, Targets], None]


def _add_pixels(matrix: ConfusionMatrix, family: Family[Any], outputs: Outputs, targets: Targets) -> None:
    predicted = family.probabilities(outputs).argmax(dim=1)
    for labels, prediction in zip(_to_uint8(targets[LABELS]), _to_uint8(predicted), strict=True):
        matrix.add(labels, prediction)


def _add_presence(tally: PresenceTally, _family: Family[Any], outputs: Outputs, targets: Targets) -> None:
    tally.add(targets[PRESENCE].cpu().numpy(), (outputs[PRESENCE] > 0).cpu().numpy())


def _to_uint8(labels: Tensor) -> npt.NDArray[np.uint8]:
    return np.asarray(labels.cpu().numpy(), np.uint8)


JUDGES: Final[Mapping[str, Judge]] = {
    "pixels": Judge(ConfusionMatrix, _add_pixels),
    "presence": Judge(PresenceTally, _add_presence),
}
"""By ``Stage.judged_by``."""
