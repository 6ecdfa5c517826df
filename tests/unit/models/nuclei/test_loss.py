import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.models.nuclei.loss import bce_dice


def _reference(logits: npt.NDArray[np.float64], target: npt.NDArray[np.int64], dice_share: float) -> float:
    """The published formula, map by map in float64."""
    p = 1 / (1 + np.exp(-logits))
    known = target != IGNORE_INDEX
    entropy = -np.where(target == 1, np.log(p), np.log(1 - p))[known]
    dice = []
    for probability, truth, seen in zip(p.reshape(-1, 20), target.reshape(-1, 20), known.reshape(-1, 20), strict=True):
        g, q = (truth == 1)[seen], probability[seen]
        tp, fp, fn = (q * g).sum(), (q * ~g).sum(), ((1 - q) * g).sum()
        dice.append(1 - (tp + 1) / (tp + fp / 2 + fn / 2 + 1))
    return (1 - dice_share) * (entropy.mean() if entropy.size else 0.0) + dice_share * float(np.mean(dice))


@settings(deadline=None)
@given(seed=st.integers(0, 1000), dice_share=st.sampled_from([0.0, 0.5, 1.0]))
def test_the_loss_equals_an_independent_one(seed: int, dice_share: float) -> None:
    draw = np.random.default_rng(seed)
    logits, target = draw.normal(0, 3, (2, 2, 4, 5)), draw.choice([0, 1, IGNORE_INDEX], (2, 2, 4, 5))

    loss = bce_dice(torch.from_numpy(logits), torch.from_numpy(target), dice_share)

    assert loss.item() == pytest.approx(_reference(logits, target, dice_share), rel=1e-4, abs=1e-6)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)


def test_unknown_pixels_get_no_gradient_and_known_ones_do(logits: Tensor) -> None:
    target = torch.full((2, 2, 4, 4), IGNORE_INDEX)
    target[:, :, :2] = 1

    bce_dice(logits, target, 0.5).backward()

    assert logits.grad is not None
    assert (logits.grad[:, :, 2:] == 0).all()
    assert (logits.grad[:, :, :2] != 0).all()


@pytest.mark.parametrize("dice_share", [0.0, 0.5, 1.0])
def test_a_batch_of_which_nothing_is_known_costs_nothing(logits: Tensor, dice_share: float) -> None:
    loss = bce_dice(logits, torch.full((2, 2, 4, 4), IGNORE_INDEX, dtype=torch.uint8), dice_share)
    loss.backward()

    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_a_perfect_answer_costs_next_to_nothing() -> None:
    target = torch.zeros(1, 2, 8, 8)
    target[:, :, 2:5, 2:6] = 1

    assert bce_dice(40 * (target - 0.5), target, 0.5).item() < 1e-6
    assert bce_dice(-40 * (target - 0.5), target, 1.0).item() > 0.9


def test_half_precision_logits_give_a_full_precision_loss() -> None:
    assert bce_dice(torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16), torch.ones(1, 1, 2, 2), 0.5).dtype == torch.float32
