import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.errors import InvalidValueError
from qpbridge.models.losses import class_weights, weighted_binary_cross_entropy, weighted_cross_entropy

Floats = npt.NDArray[np.float64]


def _reference(logits: Floats, target: npt.NDArray[np.int64], weights: Floats, smoothing: float) -> float:
    """Cross-entropy pixel by pixel, in float64."""
    cost = total = 0.0
    classes = logits.shape[1]
    for b, y, x in np.argwhere(target != IGNORE_INDEX):
        scores = logits[b, :, y, x]
        log_p = scores - np.log(np.exp(scores - scores.max()).sum()) - scores.max()
        label = target[b, y, x]
        cost -= (1 - smoothing) * weights[label] * log_p[label] + smoothing / classes * (weights * log_p).sum()
        total += weights[label]
    return cost / total if total else 0.0


@given(seed=st.integers(0, 1000), classes=st.integers(2, 5), smoothing=st.sampled_from([0.0, 0.1, 0.5]))
def test_the_loss_equals_an_independent_one(seed: int, classes: int, smoothing: float) -> None:
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 3, (2, classes, 4, 5))
    target = draw.choice([*range(classes), IGNORE_INDEX], (2, 4, 5))
    weights = draw.uniform(0, 1, classes)

    loss = weighted_cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(target), torch.from_numpy(weights), smoothing
    )

    assert loss.item() == pytest.approx(_reference(logits, target, weights, smoothing), rel=1e-4, abs=1e-6)


def test_unlabelled_pixels_get_no_gradient_and_labelled_ones_do() -> None:
    logits = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.full((1, 4, 4), IGNORE_INDEX)
    target[0, :2] = 1

    weighted_cross_entropy(logits, target, torch.ones(3)).backward()

    assert logits.grad is not None
    assert (logits.grad[0, :, 2:] == 0).all()
    assert (logits.grad[0, :, :2] != 0).all()


@pytest.mark.parametrize("label", [IGNORE_INDEX, 0], ids=["unlabelled", "of weight zero"])
def test_a_batch_without_any_pixel_that_counts_costs_nothing(label: int) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)

    loss = weighted_cross_entropy(logits, torch.full((2, 4, 4), label), torch.tensor([0.0, 1.0, 1.0]))
    loss.backward()

    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_half_precision_logits_give_a_full_precision_loss() -> None:
    logits = torch.randn(1, 2, 4, 4, dtype=torch.bfloat16)

    assert weighted_cross_entropy(logits, torch.zeros(1, 4, 4, dtype=torch.int64), torch.ones(2)).dtype == torch.float32


def test_the_weight_of_a_class_is_one_minus_its_share() -> None:
    assert class_weights([50, 30, 20, 0]).tolist() == pytest.approx([0.5, 0.7, 0.8, 1.0])


@pytest.mark.parametrize("counts", [[0, 0], [-1, 3], []])
def test_weights_need_counts(counts: list[int]) -> None:
    with pytest.raises(InvalidValueError, match="class weights"):
        class_weights(counts)


@given(seed=st.integers(0, 1000), smoothing=st.sampled_from([0.0, 0.1]))
def test_the_binary_cross_entropy_is_the_mean_of_each_class_against_all_others(seed: int, smoothing: float) -> None:
    rng = np.random.default_rng(seed)
    logits, weights = rng.normal(size=(2, 3, 4, 5)), rng.uniform(0.1, 1, 3)
    target = rng.choice([0, 1, 2, IGNORE_INDEX], (2, 4, 5))
    cost = total = 0.0
    for b, y, x in np.argwhere(target != IGNORE_INDEX):
        for k in range(3):
            chance, expected = 1 / (1 + np.exp(-logits[b, k, y, x])), float(target[b, y, x] == k)
            expected = (1 - smoothing) * expected + smoothing / 3
            cost -= weights[k] * (expected * np.log(chance) + (1 - expected) * np.log(1 - chance))
            total += weights[k]

    found = weighted_binary_cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(target), torch.from_numpy(weights), smoothing
    )

    assert found.item() == pytest.approx(cost / total, rel=1e-5)


def test_the_binary_cross_entropy_of_nothing_is_zero() -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)

    loss = weighted_binary_cross_entropy(logits, torch.full((1, 3, 3), IGNORE_INDEX), torch.ones(2))
    loss.backward()

    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()
