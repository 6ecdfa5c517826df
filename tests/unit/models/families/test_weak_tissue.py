import pytest
import torch
from torch import Tensor

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.errors import InvalidValueError
from qpbridge.models.families import weak_tissue
from qpbridge.models.families.weak_tissue import WeakTissue, WeakTissueConfig
from qpbridge.models.family import MASKS
from qpbridge.models.registry import configure

TINY: dict[str, object] = {"classifier": "light", "segmenter": "light", "width": 4, "patch_px": 48}


def _network(**settings: object) -> WeakTissue:
    torch.manual_seed(0)
    return WeakTissue(WeakTissueConfig(**{**TINY, **settings}), 3)


def _views(batch: int = 3, rows: int = 48, columns: int = 48) -> dict[str, Tensor]:
    return {"x1": torch.rand(batch, 3, rows, columns)}


@pytest.mark.parametrize(("is_frozen", "trained"), [(False, 105_087_296), (True, 104_218_624)])
def test_both_stages_have_as_many_parameters_as_published(is_frozen: bool, trained: int) -> None:
    with torch.device("meta"):
        network = WeakTissue(WeakTissueConfig(is_frozen=is_frozen), 4)

    assert sum(p.numel() for p in network.classifier.parameters()) == 105_087_296
    assert sum(p.numel() for p in network.classifier.parameters() if p.requires_grad) == trained
    assert sum(p.numel() for p in network.segmenter.parameters()) == 59_339_940


def test_resnet50_serves_as_classifier_too() -> None:
    with torch.device("meta"):
        network = WeakTissue(WeakTissueConfig(classifier="resnet50", segmenter="light"), 4)
        outputs = network({"x1": torch.empty(2, 3, 224, 224)}, stage="classifier")

    assert outputs["presence"].shape == (2, 4)


def test_a_patch_that_the_divisor_does_not_divide_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"patch_px=100 .* multiples of 16"):
        WeakTissueConfig(patch_px=100)


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (37, 50)])
@torch.no_grad()
def test_patches_of_many_sizes_will_do(size: tuple[int, int]) -> None:
    network = _network().eval()

    outputs = network(_views(2, *size))

    assert outputs["logits"].shape == (2, 3, *size)
    assert {name: x.shape[1] for name, x in outputs.items()} == {
        head.name: head.channels for head in weak_tissue.heads(network.config, 3)
    }


def test_each_stage_trains_its_own_network_and_no_other() -> None:
    network, views = _network().train(), _views(4)
    presence = torch.tensor([[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]])

    weak_tissue.classifier_loss(network(views, stage="classifier", threshold=0.8), presence).backward()

    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.classifier.parameters())
    assert all(p.grad is None for p in network.segmenter.parameters())
    network.zero_grad()
    masks = network.pseudo_masks(views, presence)
    weak_tissue.segmenter_loss(network(views, stage="segmenter"), {MASKS: masks}, torch.ones(3)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.segmenter.parameters())
    assert all(p.grad is None for p in network.classifier.parameters())


def test_attention_follows_its_schedule_unless_turned_off() -> None:
    config = WeakTissueConfig()

    assert [weak_tissue.threshold_of(config, epoch) for epoch in (0, 3)] == [None, pytest.approx(0.98**3)]
    assert weak_tissue.threshold_of(WeakTissueConfig(attention=False), 3) is None


@pytest.mark.parametrize(("variant", "count"), [("multi_layer", 3), ("single_layer", 1)])
@torch.no_grad()
def test_the_variant_says_how_many_pseudo_masks_there_are(variant: str, count: int) -> None:
    masks = _network(variant=variant).pseudo_masks(_views(2), torch.tensor([[1, 1, 0], [0, 1, 0]]))

    assert masks.shape == (2, count, 48, 48)
    assert 2 not in masks
    assert set(masks[1].unique().tolist()) <= {1, IGNORE_INDEX}


@torch.no_grad()
def test_white_areas_get_no_pseudo_label_where_they_are_excluded() -> None:
    views, presence = _views(1), torch.tensor([[1, 1, 1]])
    views["x1"] = views["x1"] / 2
    views["x1"][:, :, :20] = 1.0

    excluded = _network(exclude_white=True).pseudo_masks(views, presence)
    usual = _network().pseudo_masks(views, presence)

    assert (excluded[:, :, :20] == IGNORE_INDEX).all()
    assert (usual[:, :, :20] != IGNORE_INDEX).any()
    assert torch.equal(excluded[:, :, 20:], usual[:, :, 20:])


@torch.no_grad()
def test_prediction_never_selects_a_class_that_the_classifier_closes() -> None:
    network, views = _network().eval(), _views(2)
    network.classifier.scores.weight.fill_(50.0)[0] = -50.0  # features are not negative
    network.segmenter.decoder[-1].bias.copy_(torch.tensor([90.0, 0.0, 0.0]))

    outputs = network(views)

    assert (outputs["presence"].sigmoid()[:, 0] <= 0.1).all()
    assert 0 not in weak_tissue.probabilities(outputs).argmax(1)
    ungated = network(views, stage="segmenter")["logits"]
    assert (ungated.argmax(1) == 0).all()
    assert torch.equal(outputs["logits"][:, 1:], ungated[:, 1:])
    torch.testing.assert_close(weak_tissue.probabilities(outputs).sum(1), torch.ones(2, 48, 48))


@torch.no_grad()
def test_the_gate_can_be_left_open() -> None:
    network, views = _network(gate=False).eval(), _views(2)
    network.classifier.scores.weight[0] = -50.0

    assert torch.equal(network(views)["logits"], network(views, stage="segmenter")["logits"])


@torch.no_grad()
def test_the_seed_determines_the_network() -> None:
    views = _views()

    first, second = (_network().eval()(views) for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_small_preset_is_a_light_network() -> None:
    config, _ = configure("weak_tissue", "small", {})

    network = WeakTissue(config, 4)

    assert sum(p.numel() for p in network.parameters()) < 3_000_000
