from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.evaluation.presence import PresenceTally
from qpbridge.models.family import LABELS, PRESENCE
from qpbridge.training.fitting.judging import JUDGES


class Family:
    """Its outputs are probabilities already."""

    @staticmethod
    def probabilities(outputs: dict[str, Tensor]) -> Tensor:
        return outputs["shares"]


FAMILY = cast(Any, Family())


def test_pixels_are_judged_by_their_most_probable_class() -> None:
    judge = JUDGES["pixels"]
    matrix: ConfusionMatrix = judge.begin(["a", "b"], None)
    shares = torch.tensor([[[[0.9, 0.2, 0.4]], [[0.1, 0.8, 0.6]]]])

    judge.add(matrix, FAMILY, {"shares": shares}, {LABELS: torch.tensor([[[0, 0, IGNORE_INDEX]]])})

    assert matrix.counts.tolist() == [[1, 1, 0], [0, 0, 0]]


def test_classes_of_patches_are_judged_by_logits_above_zero() -> None:
    judge = JUDGES["presence"]
    tally: PresenceTally = judge.begin(["a", "b"], np.array([[5, 0, 0], [0, 0, 0]]))

    judge.add(tally, FAMILY, {PRESENCE: torch.tensor([[2.0, -1.0]])}, {PRESENCE: torch.tensor([[1, 1]])})

    assert tally.counts.tolist() == [[6, 0, 0], [0, 1, 0]]
