from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.errors import InvalidValueError
from qpbridge.models.blocks import optical_density
from qpbridge.models.families import use_net
from qpbridge.models.families.use_net import ENCODERS, RECIPE, SMALL, UseNet, UseNetConfig
from qpbridge.models.family import Truth


def _network(variant: str = "unet", classes: int = 1, **configured: object) -> UseNet:
    torch.manual_seed(0)
    return UseNet(
        UseNetConfig(**{"variant": variant, "width": 4, "patch_px": 64, "weights": "random", **configured}), classes
    ).eval()


def _image(edge: int = 64, batch: int = 1) -> dict[str, Tensor]:
    return {"x1": torch.rand(batch, 3, edge, edge, generator=torch.Generator().manual_seed(1))}


@pytest.fixture(scope="module")
def published() -> UseNet:
    with torch.device("meta"):
        return UseNet(UseNetConfig(), 1)


def _count(network: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def test_the_parameters_are_as_many_as_published(published: UseNet) -> None:
    assert _count(published.trunk.encoder) == 26_022_976
    assert _count(published) == 35_037_186


def test_the_encoder_squeezes_after_the_third_norm_of_each_block(published: UseNet) -> None:
    squeezes = [layer for name, layer in published.trunk.named_modules() if name.endswith(".se")]

    assert len(squeezes) == 16
    assert all(layer.fc1.out_channels * 16 == layer.fc1.in_channels for layer in squeezes)
    assert all(layer.fc1.bias is None for layer in squeezes)


def test_the_decoder_is_joined_by_the_encoder_s_maps(published: UseNet) -> None:
    blocks = [(block[0].in_channels, block[3].out_channels) for block in published.trunk.decoder.blocks]

    assert blocks == [(2048 + 1024, 256), (256 + 512, 128), (128 + 256, 64), (64 + 64, 32), (32, 16)]


@pytest.mark.parametrize("variant", ["resnet18", "unet"])
@torch.no_grad()
def test_any_edge_that_the_divisor_divides_will_do(variant: str) -> None:
    network = _network(variant)

    for edge in (network.divisor, 3 * network.divisor):
        outputs = network(_image(edge))
        assert {name: tuple(logits.shape) for name, logits in outputs.items()} == {
            "mask": (1, 1, edge, edge),
            "marker": (1, 1, edge, edge),
        }


@pytest.mark.parametrize("variant", list(ENCODERS))
def test_an_edge_that_the_divisor_does_not_divide_is_refused(variant: str) -> None:
    with pytest.raises(InvalidValueError, match=rf"patch_px=1000 .*{variant} takes multiples of"):
        UseNetConfig(variant=variant, patch_px=1000)


def test_there_is_one_view_of_the_patch_s_size() -> None:
    (view,) = use_net.views(UseNetConfig(mpp=0.5, patch_px=256))

    assert (view.name, view.fov.size_px, view.fov.mpp) == ("x1", 256, 0.5)


@pytest.mark.parametrize(
    ("configured", "classes", "names"),
    [
        ({}, 3, ["mask", "marker"]),
        ({"class_head": True}, 3, ["mask", "marker", "classes"]),
        ({"class_head": True}, 1, ["mask", "marker"]),
        ({"marker": "none"}, 1, ["mask"]),
    ],
)
@torch.no_grad()
def test_there_are_the_outputs_asked_for(configured: dict[str, object], classes: int, names: list[str]) -> None:
    network = _network(classes=classes, **configured)
    heads = use_net.heads(UseNetConfig(**configured), classes)

    assert [head.name for head in heads] == names
    assert {name: x.shape[1] for name, x in network(_image()).items()} == {h.name: h.channels for h in heads}


def _targets(edge: int = 64, batch: int = 1, classes: int = 3) -> dict[str, Tensor]:
    labels = (torch.arange(edge) * classes // edge).expand(batch, edge, edge).clone()
    return {"mask": (labels > 0).long(), "marker": (labels > 1).long(), "classes": labels}


@pytest.mark.parametrize("variant", ["se_resnet50", "unet"])
def test_the_gradient_reaches_every_parameter(variant: str) -> None:
    config = UseNetConfig(variant=variant, width=4, patch_px=64, weights="random", class_head=True)
    network = UseNet(config, 3).train()

    use_net.loss(config)(network(_image(batch=2)), _targets(batch=2), torch.ones(4)).backward()

    # A bias before a batch norm shifts nothing: what it gets is rounding.
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in without if not name.startswith("trunk.decoder.blocks")] == []


def test_squeezes_may_have_the_biases_of_published_weights() -> None:
    with torch.device("meta"):
        assert _count(UseNet(UseNetConfig(squeeze_bias=True), 1)) == 35_037_186 + 16_048


def test_a_sample_s_targets_follow_from_its_nuclei() -> None:
    instances = np.zeros((32, 32), np.int32)
    instances[4:20, 4:20], instances[4:20, 20:30] = 3, 9
    labels = np.full((32, 32), 2, np.uint8)
    labels[4:20, 4:20], labels[:, 30:], labels[4:20, 20:30] = 0, IGNORE_INDEX, IGNORE_INDEX

    made = use_net.encoder(UseNetConfig(marker="shape"))(_truth(labels, instances))

    assert list(made) == ["mask", "marker", "classes"]
    assert (made["mask"] == np.where(instances > 0, 1, np.where(labels == 2, 0, IGNORE_INDEX))).all()
    assert 0 < (made["marker"] == 1).sum() < (made["mask"] == 1).sum()
    assert (made["classes"] == np.where(instances == 3, 0, IGNORE_INDEX)).all()
    assert "marker" not in use_net.encoder(UseNetConfig(marker="none"))(_truth(labels, instances))


def test_without_single_nuclei_there_is_nothing_to_learn() -> None:
    with pytest.raises(InvalidValueError, match="single nuclei"):
        use_net.encoder(UseNetConfig())(_truth(np.zeros((4, 4), np.uint8), None))


def _truth(labels: np.ndarray, instances: np.ndarray | None) -> Truth:
    return Truth(labels=labels, instances=instances, mpp=0.25, classes=3)


def test_classes_cost_in_nuclei_only_and_by_their_weight() -> None:
    config = UseNetConfig(class_head=True, class_cost=2.0)
    draw = torch.Generator().manual_seed(0)
    outputs = {
        name: torch.randn(1, k, 8, 8, generator=draw) for name, k in (("mask", 1), ("marker", 1), ("classes", 3))
    }
    targets = _targets(8)
    plain = use_net.loss(config)({name: outputs[name] for name in ("mask", "marker")}, targets, torch.ones(4))
    targets["classes"][:] = IGNORE_INDEX
    targets["classes"][0, 2, 5] = 1

    cost = use_net.loss(config)(outputs, targets, torch.tensor([1.0, 0.5, 1.0, 9.0])) - plain

    assert cost.item() == pytest.approx(-2 * outputs["classes"][0, :, 2, 5].log_softmax(0)[1].item(), rel=1e-4)


def test_without_a_marker_the_mask_alone_is_learned() -> None:
    config, mask = UseNetConfig(marker="none"), torch.randn(1, 1, 8, 8)

    targets = {"mask": _targets(8)["mask"]}

    assert torch.isfinite(use_net.loss(config)({"mask": mask}, targets, torch.ones(1)))


def test_probabilities_are_of_the_classes_of_nuclei_and_last_of_what_is_none() -> None:
    outputs = {"mask": torch.zeros(1, 1, 2, 2), "marker": torch.randn(1, 1, 2, 2), "classes": torch.randn(1, 3, 2, 2)}

    shares = use_net.probabilities(outputs)

    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(shares[:, -1], 0.5)
    np.testing.assert_allclose(shares[:, :3], 0.5 * outputs["classes"].softmax(1), rtol=1e-6)
    assert use_net.probabilities({"mask": torch.zeros(1, 1, 2, 2)}).shape == (1, 2, 2, 2)


def test_nuclei_are_decoded_from_every_output_on_its_own() -> None:
    outputs = {"mask": torch.zeros(1, 1, 2, 2), "marker": torch.ones(1, 1, 2, 2), "classes": torch.randn(1, 3, 2, 2)}

    maps = use_net.maps(outputs)

    np.testing.assert_allclose(maps[0, :2, 0, 0], [0.5, 1 / (1 + np.exp(-1))], rtol=1e-6)
    np.testing.assert_allclose(maps[:, 2:].sum(1), 1, rtol=1e-6)
    assert use_net.maps({"mask": outputs["mask"]}).shape == (1, 1, 2, 2)


@torch.no_grad()
def test_networks_may_see_optical_density_instead_of_intensity() -> None:
    plain, network = _network(), _network(pixels="density")
    network.load_state_dict(plain.state_dict())
    image = _image()

    assert torch.equal(network(image)["mask"], plain({"x1": optical_density(image["x1"])})["mask"])


@torch.no_grad()
def test_corners_may_be_left_free() -> None:
    kept, free = _network("resnet18"), _network("resnet18", align_corners=False)
    free.load_state_dict(kept.state_dict())

    assert not torch.equal(kept(_image())["mask"], free(_image())["mask"])


def test_the_small_preset_is_a_small_network() -> None:
    own = {item.name for item in fields(UseNetConfig)}
    config = UseNetConfig(**{name: value for name, value in SMALL.items() if name in own})
    recipe = replace(RECIPE, **{name: value for name, value in SMALL.items() if name not in own})

    assert config.variant == "unet"
    assert recipe.epochs < RECIPE.epochs
    assert _count(UseNet(config, 2)) < 3_000_000
