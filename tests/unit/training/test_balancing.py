import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qpbridge.models.losses import class_weights
from qpbridge.training.balancing import (
    LEAST_SHARE,
    Counts,
    Sample,
    balanced_samples,
    class_shares,
    copies_of_classes,
    draw_patches,
    expected_counts,
    patch_classes,
    sample_counts,
)

counts_of_patches = (
    st.tuples(st.integers(1, 30), st.integers(2, 6))
    .flatmap(lambda shape: arrays(np.int64, shape, elements=st.sampled_from([0, 0, 1, 50, 700, 65536])))
    .map(lambda counts: counts + (counts.sum(axis=1, keepdims=True) == 0) * np.eye(1, counts.shape[1], dtype=np.int64))
)


def test_a_patch_belongs_to_the_rarest_class_that_it_holds() -> None:
    counts = np.array(
        [
            [900, 0, 0],
            [500, 400, 0],
            [0, 300, 1],
            [800, 0, 10],
        ]
    )

    assert patch_classes(counts).tolist() == [0, 1, 2, 2]


def test_classes_that_occur_nowhere_own_no_patch() -> None:
    counts = np.array([[10, 0, 5], [20, 0, 0]])

    assert patch_classes(counts).tolist() == [2, 0]
    assert copies_of_classes(counts, most=10)[1] == 0


def test_copies_even_out_the_labelled_pixels_as_computed_by_hand() -> None:
    # Patches of class 0 hold 1000 px, of class 1 400 px, of class 2 260 px: ratios 1, 2.5 and 3.85.
    counts = np.array([[600, 0, 0], [400, 0, 0], [100, 300, 0], [100, 100, 60]])

    assert copies_of_classes(counts, most=10).tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("labelled", "copies"),
    [
        # Shares of labelled area for which the copies of Ho et al. 2021, sec. 2.4, even out: carcinoma 2,
        # benign epithelium 10, background 1, stroma 0, necrotic 3, adipose 0 copies.
        ([350, 100, 510, 1060, 260, 1090], [2, 10, 1, 0, 3, 0]),
        ([100, 100, 100], [0, 0, 0]),
        ([1000, 149, 150, 160], [0, 6, 6, 5]),
        ([1000, 1, 90], [0, 10, 10]),
    ],
)
def test_each_class_gets_the_rounded_ratio_less_the_patch_itself(labelled: list[int], copies: list[int]) -> None:
    counts = np.diag(labelled)

    assert copies_of_classes(counts, most=10).tolist() == copies


def test_the_number_of_copies_is_limited() -> None:
    counts = np.diag([1000, 10])

    assert [copies_of_classes(counts, most)[1] for most in (0, 4, 10, 200)] == [0, 4, 10, 99]


def test_every_patch_comes_once_and_copies_are_numbered() -> None:
    counts = np.array([[300, 0], [0, 100], [300, 0]])

    samples = balanced_samples(counts, most=2)

    assert samples == [
        Sample(0, 0),
        Sample(1, 0),
        Sample(1, 1),
        Sample(1, 2),
        Sample(2, 0),
    ]


def test_copies_count_for_the_weights_of_the_loss() -> None:
    counts = np.array([[300, 0], [0, 100], [20, 30]])
    samples = [Sample(0, 0), Sample(1, 0), Sample(1, 1), Sample(2, 0)]

    totals = sample_counts(counts, samples)

    assert totals.tolist() == [320, 230]
    np.testing.assert_allclose(class_weights(totals.tolist()).numpy(), [1 - 320 / 550, 1 - 230 / 550], rtol=1e-6)


@given(counts=counts_of_patches, most=st.integers(0, 10))
@settings(deadline=None)
def test_balancing_never_loses_a_patch_nor_favors_the_most_frequent_class(counts: Counts, most: int) -> None:
    samples = balanced_samples(counts, most)
    classes = patch_classes(counts)

    assert [sample.patch for sample in samples if sample.copy == 0] == list(range(len(counts)))
    assert len(set(samples)) == len(samples)
    assert max(sample.copy for sample in samples) <= most
    repeats = np.bincount([sample.patch for sample in samples])
    labelled = np.bincount(classes, weights=counts.sum(axis=1), minlength=counts.shape[1])
    assert (repeats[classes == labelled.argmax()] == 1).all()
    # Copies bring no class above the most frequent one by more than the rounding of its ratio.
    balanced = np.bincount(classes, weights=counts.sum(axis=1) * repeats, minlength=counts.shape[1])
    assert (balanced <= 1.5 * labelled.max()).all()


