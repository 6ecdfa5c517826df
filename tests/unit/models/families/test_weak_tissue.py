import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.errors import InvalidValueError
from qpbridge.models.families import weak_tissue
from qpbridge.models.families.weak_tissue import WeakTissue, WeakTissueConfig
from qpbridge.models.family import LABELS, MASKS, TagReading, Truth, Views
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


def _truth(**known: object) -> Truth:
    labels = np.full((10, 10), IGNORE_INDEX, np.uint8)
    labels[:5], labels[5, :2] = 2, 1
    return Truth(**{"labels": labels, "mpp": 1.0, "classes": 3, **known})  # type: ignore[arg-type]


def test_tags_and_their_area_are_targets() -> None:
    tagged = np.zeros((10, 10), np.bool_)
    presence = np.array([1, 0, IGNORE_INDEX])

    targets = weak_tissue.encoder(WeakTissueConfig())(_truth(presence=presence, tagged=tagged))

    assert targets["presence"] is presence
    assert targets["tagged"] is tagged
    assert MASKS not in targets


def test_polygons_say_what_occurs_where_they_lie() -> None:
    targets = weak_tissue.encoder(WeakTissueConfig(presence_min_share=0.05))(_truth())

    # Of class 1 there is too little to say that it occurs, or that it does not.
    assert targets["presence"].tolist() == [0, IGNORE_INDEX, 1]
    assert targets["tagged"].sum() == 52


def test_masks_of_a_first_stage_are_targets_of_the_second() -> None:
    masks = np.full((3, 10, 10), 2, np.uint8)

    targets = weak_tissue.encoder(WeakTissueConfig())(_truth(masks=masks))

    assert targets[MASKS].dtype == np.int64
    assert (targets[MASKS] == 2).all()


def test_the_first_stage_pays_attention_in_training_alone() -> None:
    classifier, segmenter = weak_tissue.stages(WeakTissueConfig(classifier_epochs=7))
    heard: list[dict[str, object]] = []

    class Recording(nn.Module):
        def forward(self, views: Views, **how: object) -> Views:
            heard.append(how)
            return views

    network = Recording()
    for epoch in (0, 5):
        classifier.run(network.train(), {}, {"tagged": torch.ones(1)}, epoch)
    classifier.run(network.eval(), {}, {}, 5)
    segmenter.run(network.train(), {}, {}, 0)
    segmenter.run(network.eval(), {}, {}, 0)

    assert [how.get("stage") for how in heard] == ["classifier"] * 3 + ["segmenter", None]
    assert [how.get("threshold") for how in heard] == [None, pytest.approx(0.98**5), None, None, None]
    assert (classifier.epochs, segmenter.epochs) == (7, None)
    assert (classifier.judged_by, segmenter.judged_by) == ("presence", "pixels")


def test_the_second_stage_learns_labels_of_people_where_there_are_no_masks() -> None:
    logits, labels = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))

    by_labels = weak_tissue.segmenter_loss({"logits": logits}, {LABELS: labels}, torch.ones(3))
    by_masks = weak_tissue.segmenter_loss(
        {"logits": logits}, {MASKS: labels[:, None], LABELS: 2 - labels}, torch.ones(3)
    )

    torch.testing.assert_close(by_labels, by_masks)


def test_tags_are_taken_as_the_configuration_says() -> None:
    assert weak_tissue.tags(WeakTissueConfig()) == TagReading(is_absence_asserted=True)
    assert weak_tissue.tags(WeakTissueConfig(absence="unknown")) == TagReading(is_absence_asserted=False)
    assert weak_tissue.tags(WeakTissueConfig(supervision="polygons")) is None


def test_nothing_is_dropped_where_that_is_turned_off() -> None:
    dropped = [one.p for one in _network().modules() if isinstance(one, nn.Dropout | nn.Dropout2d)]
    kept = [one.p for one in _network(dropout=False).modules() if isinstance(one, nn.Dropout | nn.Dropout2d)]

    assert max(dropped) > 0
    assert set(kept) == {0.0}
