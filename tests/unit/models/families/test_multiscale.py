import numpy as np
import pytest
import torch
from torch import Tensor

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import FieldOfView, View
from qpbridge.errors import InvalidValueError
from qpbridge.models.families import multiscale
from qpbridge.models.families.multiscale import ARCHITECTURES, Multiscale, MultiscaleConfig
from qpbridge.models.family import LABELS, Truth
from qpbridge.models.registry import configure

VARIANTS = list(ARCHITECTURES)
MERGING = [name for name, one in ARCHITECTURES.items() if one.merged]
TINY: dict[str, object] = {"backbone": "light", "width": 4, "patch_px": 64, "norm": "batch"}


def _config(variant: str, **settings: object) -> MultiscaleConfig:
    return MultiscaleConfig(**{**TINY, "variant": variant, **settings})


def _network(variant: str, **settings: object) -> Multiscale:
    torch.manual_seed(0)
    return Multiscale(_config(variant, **settings), 3).eval()


def _views(variant: str, rows: int = 64, columns: int = 64, batch: int = 1) -> dict[str, Tensor]:
    return {view.name: torch.rand(batch, 3, rows, columns) for view in multiscale.views(_config(variant))}


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [
        ("unet", 17_804_164),
        ("msy4", 29_242_820),
        ("msy16", 29_244_872),
        ("msui", 28_982_764),
        ("msyi", 40_421_420),
        ("msy2", 40_683_528),
        ("msy_mm2", 40_954_376),
        ("msy_mm_i_mm", 40_954_412),
    ],
)
def test_the_parameters_are_as_many_as_published(variant: str, parameters: int) -> None:
    with torch.device("meta"):
        network = Multiscale(MultiscaleConfig(variant=variant, norm="none"), 4)

    assert sum(weights.numel() for weights in network.parameters()) == parameters


def test_every_variant_sees_the_contexts_that_it_is_named_after() -> None:
    ratios = {
        "unet": (1,), "msy4": (1, 4), "msy16": (1, 16), "msui": (1, 16), "msyi": (1, 4, 16), "msy2": (1, 4, 16),
        "msy_mm2": (1, 4, 16), "msy_mm_i_mm": (1, 4, 16),
    }  # fmt: skip

    for variant, expected in ratios.items():
        config = MultiscaleConfig(variant=variant, mpp=0.25)
        assert multiscale.views(config) == tuple(
            View(name=f"x{ratio}", fov=FieldOfView(size_px=512, mpp=0.25 * ratio)) for ratio in expected
        )


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_any_edges_that_the_divisor_divides_will_do(variant: str) -> None:
    network, divisor = _network(variant), multiscale.divisor(_config(variant))

    for rows, columns in ((divisor, divisor), (divisor, 3 * divisor)):
        outputs = network(_views(variant, rows, columns))
        assert outputs["logits"].shape == (1, 3, rows, columns)
        assert [head.name for head in multiscale.heads(_config(variant), 3)] == list(outputs)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_edge_that_the_divisor_does_not_divide_is_refused(variant: str) -> None:
    with pytest.raises(InvalidValueError, match=f"patch_px=72 .*{variant} takes multiples of"):
        _config(variant, patch_px=72)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_gradient_reaches_every_parameter_and_every_view(variant: str, norm: str) -> None:
    # Without normalization, narrow layers may not answer to anything at all.
    config = _config(variant, norm=norm, width=8)
    torch.manual_seed(1)
    network = Multiscale(config, 3).train()
    views = {name: x.requires_grad_() for name, x in _views(variant, batch=4).items()}
    labels = torch.randint(0, 3, (4, 64, 64))
    presence = torch.tensor([[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]])

    targets = {LABELS: labels, "presence": presence}
    multiscale.loss(network(views), targets, torch.ones(3), config=config).backward()

    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in views.values())


@pytest.mark.parametrize("variant", MERGING)
def test_a_pixel_depends_on_each_view_around_its_own_place(variant: str) -> None:
    """Gradient of some output pixels lies, in every view, around the point of the slide that they show."""
    torch.manual_seed(0)
    edge, row, column = 256, 48, 192
    network = Multiscale(_config(variant, upsampling="centers"), 2).eval()
    views = {name: x.requires_grad_() for name, x in _views(variant, edge, edge).items()}

    network(views)["logits"][0, :, row : row + 16, column : column + 16].square().sum().backward()

    for ratio in (1, *ARCHITECTURES[variant].merged):
        gradient = views[f"x{ratio}"].grad
        assert gradient is not None
        weights, places = gradient[0].abs().sum(0), torch.arange(edge) + 0.5
        found = [float((weights.sum(1 - axis) * places).sum() / weights.sum()) for axis in (0, 1)]
        expected = [edge / 2 + (start + 8 - edge / 2) / ratio for start in (row, column)]
        assert found == pytest.approx(expected, abs=20 if ratio == 1 else 10), ratio


