import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qpbridge.training.balancing import Counts
from qpbridge.training.splitting import MOST_OF_A_CLASS, held_back_patches, held_back_slides

shapes = st.tuples(st.integers(1, 40), st.integers(1, 5))
counts_of_patches = shapes.flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.sampled_from([0, 0, 0, 1, 40, 400]))
)
shares = st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9])
seeds = st.integers(0, 1000)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def is_refused(counts: Counts, held: list[int], index: int) -> bool:
    """Whether a row would take more than half of a class away."""
    return bool((counts[held].sum(axis=0) + counts[index] > MOST_OF_A_CLASS * counts.sum(axis=0)).any())


@given(counts=counts_of_patches, share=shares, seed=seeds)
@settings(deadline=None)
def test_no_class_gives_more_than_half_of_its_pixels_away(counts: Counts, share: float, seed: int) -> None:
    for held in (held_back_patches(counts, share, rng(seed)), held_back_slides(counts, share, rng(seed))):
        assert held == sorted(set(held))
        assert (counts[held].sum(axis=0) <= 0.5 * counts.sum(axis=0)).all()


@given(counts=counts_of_patches, share=shares, seed=seeds)
@settings(deadline=None)
def test_each_class_gives_its_share_unless_every_other_patch_would_take_too_much(
    counts: Counts, share: float, seed: int
) -> None:
    held = held_back_patches(counts, share, rng(seed))

    given_away, wanted = counts[held].sum(axis=0), share * counts.sum(axis=0)
    for label in np.flatnonzero(given_away < wanted):
        others = [i for i in range(len(counts)) if counts[i, label] and i not in held]
        assert all(is_refused(counts, held, i) for i in others)


@given(counts=counts_of_patches, share=shares, seed=seeds)
@settings(deadline=None)
def test_no_patch_is_held_back_without_need(counts: Counts, share: float, seed: int) -> None:
    held = held_back_patches(counts, share, rng(seed))

    assert all(counts[i].any() for i in held)
    if share == 0:
        assert held == []
    # Without the patch that came last, some class lacked its share; that one is among the held.
    wanted = share * counts.sum(axis=0)
    if held:
        assert any((counts[[j for j in held if j != i]].sum(axis=0) < wanted).any() for i in held)


@given(counts=counts_of_patches, share=shares, seed=seeds)
@settings(deadline=None)
def test_slides_give_the_share_of_all_pixels_where_that_is_possible(counts: Counts, share: float, seed: int) -> None:
    held = held_back_slides(counts, share, rng(seed))

    assert all(counts[i].any() for i in held)
    annotated = np.flatnonzero(counts.any(axis=1))
    if len(annotated) < 4:
        assert held == []
    elif counts[held].sum() < share * counts.sum():
        assert all(is_refused(counts, held, i) for i in annotated if i not in held)


@pytest.mark.parametrize(("slides", "is_enough"), [(1, False), (2, False), (3, False), (4, True), (7, True)])
def test_whole_slides_are_held_back_from_four_annotated_ones_on(slides: int, is_enough: bool) -> None:
    counts = np.full((slides, 2), 1000)
    with_empty_ones = np.concatenate([counts, np.zeros((5, 2), np.int64)])

    for table in (counts, with_empty_ones):
        held = held_back_slides(table, 0.2, rng(0))
        assert bool(held) == is_enough
        assert all(i < slides for i in held)
    if is_enough:
        assert len(held) == int(np.ceil(0.2 * slides))


def test_slides_without_labels_do_not_stand_in_for_those_that_cannot_be_spared() -> None:
    counts = np.array([[900, 0, 0, 0], [0, 900, 0, 0], [0, 0, 900, 0], [0, 0, 0, 900], [0, 0, 0, 0]])

    assert held_back_slides(counts, 0.2, rng(0)) == []


def test_a_class_that_lies_in_one_patch_keeps_it_for_training() -> None:
    counts = np.array([[400, 0]] * 10 + [[300, 50]])

    for seed in range(20):
        held = held_back_patches(counts, 0.2, rng(seed))

        assert 10 not in held
        assert len(held) == 3


def test_a_rare_class_gives_its_share_too() -> None:
    counts = np.array([[400, 0]] * 95 + [[380, 20]] * 5)

    held = held_back_patches(counts, 0.2, rng(0))

    given_away = counts[held].sum(axis=0)
    assert given_away.tolist() == pytest.approx([8000, 20], abs=400)


@given(counts=counts_of_patches, share=shares, seed=seeds)
@settings(deadline=None, max_examples=30)
def test_the_same_seed_holds_the_same_back(counts: Counts, share: float, seed: int) -> None:
    assert held_back_patches(counts, share, rng(seed)) == held_back_patches(counts, share, rng(seed))
    assert held_back_slides(counts, share, rng(seed)) == held_back_slides(counts, share, rng(seed))


def test_other_seeds_hold_others_back() -> None:
    counts = np.full((50, 2), 10)

    choices = {tuple(held_back_patches(counts, 0.2, rng(seed))) for seed in range(20)}

    assert len(choices) == 20
    assert all(len(choice) == 10 for choice in choices)


def test_nothing_is_held_back_of_nothing() -> None:
    nothing = np.zeros((0, 3), np.int64)

    assert held_back_patches(nothing, 0.2, rng(0)) == []
    assert held_back_slides(nothing, 0.2, rng(0)) == []
