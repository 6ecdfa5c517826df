import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qpbridge.models.losses import class_weights
from qpbridge.training.balancing import (
    Counts,
    Sample,
    balanced_samples,
    copies_of_classes,
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
