import pytest
import torch
from torch import Tensor, nn

from qpbridge.models.families.dmmn import DMMN, DmmnConfig
from qpbridge.models.registry import build
from qpbridge.models.spec import ModelClass, ModelSpec
from qpbridge.training.fitting.transfer import transfer


def spec_of(*names: str, width: int = 4, extra_outputs: int = 0) -> ModelSpec:
    config = DmmnConfig(variant="unet", width=width, patch_px=32, norm="batch", extra_outputs=extra_outputs)
    return DMMN.spec(config, [ModelClass(name=name, color_rgb=(0, 0, 0)) for name in names])


def network_of(spec: ModelSpec, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build(spec).eval()


def begun(network: nn.Module, spec: ModelSpec, older: nn.Module, older_spec: ModelSpec) -> nn.Module:
    network.load_state_dict(transfer(network, spec, older.state_dict(), older_spec).weights)
    return network


@torch.no_grad()
def logits(network: nn.Module) -> Tensor:
    outputs: dict[str, Tensor] = network({"x1": torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(5))})
    return outputs["logits"][0]


@pytest.mark.parametrize("extra_outputs", [0, 1])
@pytest.mark.parametrize(
    ("before", "after"),
    [("abcd", "abcd"), ("abcd", "dcba"), ("abc", "abcd"), ("abcd", "db"), ("ab", "xayb"), ("abcd", "axcd")],
)
def test_each_class_keeps_its_output_wherever_it_stands(before: str, after: str, extra_outputs: int) -> None:
    older_spec, spec = (spec_of(*names, extra_outputs=extra_outputs) for names in (before, after))
    older, fresh = network_of(older_spec, 0), network_of(spec, 1)
    own = fresh.state_dict()["head.1.bias"].clone()

    new = begun(fresh, spec, older, older_spec)

    for position, name in enumerate(after):
        if name in before:
            torch.testing.assert_close(logits(new)[position], logits(older)[before.index(name)])
        else:
            assert new.state_dict()["head.1.bias"][extra_outputs + position] == own[extra_outputs + position]


def test_what_does_not_fit_keeps_its_own_weights_and_is_told() -> None:
    older_spec, spec = spec_of("a", "b", width=4), spec_of("a", "b", width=8)
    older, fresh = network_of(older_spec, 0), network_of(spec, 1)

    taken = transfer(fresh, spec, older.state_dict(), older_spec)

    assert set(taken.weights) == set(fresh.state_dict())
    assert "head.1.bias" not in taken.drawn_anew
    assert "head.1.weight" in taken.drawn_anew
    assert torch.equal(taken.weights["head.1.weight"], fresh.state_dict()["head.1.weight"])


def test_the_older_model_stays_as_it_is() -> None:
    spec = spec_of("a", "b")
    older, fresh = network_of(spec, 0), network_of(spec, 1)
    before = {name: value.clone() for name, value in older.state_dict().items()}

    new = begun(fresh, spec, older, spec)
    with torch.no_grad():
        for weights in new.parameters():
            weights.zero_()

    assert all(torch.equal(value, before[name]) for name, value in older.state_dict().items())
