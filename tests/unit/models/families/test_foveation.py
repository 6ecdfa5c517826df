import pytest
import torch
from torch import Tensor

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import FieldOfView, View
from qpbridge.errors import InvalidValueError
from qpbridge.models.families import foveation
from qpbridge.models.families.foveation import (
    CHOICES,
    LEARNED,
    REACH_CELLS,
    Foveation,
    FoveationConfig,
    FoveationModule,
    Place,
    at_center,
    average_field_px,
    blended,
)
from qpbridge.models.family import LABELS
from qpbridge.models.registry import configure

VARIANTS = list(CHOICES)
TINY: dict[str, object] = {"segmenter": "unet", "width": 4, "patch_px": 32, "fields_px": (32, 64, 128), "glance_px": 9}


def _config(variant: str, **settings: object) -> FoveationConfig:
    return FoveationConfig(**{**TINY, "variant": variant, **settings})


def _network(variant: str, **settings: object) -> Foveation:
    torch.manual_seed(0)
    return Foveation(_config(variant, **settings), 3)


def _views(config: FoveationConfig, batch: int = 2) -> dict[str, Tensor]:
    return {view.name: torch.rand(batch, 3, view.fov.size_px, view.fov.size_px) for view in foveation.views(config)}


def _place(variant: str, weights: Tensor | None, *, is_training: bool, **settings: object) -> Tensor:
    config = _config(variant, **settings)
    count = 5000 if weights is None else len(weights)
    fields = [torch.rand(count, 3, 4, 4) for _ in config.fields_px]
    return CHOICES[variant](Place(fields=fields, weights=weights, is_training=is_training, config=config))


def test_the_module_and_the_segmenter_have_as_many_parameters_as_published() -> None:
    with torch.device("meta"):
        network = Foveation(FoveationConfig(), 4)

    assert network.module is not None
    assert sum(p.numel() for p in network.module.parameters()) == 17_450
    assert sum(p.numel() for p in network.segmenter.parameters()) == 66_492_604


def test_fields_are_concentric_with_as_many_ever_larger_pixels() -> None:
    found = foveation.views(FoveationConfig(mpp=0.5))

    assert [view.name for view in found] == ["field0", "field1", "field2", "field3", "field4", "glance"]
    assert {view.fov.size_px for view in found[:-1]} == {1100}
    assert [view.fov.extent_um for view in found[:-1]] == pytest.approx([550, 1000, 1450, 1900, 2200])
    assert found[-1] == View(name="glance", fov=FieldOfView(size_px=15, mpp=22.0))


@pytest.mark.parametrize("fields_px", [(), (32,), (64, 32), (32, 32), (64, 128), (32, 128, 64)])
def test_fields_that_do_not_grow_from_the_patch_are_refused(fields_px: tuple[int, ...]) -> None:
    with pytest.raises(InvalidValueError, match=r"fields_px=.* first of which is patch_px=32"):
        _config("mean", fields_px=fields_px)


def test_a_field_that_is_not_there_cannot_be_fixed() -> None:
    with pytest.raises(InvalidValueError, match=r"fixed_field=3 .* there are 3 fields"):
        _config("fixed", fixed_field=3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gradient_reaches_every_parameter(variant: str) -> None:
    network = _network(variant).train()
    outputs = network(_views(network.config, batch=4))

    foveation.loss(outputs, {LABELS: torch.randint(0, 3, (4, 32, 32))}, torch.ones(3)).backward()

    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert (network.module is not None) == (variant in LEARNED)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("edge", [32, 37])
@torch.no_grad()
def test_heads_are_as_told_for_patches_of_any_size(variant: str, edge: int) -> None:
    network = _network(variant, patch_px=edge, fields_px=(edge, 80, 160), glance_px=8).eval()

    outputs = network(_views(network.config))

    assert outputs["logits"].shape == (2, 3, edge, edge)
    assert {name: x.shape[1] for name, x in outputs.items()} == {
        head.name: head.channels for head in foveation.heads(network.config, 3)
    }
    if "fields" in outputs:
        torch.testing.assert_close(outputs["fields"].sum(1), torch.ones(2))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_predictions_are_the_same_again_and_in_any_batch(variant: str) -> None:
    network = _network(variant).eval()
    views = _views(network.config, batch=4)

    first, second = network(views)["logits"], network(views)["logits"]

    assert torch.equal(first, second)
    alone = [network({name: x[i : i + 1] for name, x in views.items()})["logits"] for i in range(4)]
    torch.testing.assert_close(torch.cat(alone), first, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_fields_are_blended_by_their_weights() -> None:
    fields = [torch.rand(2, 3, 4, 4) for _ in range(3)]

    assert torch.equal(blended(torch.tensor([[1.0, 0, 0], [0, 0, 1]]), fields)[0], fields[0][0])
    assert torch.equal(blended(torch.tensor([[1.0, 0, 0], [0, 0, 1]]), fields)[1], fields[2][1])
    torch.testing.assert_close(blended(torch.full((2, 3), 1 / 3), fields), torch.stack(fields).mean(0))


def test_each_variant_chooses_as_it_is_named() -> None:
    weights = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])

    assert _place("mean", weights, is_training=True) is weights
    assert _place("argmax", weights, is_training=False).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert _place("fixed", None, is_training=True, fixed_field=2)[0].tolist() == [0, 0, 1]
    assert _place("average", None, is_training=True)[0].tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("is_training", [True, False])
