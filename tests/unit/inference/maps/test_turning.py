import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from qpbridge.core.geometry import FieldOfView, View
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import UnknownNameError
from qpbridge.inference.device import Runtime
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.inference.maps.turning import TURNS, Turn, turns_of
from qpbridge.models.spec import ModelClass

CLASSES = tuple(ModelClass(name=name, color_rgb=(0, 0, 0)) for name in ("Tumor", "Stroma"))
VIEWS = tuple(View(name=name, fov=FieldOfView(size_px=12, mpp=mpp)) for name, mpp in (("fine", 0.5), ("wide", 1.0)))


class Equivariant(nn.Module):
    """Two classes by whether a pixel or the middle half of the wide view is brighter: turns with its views."""

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        edge = views["wide"].shape[-1]
        middle = views["wide"][..., edge // 4 : -(edge // 4), edge // 4 : -(edge // 4)]
        around = middle.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        return {"logits": torch.stack([views["fine"][:, 0], around[:, 0]], dim=1) * 4}


class Lopsided(nn.Module):
    """Two classes by what lies a pixel to the right and below: turns with nothing."""

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        moved = views["fine"].roll((-1, 2), dims=(-1, -2)) + views["wide"].roll(3, dims=-1)
        return {"logits": moved[:, :2] * 4}


def engine_of(network: nn.Module, choice: str) -> Engine:
    segmenter = Segmenter(
        network=network, views=VIEWS, classes=CLASSES, probabilities=lambda outputs: outputs["logits"].softmax(1)
    )
    return Engine(segmenter, Runtime(device=torch.device("cpu")), SilentProgress(), turns_of(choice))


def pixels(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {view.name: torch.randint(0, 256, (3, 12, 12, 3), generator=generator, dtype=torch.uint8) for view in VIEWS}


def turned(batch: dict[str, Tensor], turn: Turn) -> dict[str, Tensor]:
    return {name: turn.there(one.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) for name, one in batch.items()}


@pytest.mark.parametrize("choice", TURNS)
def test_the_turns_of_a_choice_are_a_group(choice: str) -> None:
    square = torch.arange(25).reshape(5, 5)
    reached = {tuple(turn.there(square).flatten().tolist()) for turn in TURNS[choice]}

    pairs = itertools.product(TURNS[choice], repeat=2)

    assert len(reached) == len(TURNS[choice]) == {"none": 1, "flips": 4, "d4": 8}[choice]
    assert {tuple(one.there(other.there(square)).flatten().tolist()) for one, other in pairs} == reached


@pytest.mark.parametrize("turn", TURNS["d4"])
def test_a_turn_back_undoes_a_turn(turn: Turn) -> None:
    squares = torch.arange(2 * 3 * 36).reshape(2, 3, 6, 6)

    assert turn.back(turn.there(squares)).equal(squares)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), choice=st.sampled_from(["flips", "d4"]))
def test_an_average_changes_nothing_where_the_network_turns_with_its_views(seed: int, choice: str) -> None:
    plain = engine_of(Equivariant(), "none").probabilities(pixels(seed))

    averaged = engine_of(Equivariant(), choice).probabilities(pixels(seed))

    torch.testing.assert_close(averaged, plain)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), turn=st.sampled_from(TURNS["d4"]))
def test_an_average_over_all_turns_makes_any_network_turn_with_its_views(seed: int, turn: Turn) -> None:
    engine, batch = engine_of(Lopsided(), "d4"), pixels(seed)

    torch.testing.assert_close(engine.probabilities(turned(batch, turn)), turn.there(engine.probabilities(batch)))


def test_a_network_alone_does_not_turn_with_its_views() -> None:
    engine, batch, turn = engine_of(Lopsided(), "none"), pixels(1), Turn(quarters=1)

    assert not engine.probabilities(turned(batch, turn)).allclose(turn.there(engine.probabilities(batch)))


@pytest.mark.parametrize("choice", TURNS)
def test_probabilities_sum_to_one_and_labels_are_the_likeliest(choice: str) -> None:
    engine = engine_of(Lopsided(), choice)

    probabilities = engine.probabilities(pixels(4))

    torch.testing.assert_close(probabilities.sum(1), torch.ones(3, 12, 12))
    assert engine.labels(pixels(4)).equal(probabilities.argmax(1).to(torch.uint8))


def test_a_choice_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="none, flips, d4"):
        turns_of("d8")
