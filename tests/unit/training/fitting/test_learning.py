import copy
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qpbridge.core.progress import SilentProgress
from qpbridge.errors import DeviceMemoryError
from qpbridge.inference.device import Runtime
from qpbridge.models.family import LABELS
from qpbridge.models.recipe import Recipe
from qpbridge.training.batching import Batch
from qpbridge.training.fitting import learning
from qpbridge.training.fitting.learning import Learner

CPU = Runtime(device=torch.device("cpu"))
RECIPE = Recipe(optimizer="adamw", learning_rate=0.05, schedule="cosine", batch_size=8, ema_decay=0.9, gradient_clip=1)


class Told(SilentProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def network_of(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Dropout(dropout), nn.Linear(5, 1))


def batch_of(seed: int, count: int = 8) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    views = {"x1": torch.rand(count, 3, 2, 2, generator=draw)}
    return Batch(views=views, targets={LABELS: torch.randint(0, 2, (count, 2, 2), generator=draw)})


def loss_of(network: nn.Module, part: Batch) -> Tensor:
    wanted = part.labels.float().mean(dim=(1, 2))
    return ((network(part.views["x1"])[:, 0] - wanted) ** 2).mean()


def learn(learner: Learner, seeds: range, loss: Callable[[nn.Module, Batch], Tensor] = loss_of) -> list[float]:
    with learner:
        learner.crew.train()
        return [learner.learn(batch_of(seed, 8 - seed % 3), loss, 20, SilentProgress()) for seed in seeds]


def weights_of(network: nn.Module) -> list[Tensor]:
    return [weights.detach().clone() for weights in network.parameters()]


@pytest.mark.parametrize("at_once", [1, 3, 8, 100])
def test_gradients_added_up_over_parts_are_those_of_the_batch(at_once: int) -> None:
    whole = Learner(network_of(), RECIPE, CPU)
    parted = Learner(network_of(), Recipe(**{**_values(RECIPE), "patches_at_once": at_once}), CPU)
    seen: list[int] = []

    def counting(network: nn.Module, part: Batch) -> Tensor:
        seen.append(len(part.labels))
        return loss_of(network, part)

    losses, others = learn(whole, range(6)), learn(parted, range(6), counting)

    assert losses == pytest.approx(others, rel=1e-5)
    assert max(seen) <= at_once
    for one, other in zip(weights_of(whole.averaged), weights_of(parted.averaged), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_from_a_checkpoint_on_everything_goes_as_it_would_have_gone(optimizer: str) -> None:
    recipe = Recipe(**{**_values(RECIPE), "optimizer": optimizer, "momentum": 0.9})
    learner = Learner(network_of(dropout=0.5), recipe, CPU)
    learn(learner, range(5))
    left = copy.deepcopy(learner.checkpoint())
    losses = learn(learner, range(5, 12))

    other = Learner(network_of(dropout=0.5), recipe, CPU)
    other.restore(left)

    assert learn(other, range(5, 12)) == losses
    assert other.step == learner.step == 12
    for one, same in zip(weights_of(other.averaged), weights_of(learner.averaged), strict=True):
        assert torch.equal(one, same)


def test_a_batch_that_does_not_fit_is_halved_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "part_count", lambda *_: 1)  # as on a GPU
    told, sizes = Told(), []

    def hungry(network: nn.Module, part: Batch) -> Tensor:
        sizes.append(len(part.labels))
        if len(part.labels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss_of(network, part)

    plain, short = Learner(network_of(), RECIPE, CPU), Learner(network_of(), RECIPE, CPU)
    with plain, short:
        expected = [plain.learn(batch_of(seed), loss_of, 20, told) for seed in range(3)]
        losses = [short.learn(batch_of(seed), hungry, 20, told) for seed in range(3)]

    assert losses == pytest.approx(expected, rel=1e-5)
    assert sizes == [8, 4, *[2] * 12]
    assert [re.sub(r"\D+", " ", text).split() for text in told.warnings] == [["8"], ["4"]]


def test_one_patch_that_does_not_fit_ends_with_advice() -> None:
    def starved(network: nn.Module, part: Batch) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceMemoryError, match=r"single patch.*patch_px"):
        learn(Learner(network_of(), RECIPE, CPU), range(1), starved)


def test_other_errors_are_not_taken_for_lack_of_memory() -> None:
    def broken(network: nn.Module, part: Batch) -> Tensor:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        learn(Learner(network_of(), RECIPE, CPU), range(1), broken)


def _values(recipe: Recipe) -> dict[str, object]:
    return {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}


def test_the_rate_of_tenths_falls_every_thirty_epochs() -> None:
    recipe = Recipe(optimizer="adamw", learning_rate=1e-4, schedule="tenths", batch_size=8, epochs=60)
    learner = Learner(network_of(), recipe, CPU)
    rates = []
    with learner:
        for _ in range(6):  # 10 epochs a step
            learner.learn(batch_of(0), loss_of, 6, SilentProgress())
            rates.append(learner.learning_rate)

    assert rates == pytest.approx([1e-4] * 3 + [1e-5] * 3)
