import pytest
import torch
from torch import Tensor, nn

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.models.backbones.residual import light_parts
from qpbridge.models.weak.attention import Classifier
from qpbridge.models.weak.pseudo_masks import class_maps, pseudo_masks, white_areas


def _color_classifier() -> Classifier:
    """Red is class 0, green class 1, blue class 2; each part passes the image on."""
    classifier = Classifier(nn.ModuleList([nn.Identity(), nn.ReLU(), nn.ReLU()]), 3, 3)
    with torch.no_grad():
        classifier.scores.weight.copy_(torch.eye(3)[:, :, None, None])
    return classifier


def _flag() -> Tensor:
    """Red at the left, green at the right, black between."""
    image = torch.zeros(1, 3, 4, 12)
    image[:, 0, :, :4] = 1
    image[:, 1, :, 8:] = 1
    return image


@torch.no_grad()
def test_pseudo_masks_show_where_the_classes_are_and_ignore_where_none_is() -> None:
    masks = pseudo_masks(_color_classifier(), _flag(), torch.tensor([[1, 1, 0]]))

    assert masks.shape == (1, 3, 4, 12)
    assert masks.dtype is torch.int64
    assert masks[0, 0].unique(dim=0).tolist() == [[0] * 4 + [IGNORE_INDEX] * 4 + [1] * 4]
    assert torch.equal(masks[:, 0], masks[:, 1])
    assert torch.equal(masks[:, 0], masks[:, 2])


@torch.no_grad()
def test_absent_classes_get_no_pixel() -> None:
    classifier, image = _color_classifier(), _flag()

    assert set(pseudo_masks(classifier, image, torch.tensor([[1, 0, 0]])).unique().tolist()) == {0, IGNORE_INDEX}
    assert set(pseudo_masks(classifier, image, torch.tensor([[0, 0, 0]])).unique().tolist()) == {IGNORE_INDEX}


@torch.no_grad()
def test_where_presence_is_not_known_the_classifier_decides() -> None:
    classifier, image = _color_classifier(), _flag()
    with torch.no_grad():
        classifier.scores.weight[1] *= -9  # green now speaks against its class: probability below a quarter

    masks = pseudo_masks(classifier, image, torch.full((1, 3), IGNORE_INDEX))

    assert 0 in masks
    assert 1 not in masks


@torch.no_grad()
def test_pixels_outside_of_what_is_tagged_get_no_label() -> None:
    tagged = torch.zeros(1, 4, 12, dtype=torch.bool)
    tagged[0, 2:] = True

    masks = pseudo_masks(_color_classifier(), _flag(), torch.tensor([[1, 1, 0]]), tagged)

    assert (masks[:, :, :2] == IGNORE_INDEX).all()
    assert (masks[:, :, 2:] != IGNORE_INDEX).any()


@torch.no_grad()
def test_excluded_pixels_get_no_label() -> None:
    excluded = torch.zeros(1, 4, 12, dtype=torch.bool)
    excluded[0, :2] = True

    masks = pseudo_masks(_color_classifier(), _flag(), torch.tensor([[1, 1, 0]]), excluded_BHW=excluded)

    assert (masks[:, :, :2] == IGNORE_INDEX).all()
    assert set(masks[:, :, 2:].unique().tolist()) == {0, 1, IGNORE_INDEX}


@pytest.mark.parametrize("training", [True, False])
def test_class_maps_are_gradients_times_activations_of_every_part(training: bool) -> None:
    torch.manual_seed(0)
    classifier, x = Classifier(light_parts(2), 16, 3).train(training), torch.rand(2, 3, 32, 40)

    chances, maps = class_maps(classifier, x)

    assert classifier.training == training
    classifier.eval()
    torch.testing.assert_close(chances, classifier(x).sigmoid().detach())
    assert [tuple(one.shape) for one in maps] == [(2, 3, 4, 5)] * 3
    taps = [classifier.parts[0](x)]
    taps.extend([classifier.parts[1](taps[0])])
    taps.extend([classifier.parts[2](taps[1])])
    (gradient,) = torch.autograd.grad(classifier.judged(taps[2])[1, 2].sigmoid(), taps[0])
    expected = (gradient[1].mean((1, 2), keepdim=True) * taps[0][1]).sum(0)
    torch.testing.assert_close(maps[0][1, 2], expected.detach())
    assert all(p.grad is None for p in classifier.parameters())


def test_images_of_a_batch_do_not_see_one_another() -> None:
    torch.manual_seed(0)
    classifier, x = Classifier(light_parts(2), 16, 3), torch.rand(3, 3, 32, 32)
    presence = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 1]])

    together = pseudo_masks(classifier, x, presence)

    apart = torch.cat([pseudo_masks(classifier, x[i : i + 1], presence[i : i + 1]) for i in range(3)])
    assert (together != apart).float().mean() < 0.01  # rounding may turn ties


def test_white_areas_are_bright_and_not_small() -> None:
    images = torch.full((2, 3, 20, 20), 0.5)
    images[0, :, :5, :10] = 0.9  # 50 px
    images[0, :, 10:17, 10:17] = 0.9  # 49 px
    images[1] = torch.tensor([1.0, 0.4, 1.0])[:, None, None]  # bright, but magenta

    found = white_areas(images)

    assert found.dtype is torch.bool
    assert found[0, :5, :10].all()
    assert found.sum() == 50
