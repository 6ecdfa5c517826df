import copy
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from shapely import box
from torch import Tensor, nn

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import InvalidValueError
from qpbridge.inference.device import Runtime
from qpbridge.models.families.dmmn import DMMN, DmmnConfig
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import ModelClass
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.training.fitting.loop import Fitted, Trainer
from qpbridge.training.patches import LabelledSlide, Labels, PatchSet
from qpbridge.training.reading import PatchReader, SampleMaker
from qpbridge.training.team import ALONE, Team, joined, own_device

Given = TypeVar("Given")
SPEC = DMMN.spec(
    DmmnConfig(variant="unet", width=2, patch_px=64, norm="batch"),
    [ModelClass(name=name, color_rgb=(0, 0, 0)) for name in ("Red", "Green")],
)
RECIPE = Recipe(
    optimizer="adamw", learning_rate=0.02, batch_size=4, epochs=3, repeats_max=0, samples_per_epoch=9,
    sampling="errors", gradient_clip=1.0, ema_decay=0.9,
)  # fmt: skip


@dataclass
class Meeting:
    """Where two threads that stand for processes exchange tensors."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=30))
    brought: dict[int, Tensor] = field(default_factory=dict)

    def bring(self, rank: int, tensor: Tensor) -> list[Tensor]:
        self.brought[rank] = tensor.clone()
        self.barrier.wait()
        found = [self.brought[0], self.brought[1]]
        self.barrier.wait()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread(Team):
    meeting: Meeting

    def _add_up(self, shared: Tensor) -> None:
        shared.copy_(sum(self.meeting.bring(self.rank, shared)))

    def _send_out(self, tensors: Iterable[Tensor]) -> None:
        for one in tensors:
            one.copy_(self.meeting.bring(self.rank, one)[0])


def together(work: Callable[[Team], Given]) -> list[Given]:
    """Let two processes do the same work."""
    meeting = Meeting()
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, [Thread(rank=rank, size=2, meeting=meeting) for rank in (0, 1)]))


def network_of(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)).to(
        memory_format=torch.channels_last  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8])
def test_parts_hold_everything_once_and_the_first_are_the_larger(count: int) -> None:
    parts = [Team(rank=rank, size=3).share(list(range(count))) for rank in range(3)]

    assert [one for part in parts for one in part] == list(range(count))
    assert [len(part) for part in parts] == sorted((len(part) for part in parts), reverse=True)
    assert len(parts[0]) - len(parts[2]) <= 1
    assert ALONE.share([1, 2]) == [1, 2]


def test_all_begin_with_the_weights_of_the_first() -> None:
    networks = [network_of(seed) for seed in (0, 1)]

    together(lambda team: team.begin(networks[team.rank]))

    wanted = network_of(0).state_dict()
    for network in networks:
        assert all(torch.equal(value, wanted[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("shares", [(2, 2), (3, 1), (4, 0)])
def test_gradients_add_up_and_statistics_are_means_over_those_who_worked(shares: tuple[int, int]) -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    parts = list(images.split([one for one in shares if one]))
    # Made once: two threads that seed and draw at once would get other weights.
    first, statistics = network_of(0), []
    alone = copy.deepcopy(first)
    whole = 0.0
    for part in parts:
        twin = copy.deepcopy(first)
        loss = (twin(part) ** 2).mean() * len(part) / 4
        loss.backward()
        whole += float(loss.detach())
        statistics.append(twin[1].running_mean)  # type: ignore[index]
        for own, other in zip(alone.parameters(), twin.parameters(), strict=True):
            own.grad = other.grad if own.grad is None or other.grad is None else own.grad + other.grad

    def work(team: Team) -> tuple[nn.Module, float]:
        network, own_loss = copy.deepcopy(first), 0.0
        if team.rank < len(parts):
            loss = (network(parts[team.rank]) ** 2).mean() * len(parts[team.rank]) / 4
            loss.backward()
            own_loss = float(loss.detach())
        return network, team.join(network, own_loss, shares[team.rank])

    for network, loss in together(work):
        assert loss == pytest.approx(whole)
        for own, wanted in zip(network.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(own.grad, wanted.grad)
            assert own.grad is not None
            assert own.grad.stride() == own.stride()
        norm: Any = network[1]  # type: ignore[index]
        torch.testing.assert_close(norm.running_mean, torch.stack(statistics).mean(0))
        assert int(norm.num_batches_tracked) == 1


def test_one_alone_has_nobody_to_ask() -> None:
    network, counts = network_of(0), torch.tensor([1, 2])

    assert ALONE.join(network, 0.5, 3) == 0.5
    assert ALONE.total(counts) is counts
    before = torch.get_rng_state()
    ALONE.seed(1, 2)
    assert torch.equal(torch.get_rng_state(), before)
    with joined(torch.device("cpu")) as team:
        assert team is ALONE


def test_each_process_has_chances_of_its_own() -> None:
    draws = []
    for rank in (0, 1, 0):
        Team(rank=rank, size=2).seed(7, 1)
        draws.append(torch.rand(3))

    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])


def trainer_of(recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(DMMN, SPEC, recipe, Runtime(device=torch.device("cpu")), 0)


def fit(trainer: Trainer, team: Team, slide: LabelledSlide) -> Fitted:
    labels = Labels([slide], SPEC.views[0].fov, 2)
    patches, counts = labels.find(64, 0.01, SilentProgress())
    samples = PatchSet(patches=patches, counts=counts, labels=labels)
    maker = SampleMaker(PatchReader([slide], SPEC.views), SPEC.views, RECIPE, 0, DMMN.encoding(SPEC))
    trainer.join(team)
    return trainer.fit(samples, samples, maker, SilentProgress())


@pytest.fixture
def slide() -> LabelledSlide:
    pixels = np.random.default_rng(0).integers(60, 140, (128, 192, 3)).astype(np.uint8)
    pixels[:, 100:, 0] -= 50
    shapes = ((box(0, 0, 100, 128), 0), (box(100, 0, 192, 100), 1))
    source = ArraySource([pixels])
    return LabelledSlide(key="1", slide=Slide(source), calibration=PixelCalibration.square(0.5), shapes=shapes)


def test_two_processes_lose_what_one_does_with_the_same_batches(slide: LabelledSlide) -> None:
    alone, trainers = fit(trainer_of(), ALONE, slide), [trainer_of(), trainer_of()]

    both = together(lambda team: fit(trainers[team.rank], team, slide))

    # The last of nine samples is a batch of its own, of which the second process has nothing.
    for one in both:
        for found, wanted in zip(one.records, alone.records, strict=True):
            assert found.training_loss == pytest.approx(wanted.training_loss, rel=1e-4)
            assert found.validation_loss == pytest.approx(wanted.validation_loss, rel=1e-4)
        assert np.array_equal(one.confusion.counts, alone.confusion.counts)
    weights = [one.network.state_dict().values() for one in both]
    assert all(torch.equal(first, second) for first, second in zip(*weights, strict=True))


def test_a_batch_must_have_a_patch_for_each_process() -> None:
    with pytest.raises(InvalidValueError, match="batch_size=1 does not work: each of 2 processes"):
        trainer_of(replace(RECIPE, batch_size=1)).join(Team(size=2))


def test_each_of_several_processes_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_device("cuda:3") == "cuda:3"
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "2"), ("LOCAL_RANK", "2")):
        monkeypatch.setenv(name, value)

    assert own_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (own_device("auto"), own_device("cuda")) == ("cuda:2", "cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device("auto") == "cpu"
    with pytest.raises(InvalidValueError, match="--device cuda:1"):
        own_device("cuda:1")