@torch.no_grad()
def test_with_cells_at_their_centers_a_mirrored_slide_gives_the_mirrored_logits() -> None:
    network, views = _network("msy_mm2", upsampling="centers"), _views("msy_mm2", 128, 128)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.copy_(layer.weight + layer.weight.flip(3))

    mirrored = network({name: x.flip(3) for name, x in views.items()})["logits"]

    scale = mirrored.abs().max()
    assert (mirrored.flip(3) - network(views)["logits"]).abs().max() < 1e-4 * scale


@torch.no_grad()
def test_merging_at_every_level_starts_as_the_single_scale_network() -> None:
    single, merging = _network("unet"), _network("msy_mm2")
    merging.encoders["x1"].load_state_dict(single.encoders["x1"].state_dict())
    x = torch.rand(1, 3, 64, 64)
    maps: dict[str, list[Tensor]] = {}
    for name, network in (("single", single), ("merging", merging)):
        contexts = {} if name == "single" else {r: network._encoded(r, _views("msy_mm2")) for r in (4, 16)}
        maps[name] = network._descend(x, contexts)[0]

    for own, merged in zip(maps["single"], maps["merging"], strict=True):
        torch.testing.assert_close(merged, own, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    "setting", [{"merge": "published"}, {"merge": "resized"}, {"upsampling": "centers"}, {"pixels": "density"}], ids=str
)
@torch.no_grad()
def test_every_option_makes_a_difference(setting: dict[str, object]) -> None:
    usual, changed = _network("msy2"), _network("msy2", **setting)
    changed.load_state_dict(usual.state_dict())
    views = _views("msy2", 256, 256)

    assert not torch.allclose(usual(views)["logits"], changed(views)["logits"])


def test_presence_that_is_not_known_costs_nothing() -> None:
    config = _config("msy2", presence_weight=3.0)
    outputs = {"logits": torch.randn(2, 3, 4, 4), "presence": torch.randn(2, 3)}
    labels, presence = torch.randint(0, 3, (2, 4, 4)), torch.tensor([[1, 0, 255], [255, 255, 255]])

    def loss(presence: Tensor) -> Tensor:
        return multiscale.loss(outputs, {LABELS: labels, "presence": presence}, torch.ones(3), config=config)

    alone = torch.nn.functional.cross_entropy(outputs["logits"], labels)
    unknown, both = loss(torch.full((2, 3), IGNORE_INDEX)), loss(presence)

    torch.testing.assert_close(unknown, alone)
    costs = torch.nn.functional.binary_cross_entropy_with_logits(outputs["presence"][0, :2], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(both - alone, 3 * costs)


def test_presence_is_taken_from_what_lies_around() -> None:
    around = np.full((10, 10), IGNORE_INDEX, np.uint8)
    around[:6] = 2
    truth = Truth(labels=np.zeros((4, 4), np.uint8), surroundings=around, mpp=0.2, classes=3)

    found = [
        multiscale.encoder(_config("msy2", absence_min_share=share))(truth)["presence"].tolist() for share in (0.5, 0.9)
    ]

    assert found == [[0, 0, 1], [IGNORE_INDEX, IGNORE_INDEX, 1]]


@pytest.mark.parametrize("kind", ["cross_entropy", "binary"])
def test_unlabelled_pixels_cost_nothing(kind: str) -> None:
    config = _config("unet", segmentation_loss=kind)
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    labels = torch.full((1, 4, 4), IGNORE_INDEX)
    labels[0, 1, 2] = 2

    multiscale.loss({"logits": logits}, {LABELS: labels}, torch.ones(3), config=config).backward()

    assert logits.grad is not None
    assert torch.nonzero(logits.grad.abs().sum(1)[0]).tolist() == [[1, 2]]
    probabilities = multiscale.probabilities({"logits": logits})
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1, 4, 4))
    assert torch.equal(probabilities.argmax(1), logits.argmax(1))


@pytest.mark.parametrize("variant", ["unet", "msy_mm_i_mm"])
@torch.no_grad()
def test_the_seed_determines_the_network(variant: str) -> None:
    views = _views(variant)

    first, second = (_network(variant)(views) for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_small_preset_is_a_light_network() -> None:
    network = Multiscale(configure("multiscale", "small", {})[0], 4)

    assert sum(p.numel() for p in network.parameters()) < 1_000_000
