import copy
import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from qpbridge.training.fitting.crew import Crew, draws_at_random, part_count


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def network_of(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def loss_of(network: nn.Module, part: Tensor) -> Tensor:
    return (network(part) ** 2).mean()


def samples(count: int) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(count))


def shares(sizes: list[int]) -> list[float]:
    return [size / sum(sizes) for size in sizes]


def gradients_of(network: nn.Module) -> list[Tensor]:
    return [weights.grad.clone() for weights in network.parameters() if weights.grad is not None]


@pytest.mark.parametrize(
    ("batch_size", "cores", "parts"), [(1, 8, 1), (3, 8, 1), (4, 8, 2), (8, 2, 2), (8, 16, 4), (16, 1, 2)]
)
def test_a_batch_is_cut_as_cores_and_samples_allow_but_in_two_at_least(batch_size: int, cores: int, parts: int) -> None:
    assert part_count(batch_size, cores) == parts


@pytest.mark.parametrize("sizes", [[4, 4], [5, 3], [3, 3, 2], [4]])
def test_gradients_of_parts_are_those_of_their_mean_loss(sizes: list[int]) -> None:
    network = network_of()
    alone = copy.deepcopy(network)
    parts = list(samples(sum(sizes)).split(sizes))

    with Crew(network, 3) as crew:
        crew.train()
        loss = crew.learn(loss_of, parts, shares(sizes))

    alone.train()
    whole = sum(loss_of(alone, part) * size / sum(sizes) for part, size in zip(parts, sizes, strict=True))
    assert isinstance(whole, Tensor)
    whole.backward()  # type: ignore[no-untyped-call]
    assert loss == pytest.approx(float(whole.detach()))
    for joined, expected in zip(gradients_of(network), gradients_of(alone), strict=True):
        torch.testing.assert_close(joined, expected)


def test_many_steps_keep_the_crew_of_one_mind_and_one_seed_gives_one_network() -> None:
    def fit() -> nn.Module:
        network = network_of()
        with Crew(network, 2) as crew:
            optimizer = torch.optim.AdamW(network.parameters(), lr=0.05)
            for step in range(20):
                optimizer.zero_grad(set_to_none=True)
                crew.train()
                sizes = [8, 2 + step % 3] if step % 4 else [8]  # a last batch may need fewer of the crew
                parts = list(samples(sum(sizes)).split(sizes))
                crew.learn(loss_of, parts, shares([len(part) for part in parts]))
                optimizer.step()
            replica = crew._networks[1]
            for own, shared in zip(replica.state_dict().values(), network.state_dict().values(), strict=True):
                assert torch.equal(own, shared)
        return network

    one, same = fit(), fit()

    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True))
    assert not torch.equal(one[0].weight, network_of()[0].weight)  # type: ignore[index]


def test_batch_statistics_are_the_mean_over_the_parts() -> None:
    network = network_of()
    norm, first = network[1], network[0]  # type: ignore[index]
    parts = list(samples(8).split(4))

    with Crew(network, 2) as crew:
        crew.train()
        crew.learn(loss_of, parts, [0.5, 0.5])

    means = torch.stack([first(part).mean(dim=0) for part in parts]).mean(dim=0).detach()
    torch.testing.assert_close(norm.running_mean, 0.1 * means)
    assert int(norm.num_batches_tracked) == 1


def test_results_come_in_the_order_of_the_parts() -> None:
    def slow(number: int) -> tuple[int, str]:
        time.sleep(0.02 * (number == 0))
        return number, threading.current_thread().name

    with Crew(network_of(), 2) as crew:
        results = crew.map(slow, [0, 1])
    with Crew(network_of(), 1) as crew:
        alone = crew.map(slow, [0, 1])

    assert [number for number, _ in results] == [number for number, _ in alone] == [0, 1]
    assert len({name for _, name in results}) == 2
    assert {name for _, name in alone} == {threading.current_thread().name}


def test_a_failure_of_one_part_is_told_and_the_threads_end() -> None:
    def fail(network: nn.Module, part: Tensor) -> Tensor:
        if len(part) == 3:
            raise MemoryError("too much")
        return loss_of(network, part)

    before = threading.active_count()

    with pytest.raises(MemoryError, match="too much"), Crew(network_of(), 2) as crew:
        crew.learn(fail, list(samples(7).split([4, 3])), shares([4, 3]))

    assert threading.active_count() == before
    assert torch.get_num_threads() == 2


def test_each_of_the_crew_gets_its_share_of_threads_while_it_works() -> None:
    with Crew(network_of(), 2):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with Crew(network_of(), 1):
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_one_source_of_chance_serves_one_part_after_the_other(p: float) -> None:
    def fit() -> nn.Module:
        network = nn.Sequential(network_of(), nn.Dropout(p))
        with Crew(network, 4) as crew:
            for step in range(5):
                crew.learn(loss_of, list(samples(8 + 4 * step).split(2 + step)), [0.25] * 4)
        return network

    assert draws_at_random(nn.Sequential(nn.Dropout2d(p))) == (p > 0)
    assert all(torch.equal(a, b) for a, b in zip(gradients_of(fit()), gradients_of(fit()), strict=True))


def test_one_core_gives_what_two_give() -> None:
    def fit(cores: int) -> nn.Module:
        torch.set_num_threads(cores)
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 3))
        images = torch.rand(8, 3, 40, 40, generator=torch.Generator().manual_seed(1))
        with Crew(network, part_count(8, cores)) as crew:
            crew.train()
            crew.learn(loss_of, list(images.split(4)), [0.5, 0.5])
        return network

    assert all(torch.equal(a, b) for a, b in zip(gradients_of(fit(1)), gradients_of(fit(2)), strict=True))