def test_classes_are_drawn_alike_while_nothing_is_known_of_errors() -> None:
    counts = np.array([[900, 0, 0], [5, 0, 3]])

    assert class_shares(counts).tolist() == [0.5, 0, 0.5]


def test_classes_are_drawn_by_their_errors_and_none_below_its_least_share() -> None:
    counts = np.array([[100, 200, 300, 0]])

    shares = class_shares(counts, np.array([0.2, 0.0, 0.6, 1.0]))

    # The last class has no pixels: its error is not one.
    assert shares == pytest.approx([0.1 / 3 + 0.9 / 4, 0.1 / 3, 0.1 / 3 + 0.9 * 3 / 4, 0], abs=1e-5)


def test_without_any_error_classes_are_drawn_alike() -> None:
    assert class_shares(np.array([[7, 9]]), np.zeros(2)).tolist() == [0.5, 0.5]


@given(counts=counts_of_patches, data=st.data())
@settings(deadline=None)
def test_shares_are_probabilities_of_the_classes_that_occur(counts: Counts, data: st.DataObject) -> None:
    errors = data.draw(st.none() | arrays(np.float64, counts.shape[1], elements=st.floats(0, 1)))

    shares = class_shares(counts, errors)

    present = counts.sum(axis=0) > 0
    assert shares.sum() == pytest.approx(1)
    assert (shares[~present] == 0).all()
    assert (shares[present] >= LEAST_SHARE / present.sum() - 1e-12).all()
    if errors is not None:
        order = np.argsort(np.maximum(errors, 1e-6)[present], kind="stable")
        assert (np.diff(shares[present][order]) >= -1e-12).all()


def test_patches_are_drawn_by_their_part_of_a_class_drawn_by_its_share() -> None:
    counts = np.array([[300, 0, 10], [100, 0, 0], [0, 0, 30]])

    drawn = draw_patches(counts, np.array([0.25, 0.0, 0.75]), 20_000, np.random.default_rng(0))

    assert all(type(patch) is int for patch in drawn)
    chances = [0.25 * 3 / 4 + 0.75 / 4, 0.25 / 4, 0.75 * 3 / 4]
    assert np.bincount(drawn, minlength=3) / 20_000 == pytest.approx(chances, abs=0.02)


@given(counts=counts_of_patches, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_patch_drawn_for_a_class_holds_it(counts: Counts, seed: int) -> None:
    for label in np.flatnonzero(counts.sum(axis=0)):
        only = np.eye(counts.shape[1])[label]

        drawn = draw_patches(counts, only, 20, np.random.default_rng(seed))

        assert len(drawn) == 20
        assert (counts[drawn, label] > 0).all()
        assert drawn == draw_patches(counts, only, 20, np.random.default_rng(seed))


def test_every_labelled_pixel_of_a_class_counts_alike_to_the_last() -> None:
    # One pixel a patch, and patches without any between them.
    counts = np.zeros((40, 2), np.int64)
    counts[::2, 1] = 1

    drawn = draw_patches(counts, np.array([0.0, 1.0]), 4000, np.random.default_rng(0))

    often = np.bincount(drawn, minlength=40)
    assert (often[1::2] == 0).all()
    assert often[::2].min() > 140
    assert often[::2].max() < 260


def test_none_drawn_are_none() -> None:
    assert draw_patches(np.array([[4, 4]]), np.array([0.5, 0.5]), 0, np.random.default_rng(0)) == []


def test_expected_pixels_are_the_mean_over_the_draws() -> None:
    counts = np.array([[300, 100, 0], [0, 100, 0], [20, 0, 50]])
    shares = np.array([0.2, 0.5, 0.3])

    expected = expected_counts(counts, shares)

    chances = [0.2 * 300 / 320 + 0.5 / 2, 0.5 / 2, 0.2 * 20 / 320 + 0.3]
    np.testing.assert_allclose(expected, np.array(chances) @ counts)
    drawn = draw_patches(counts, shares, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(counts[drawn].mean(axis=0), expected, rtol=0.05)


def test_a_class_without_pixels_is_expected_nowhere() -> None:
    counts = np.array([[10, 0], [30, 0]])

    # Patches are drawn by their pixels: the second three times as often.
    assert expected_counts(counts, np.array([1.0, 0.0])).tolist() == [10 / 4 + 30 * 3 / 4, 0]