def test_chance_takes_every_field_as_often(is_training: bool) -> None:
    torch.manual_seed(0)

    chosen = _place("random", None, is_training=is_training)

    assert set(chosen.sum(1).tolist()) == {1.0}
    assert chosen.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)


def test_the_largest_weight_wins_and_the_gradient_is_that_of_the_weights() -> None:
    weights = torch.tensor([[0.2, 0.5, 0.3]], requires_grad=True)

    chosen = _place("argmax", weights, is_training=True)
    (chosen * torch.tensor([1.0, 2.0, 3.0])).sum().backward()

    torch.testing.assert_close(chosen.detach(), torch.tensor([[0.0, 1, 0]]))
    assert weights.grad is not None
    assert weights.grad.tolist() == [[1, 2, 3]]


def test_soft_draws_follow_the_weights_and_predictions_take_them_without_chance() -> None:
    torch.manual_seed(0)
    weights = torch.tensor([0.2, 0.5, 0.3]).expand(20_000, 3)

    drawn = _place("gumbel", weights, is_training=True, temperature=0.01)

    assert drawn.mean(0).tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.02)
    torch.testing.assert_close(_place("gumbel", weights[:2], is_training=False), weights[:2])
    sharp = _place("gumbel", torch.tensor([[0.0, 0.6, 0.4]]), is_training=False, temperature=0.1)
    assert sharp[0, 1] > 0.98
    assert torch.isfinite(sharp).all()


def test_the_module_reaches_seven_cells_of_which_the_glance_shows_the_center() -> None:
    torch.manual_seed(0)
    module = FoveationModule(3).eval()
    thumbnail = torch.rand(1, 3, 15, 15, requires_grad=True)

    at_center(module(thumbnail))[0, 0].backward()

    assert thumbnail.grad is not None
    seen = torch.nonzero(thumbnail.grad.abs().sum((0, 1)))
    margin = (15 - REACH_CELLS) // 2
    assert seen.min(0).values.tolist() == [margin, margin]
    assert seen.max(0).values.tolist() == [14 - margin, 14 - margin]


@torch.no_grad()
def test_a_glance_gives_the_weights_that_the_whole_thumbnail_gives_there() -> None:
    torch.manual_seed(0)
    module = FoveationModule(3).eval()
    thumbnail = torch.rand(1, 3, 20, 24)

    glance = thumbnail[..., 3:10, 5:12]

    torch.testing.assert_close(at_center(module(glance)), module(thumbnail)[..., 6, 8])


def test_the_center_of_an_even_glance_lies_between_four_cells() -> None:
    weights = torch.arange(16.0).reshape(1, 1, 4, 4)

    assert at_center(weights).item() == (5 + 6 + 9 + 10) / 4


def test_the_average_field_is_that_of_the_weights() -> None:
    weights = torch.tensor([[1.0, 0, 0], [0.5, 0.25, 0.25]])

    assert average_field_px(weights, (32, 64, 128)).tolist() == [32, 64]


@torch.no_grad()
def test_the_survey_tells_the_weights_that_the_network_blends_by_and_their_mean_extent() -> None:
    network = _network("mean", mpp=0.5).eval()
    views = _views(network.config)

    survey = foveation.survey(network, network.config)

    assert survey is not None
    assert survey.names == ("Field of 16 µm", "Field of 32 µm", "Field of 64 µm", "Mean field µm")
    found = survey.network({view.name: views[view.name] for view in survey.views})[survey.head]
    weights = network(views)["fields"]
    torch.testing.assert_close(found[:, :3], weights)
    torch.testing.assert_close(found[:, 3], weights @ torch.tensor([16.0, 32, 64]))


def test_variants_that_learn_no_preference_have_no_survey() -> None:
    network = _network("average")

    assert foveation.survey(network, network.config) is None


def test_unlabelled_pixels_cost_nothing() -> None:
    logits, labels = torch.randn(1, 3, 4, 4, requires_grad=True), torch.full((1, 4, 4), IGNORE_INDEX)
    labels[0, 3, 1] = 1

    foveation.loss({"logits": logits}, {LABELS: labels}, torch.ones(3)).backward()

    assert logits.grad is not None
    assert torch.nonzero(logits.grad.abs().sum(1)[0]).tolist() == [[3, 1]]
    torch.testing.assert_close(foveation.probabilities({"logits": logits}).sum(1), torch.ones(1, 4, 4))


def test_the_small_preset_is_a_light_network() -> None:
    network = Foveation(configure("foveation", "small", {})[0], 4)

    assert sum(p.numel() for p in network.parameters()) < 1_000_000
