from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.models.recipe import Recipe
from qpbridge.training.balancing import Sample, balanced_samples
from qpbridge.training.sampling import ClassErrors, Sampler

COUNTS = np.array([[900, 0, 0], [600, 0, 0], [0, 200, 0], [0, 0, 400]])
"""Two patches of the first class, one each of the others."""

CLASS_OF = np.array([0, 0, 1, 2])
COPIES = Recipe(repeats_max=2)
ERRORS = Recipe(sampling="errors", samples_per_epoch=6000)


def shares(samples: Sequence[Sample]) -> list[float]:
    classes = CLASS_OF[[sample.patch for sample in samples]]
    return [float(share) for share in np.bincount(classes, minlength=3) / len(samples)]


def test_in_turn_every_copy_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    sampler = Sampler(COUNTS, COPIES, seed=0)

    epochs = [sampler.draw(epoch, None) for epoch in (1, 2, 3, 4)]

    expected = balanced_samples(COUNTS, 2)
    assert any(sample.copy for sample in expected)
    assert sampler.per_epoch == len(expected)
    for samples in epochs:
        assert len(samples) == len(expected)
        assert set(samples) == set(expected)
    assert len({tuple(samples) for samples in epochs}) > 1


@given(size=st.integers(1, 40), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_none_comes_a_second_time_before_all_others(size: int, seed: int) -> None:
    sampler = Sampler(COUNTS, replace(COPIES, samples_per_epoch=size), seed)
    all_samples = balanced_samples(COUNTS, 2)

    drawn = sampler.draw(1, None)

    assert len(drawn) == sampler.per_epoch == size
    for start in range(0, size, len(all_samples)):
        in_one_round = drawn[start : start + len(all_samples)]
        assert len(set(in_one_round)) == len(in_one_round)


def test_in_turn_errors_make_no_difference() -> None:
    draws = [Sampler(COUNTS, COPIES, 0).draw(2, errors) for errors in (None, np.array([0.0, 1.0, 0.0]))]

    assert draws[0] == draws[1]


@pytest.mark.parametrize("recipe", [replace(COPIES, paste_p=0.5), replace(ERRORS, paste_p=0.5, samples_per_epoch=20)])
def test_the_seed_and_the_epoch_say_what_is_drawn(recipe: Recipe) -> None:
    first, again, other = ([Sampler(COUNTS, recipe, seed).draw(epoch, None) for epoch in (1, 2)] for seed in (3, 3, 4))

    assert first == again
    assert first[0] != first[1]
    assert first != other


def test_classes_not_yet_judged_come_equally_often() -> None:
    sampler = Sampler(COUNTS, ERRORS, seed=0)

    drawn = sampler.draw(1, None)

    assert len(drawn) == sampler.per_epoch == 6000
    assert shares(drawn) == pytest.approx([1 / 3] * 3, abs=0.03)
    assert all(sample.copy == 0 for sample in drawn)
    of_first = [sample.patch for sample in drawn if sample.patch < 2]
    assert np.mean(np.array(of_first) == 0) == pytest.approx(900 / 1500, abs=0.05)


def test_classes_that_are_mistaken_come_more_often_the_longer_they_are() -> None:
    sampler = Sampler(COUNTS, ERRORS, seed=0)
    errors = np.array([0.1, 0.3, 0.0])

    epochs = [shares(sampler.draw(1, None))] + [shares(sampler.draw(epoch, errors)) for epoch in range(2, 9)]

    # A tenth goes to all alike, the rest by the errors; each epoch goes half the way there.
    wanted = 0.1 / 3 + 0.9 * np.array([0.25, 0.75, 0.0])
    for epoch, drawn in enumerate(epochs):
        assert drawn == pytest.approx(wanted + (1 / 3 - wanted) / 2**epoch, abs=0.03)


def test_what_becomes_easy_comes_less_often_again() -> None:
    sampler = Sampler(COUNTS, ERRORS, seed=0)

    hard = shares(sampler.draw(2, np.array([0.0, 1.0, 0.0])))
    easy = shares(sampler.draw(3, np.array([1.0, 0.0, 1.0])))

    assert hard[1] > 0.6
    assert easy[1] < 0.4


def test_weights_of_the_loss_count_what_the_samples_hold() -> None:
    mixed = np.array([[300, 100, 0], [0, 100, 0], [0, 0, 50]])

    in_turn, by_errors = (Sampler(mixed, recipe, 0).class_counts for recipe in (replace(COPIES, repeats_max=0), ERRORS))

    assert in_turn == [300, 200, 50]
    # Class 0 lies in the first patch, half of class 1, too.
    assert by_errors == pytest.approx([300 * (1 / 3 + 1 / 6), 100 * 2 / 3, 50 / 3])
    assert all(isinstance(count, float) for count in in_turn + by_errors)


def test_errors_leave_the_weights_of_the_loss_alone() -> None:
    sampler = Sampler(COUNTS, ERRORS, seed=0)
    before = sampler.class_counts

    sampler.draw(2, np.array([0.0, 1.0, 0.0]))

    assert sampler.class_counts == before


@pytest.mark.parametrize("recipe", [replace(COPIES, samples_per_epoch=6000), ERRORS])
@pytest.mark.parametrize("paste_p", [0.0, 0.3, 1.0])
def test_samples_are_pasted_as_often_as_asked_for_on_ground_of_any_class(recipe: Recipe, paste_p: float) -> None:
    plain = Sampler(COUNTS, recipe, seed=0).draw(1, None)

    drawn = Sampler(COUNTS, replace(recipe, paste_p=paste_p), seed=0).draw(1, None)

    pasted = [sample for sample in drawn if sample.ground is not None]
    assert len(pasted) / len(drawn) == pytest.approx(paste_p, abs=0.03 * (0 < paste_p < 1))
    assert [replace(sample, ground=None) for sample in drawn] == plain
    if pasted:
        grounds = [Sample(sample.ground) for sample in pasted if sample.ground is not None]
        assert shares(grounds) == pytest.approx([1 / 3] * 3, abs=0.05)


def certain(predicted: list[list[list[int]]], classes: int) -> torch.Tensor:
    """Probabilities, (B, K, H, W), that are 1 for the class of each pixel."""
    return one_hot(torch.tensor(predicted), classes).movedim(-1, 1).float()


def test_the_share_mistaken_is_counted_for_each_class() -> None:
    errors = ClassErrors(4)

    errors.add(torch.tensor([[[0, 0], [1, IGNORE_INDEX]]]), certain([[[0, 2], [1, 2]]], 4))
    errors.add(torch.tensor([[[0, 0], [2, IGNORE_INDEX]]]), certain([[[0, 0], [1, 3]]], 4))

    # Nothing is known of the last class, so it counts as mistaken.
    assert errors.take().tolist() == [0.25, 0.0, 1.0, 1.0]


def test_classes_that_look_alike_share_the_mistake() -> None:
    errors = ClassErrors(2)

    errors.add(torch.tensor([[[0, 1]]]), torch.tensor([[[[0.51, 0.51]], [[0.49, 0.49]]]]))

    assert errors.take() == pytest.approx([0.49, 0.51], abs=1e-4)


def test_after_taking_counting_begins_anew() -> None:
    errors = ClassErrors(2)
    errors.add(torch.tensor([[[0, 1, 1]]]), certain([[[1, 1, 1]]], 2))

    first = errors.take()
    errors.add(torch.tensor([[[0, 0, 1]]]), certain([[[0, 1, 0]]], 2))

    assert first.tolist() == [1.0, 0.0]
    assert errors.take().tolist() == [0.5, 1.0]
    assert errors.take().tolist() == [1.0, 1.0]


def test_batches_without_labels_count_nothing() -> None:
    errors = ClassErrors(2)

    errors.add(torch.full((2, 3, 3), IGNORE_INDEX), torch.full((2, 2, 3, 3), 0.5))

    assert errors.take().tolist() == [1.0, 1.0]


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 6), batches=st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_errors_are_those_of_all_pixels_at_once(seed: int, classes: int, batches: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes + 1, (batches, 2, 5, 7))
    truth[truth == classes] = IGNORE_INDEX
    probabilities = rng.dirichlet(np.ones(classes), truth.shape)
    errors = ClassErrors(classes)

    for labels, part in zip(truth, probabilities, strict=True):
        errors.add(torch.from_numpy(labels), torch.from_numpy(part).movedim(-1, 1))

    expected = [
        1 - np.mean(probabilities[truth == label][:, label]) if (truth == label).any() else 1.0
        for label in range(classes)
    ]
    np.testing.assert_allclose(errors.take(), expected, atol=1e-5)


def test_many_threads_count_without_losing_a_pixel() -> None:
    # So many classes that adding takes a while: without a lock, threads overwrite one another's sums.
    classes, rounds = 300_000, 64
    errors = ClassErrors(classes)
    labels = torch.arange(1000, 1004)[None, None]
    right, wrong = torch.zeros(1, classes, 1, 4), torch.zeros(1, classes, 1, 4)
    right[0, labels[0, 0], 0, torch.arange(4)] = 1.0

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: errors.add(labels, wrong if i % 4 == 0 else right), range(rounds)))

    assert errors.counts[0].unique().tolist() == [0, rounds]
    assert errors.take()[1000:1004].tolist() == [0.25] * 4
