from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import FieldOfView, View
from qpbridge.errors import InvalidValueError
from qpbridge.models.blocks import center, optical_density
from qpbridge.models.encoder_decoder import Decoder
from qpbridge.models.families import dmmn
from qpbridge.models.families.dmmn import ARCHITECTURES, DMMN, Dmmn, DmmnConfig
from qpbridge.models.family import LABELS

VARIANTS = list(ARCHITECTURES)


def _assert_close(found: Tensor, expected: Tensor) -> None:
    # torch's own comparison imports its compiler, which takes seconds.
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)


def _network(variant: str, **settings: object) -> Dmmn:
    torch.manual_seed(0)
    return Dmmn(DmmnConfig(**{"variant": variant, "width": 2, "patch_px": 64, **settings}), 3).eval()


def _views(network: Dmmn, edge: int = 64, batch: int = 1) -> dict[str, Tensor]:
    return {name: torch.rand(batch, 3, edge, edge) for name in network.view_names}


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [
        ("segnet", 18_881_543),
        ("unet", 34_550_663),
        ("s2", 34_554_119),
        ("ms", 30_647_207),
        ("m2s", 25_947_047),
        ("m3", 27_071_303),
    ],
)
def test_the_parameters_are_as_many_as_published(variant: str, parameters: int) -> None:
    with torch.device("meta"):
        network = Dmmn(DmmnConfig(variant=variant, extra_outputs=1), DMMN.paper_classes)

    assert sum(weights.numel() for weights in network.parameters()) == parameters


def test_the_finest_view_comes_first_and_the_others_have_twice_and_four_times_its_pixel_size() -> None:
    config = DmmnConfig(mpp=0.25, patch_px=128)

    assert dmmn.views(config) == tuple(
        View(name=f"x{ratio}", fov=FieldOfView(size_px=128, mpp=0.25 * ratio)) for ratio in (1, 2, 4)
    )
    assert [len(dmmn.views(DmmnConfig(variant=variant))) for variant in VARIANTS] == [3, 3, 3, 3, 1, 1]


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_any_edge_that_the_divisor_divides_will_do(variant: str) -> None:
    network = _network(variant)

    for edge in (network.divisor, 2 * network.divisor, 3 * network.divisor):
        assert network(_views(network, edge))["logits"].shape == (1, 3, edge, edge)
    oblong = {name: torch.rand(1, 3, network.divisor, 3 * network.divisor) for name in network.view_names}
    assert network(oblong)["logits"].shape == (1, 3, network.divisor, 3 * network.divisor)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_edge_that_the_divisor_does_not_divide_is_refused(variant: str) -> None:
    with pytest.raises(InvalidValueError, match=f"patch_px=72 .*{variant} takes multiples of"):
        DmmnConfig(variant=variant, patch_px=72)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_view_matters_for_the_output(variant: str) -> None:
    network = _network(variant, norm="batch").train()
    views = {name: x.requires_grad_() for name, x in _views(network, 128, batch=2).items()}

    network(views)["logits"].square().sum().backward()

    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in views.values())


@pytest.mark.parametrize("variant", ["m3", "m2s", "ms"])
def test_a_pixel_depends_on_each_view_around_its_own_place(variant: str) -> None:
    """Gradient of one output pixel lies, in every view, around the point of the slide that the pixel shows."""
    torch.manual_seed(0)
    network = Dmmn(DmmnConfig(variant=variant, width=4, patch_px=256, norm="batch"), 2).train()
    views = {name: x.requires_grad_() for name, x in _views(network, 256, batch=2).items()}
    row, column = 40, 200

    network(views)["logits"][0, :, row : row + 16, column : column + 16].sum().backward()

    for name, ratio in (("x1", 1), ("x2", 2), ("x4", 4)):
        gradient = views[name].grad
        assert gradient is not None
        peak = _peak(gradient[0].abs().sum(0))
        expected = [128 + (place + 8 - 128) / ratio for place in (row, column)]
        assert peak == pytest.approx(expected, abs=20 / ratio + 4), name


def _peak(weights: Tensor) -> list[float]:
    window = torch.nn.functional.avg_pool2d(weights[None, None], 9, stride=1, padding=4)[0, 0]
    return [float(i) for i in divmod(int(window.argmax()), weights.shape[1])]


