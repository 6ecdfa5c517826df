from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import NothingToTrainError
from qpbridge.models.family import MASKS
from qpbridge.training.balancing import Sample
from qpbridge.training.fitting.labelling import PseudoLabels, made_labels
from qpbridge.training.patches import Labels, PatchSet

from .two_stages import FOV, SECOND, SETTING, TwoParts, colored_slide, samples_of

SLIDE = colored_slide()
SAMPLES = samples_of(SLIDE)
QUIET = SilentProgress()


def of_red(_network: object, views: dict[str, Tensor], _targets: object) -> Tensor:
    """Two labels of each pixel: 0 where it is red, unknown elsewhere; and 1 all over."""
    red = views["x1"][:, 0] > views["x1"][:, 1]
    return torch.stack([torch.zeros_like(red, dtype=torch.int64).where(red, IGNORE_INDEX), torch.ones_like(red)], 1)


def test_patches_are_labelled_and_counted_by_their_first_labels() -> None:
    made = made_labels(SETTING, replace(SECOND, label=of_red), TwoParts(), SAMPLES, QUIET)

    training = made.samples.training
    assert len(training.patches) == 6  # those on the green side have no first label
    assert {patch.center_px[0] for patch in training.patches} == {16, 48}
    assert training.counts.tolist() == [[32 * 32, 0]] * 6
    patch = training.patches[0]
    assert (training.labels.of(patch) == 0).all()
    masks = training.labels.masks(patch, FOV)
    assert masks is not None
    assert masks.shape == (2, 32, 32)
    assert (masks[1] == 1).all()


def test_what_people_labelled_is_judged_by_them() -> None:
    unlabelled = Labels([replace(SLIDE, shapes=())], FOV, 2)
    blank = replace(SAMPLES, validation=replace(SAMPLES.validation, labels=unlabelled))
    stage = replace(SECOND, label=of_red)

    by_people = made_labels(SETTING, stage, TwoParts(), SAMPLES, QUIET)
    by_network = made_labels(SETTING, stage, TwoParts(), blank, QUIET)

    assert by_people.is_judged_by_people
    assert by_people.samples.validation is SAMPLES.validation
    assert not by_network.is_judged_by_people
    assert by_network.samples.validation.counts.sum() == 6 * 32 * 32


def test_a_network_that_labels_nothing_ends_training() -> None:
    def of_nothing(_network: object, views: dict[str, Tensor], _targets: object) -> Tensor:
        return torch.full((len(views["x1"]), 1, 32, 32), IGNORE_INDEX)

    with pytest.raises(NothingToTrainError, match="tag more areas"):
        made_labels(SETTING, replace(SECOND, label=of_nothing), TwoParts(), SAMPLES, QUIET)


def test_beyond_a_patch_nothing_is_known() -> None:
    patch = SAMPLES.training.patches[0]
    labels = PseudoLabels(SAMPLES.training.labels, [patch], np.ones((1, 2, 32, 32), np.uint8))

    wide = labels.of(patch, replace(FOV, size_px=36))

    assert wide.shape == (36, 36)
    assert (wide[2:-2, 2:-2] == 1).all()
    assert (wide != IGNORE_INDEX).sum() == 32**2
    assert labels.presence(patch) is None
    assert labels.tagged(patch, FOV) is None
    assert not labels.instances(patch, FOV).any()


def test_made_labels_turn_with_their_patch() -> None:
    patch = SAMPLES.training.patches[0]
    ramp = np.tile(np.arange(32, dtype=np.uint8) // 16, (1, 2, 32, 1))
    ramp[:, 1] = 1 - ramp[:, 0]
    known = PatchSet(
        patches=[patch], counts=np.array([[512, 512]]), labels=PseudoLabels(SAMPLES.training.labels, [patch], ramp)
    )
    turning = samples_of(SLIDE, replace(SETTING.recipe, rot90_p=1.0, flip_p=1.0))

    for turn in range(4):
        made = turning.maker.augmented(Sample(0), known.patches, known.labels, (1, turn))

        np.testing.assert_array_equal(made.targets[MASKS][0], made.labels)
        np.testing.assert_array_equal(made.targets[MASKS][1], 1 - made.labels)