@pytest.mark.parametrize("variant", ["m3", "m2s"])
@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (192, 128), (256, 256)])
@torch.no_grad()
def test_context_decoded_at_its_center_only_gives_what_all_of_it_gives(
    variant: str, rows: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _network(variant, norm="batch", width=4)
    views = {name: torch.rand(1, 3, rows, columns) for name in network.view_names}
    expected = network(views)["logits"]
    decode, halved = Decoder.forward, []

    def decode_all(
        decoder: Decoder, encoded: Sequence[Tensor], guests: Sequence[Sequence[Tensor]] = ((),) * 5, halvings: int = 0
    ) -> list[Tensor]:
        halved.append(halvings)
        return [
            center(level, level.shape[-2] >> halvings, level.shape[-1] >> halvings)
            for level in decode(decoder, encoded, guests)
        ]

    monkeypatch.setattr(Decoder, "forward", decode_all)

    _assert_close(network(views)["logits"], expected)
    assert sorted(halved) == [0, 1, 2]


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_networks_may_see_optical_density_instead_of_intensity(variant: str) -> None:
    plain, network = _network(variant), _network(variant, pixels="density")
    network.load_state_dict(plain.state_dict())
    views = _views(network)

    dense = {name: optical_density(view) for name, view in views.items()}

    assert torch.equal(network(views)["logits"], plain(dense)["logits"])
    assert not torch.equal(network(views)["logits"], plain(views)["logits"])


def test_pixels_are_seen_in_a_known_way_only() -> None:
    assert DmmnConfig().pixels == "intensity"
    with pytest.raises(InvalidValueError, match=r"pixels=log.*one of intensity, density"):
        DmmnConfig(pixels="log")


def test_guests_of_m3_are_as_wide_as_the_paper_draws_them() -> None:
    with torch.device("meta"):
        network = Dmmn(DmmnConfig(), 6)

    ups = network.trunk.decoders[0].ups
    assert [(up[0].in_channels, up[0].out_channels) for up in ups] == [(96, 32), (224, 64), (448, 128), (896, 256)]


@torch.no_grad()
def test_unpooling_equals_torch_s_own() -> None:
    x = torch.rand(2, 3, 8, 12).to(memory_format=torch.channels_last)
    pooled, index = torch.nn.functional.max_pool2d(x, 2, return_indices=True)

    assert torch.equal(dmmn._unpool(pooled, index), torch.nn.functional.max_unpool2d(pooled, index, 2))


def test_extra_outputs_never_win_and_are_never_learned_towards() -> None:
    network = _network("unet", extra_outputs=2)
    outputs = network(_views(network))
    target = torch.zeros(1, 64, 64, dtype=torch.int64)
    logits = torch.cat([outputs["logits"], outputs["unlabelled"]], dim=1)

    assert outputs["logits"].shape[1] == 3
    assert outputs["unlabelled"].shape[1] == 2
    _assert_close(DMMN.probabilities(outputs).sum(1), torch.ones(1, 64, 64))
    loss = dmmn.loss(outputs, {LABELS: target}, torch.ones(3))
    _assert_close(loss, torch.nn.functional.cross_entropy(logits, target))


def test_the_loss_takes_no_notice_of_unlabelled_pixels() -> None:
    logits = torch.rand(1, 2, 4, 4)
    target = torch.full((1, 4, 4), IGNORE_INDEX)
    target[0, 0, 0] = 1

    loss = dmmn.loss({"logits": logits}, {LABELS: target}, torch.ones(2))

    assert loss.item() == pytest.approx(-logits[0, :, 0, 0].log_softmax(0)[1].item())


def test_the_paper_s_network_has_no_normalization_and_zero_biases() -> None:
    network = Dmmn(DmmnConfig(variant="unet", width=2), 2)

    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())
    biases = [weights for name, weights in network.named_parameters() if name.endswith("bias")]
    assert len(biases) == 24  # 18 convolutions in blocks, 4 ups, 2 in the head
    assert all((bias == 0).all() for bias in biases)


@torch.no_grad()
def test_memory_order_does_not_change_the_output() -> None:
    network = _network("m3", norm="batch")
    views = _views(network)

    ordered = {name: x.to(memory_format=torch.channels_last) for name, x in views.items()}
    expected = network(views)["logits"]

    _assert_close(network.to(memory_format=torch.channels_last)(ordered)["logits"], expected)
