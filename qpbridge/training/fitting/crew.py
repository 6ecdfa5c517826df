"""Gradients of a batch in parts, one thread a part.

On a CPU this beats threads inside each operation: small networks spend those waiting for one another, ten times
over where another program uses a core.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

LEAST_SAMPLES = 2
"""In a part; batch statistics of fewer are poor."""

Part = TypeVar("Part")
Result = TypeVar("Result")


def part_count(batch_size: int, cores: int) -> int:
    """Return into how many parts a batch is cut on a CPU: as many as there are cores, and no fewer than two.

    So one core gives the weights that two give, to the last bit. More cores round otherwise.
    """
    return max(1, min(max(2, cores), batch_size // LEAST_SAMPLES))


class Crew:
    """A network and replicas that share its weights, but have gradients and batch statistics of their own.

    Parameters
    ----------
    network : nn.Module
        The first of the crew; receives all gradients and the mean of the statistics.
    parts : int
        How many work at once, each on its thread; one after the other where the network draws at random, since all
        threads share one source of chance.
    learns : callable
        The part of a network that learns: only there gradients and statistics are gathered.

    While the crew works, operations of each thread use an equal share of torch's threads.
    """

    def __init__(
        self, network: nn.Module, parts: int, learns: Callable[[nn.Module], nn.Module] = lambda network: network
    ) -> None:
        self._networks = [network, *(_replica(network) for _ in range(parts - 1))]
        self._learning = [learns(one) for one in self._networks]
        self._at_once = 1 if draws_at_random(self._learning[0]) else parts
        self._pool: ThreadPoolExecutor | None = None
        self._threads = torch.get_num_threads()

    def __enter__(self) -> Crew:
        if self._at_once > 1:
            self._pool = ThreadPoolExecutor(self._at_once, thread_name_prefix="crew")
        torch.set_num_threads(max(1, self._threads // self._at_once))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        torch.set_num_threads(self._threads)

    @property
    def parts(self) -> int:
        """Into how many parts a batch is cut."""
        return len(self._networks)

    def train(self) -> None:
        """Put all networks into training mode."""
        for network in self._networks:
            network.train()

    def map(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """Do some work on every part at once; results come in the order of the parts."""
        if self._pool is None or len(parts) == 1:
            return [work(part) for part in parts]
        return list(self._pool.map(work, parts))

    def learn(
        self, loss_of: Callable[[nn.Module, Part], Tensor], parts: Sequence[Part], weights: Sequence[float]
    ) -> float:
        """Add the gradients of some parts of a batch to those in the first network and return the loss.

        Parameters
        ----------
        loss_of : callable
            Loss of a network on a part, a scalar tensor.
        parts : sequence
            Of the batch; at most as many as the crew has.
        weights : sequence of float
            Of the loss of each part; 1 in all over a batch.
        """

        def work(job: tuple[nn.Module, Part, float]) -> float:
            network, part, weight = job
            loss = loss_of(network, part) * weight
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.detach())

        working = self._networks[: len(parts)]
        losses = self.map(work, list(zip(working, parts, weights, strict=True)))
        self._gather(self._learning[: len(parts)])
        return sum(losses)

    @torch.no_grad()
    def share_buffers(self) -> None:
        """Give all networks the statistics of the first; after its state was set from outside."""
        for first, *others in zip(*(network.buffers() for network in self._networks), strict=True):
            for other in others:
                other.copy_(first)

    @torch.no_grad()
    def _gather(self, working: Sequence[nn.Module]) -> None:
        # Always in the same order, so that a seed gives the same weights to the last bit.
        first, others = working[0], working[1:]
        for replica in others:
            for kept, own in zip(first.parameters(), replica.parameters(), strict=True):
                if own.grad is not None:
                    kept.grad = own.grad if kept.grad is None else kept.grad.add_(own.grad)
                own.grad = None
        for buffers in zip(*(network.buffers() for network in self._learning), strict=True):
            if buffers[0].is_floating_point():
                buffers[0].copy_(torch.stack(buffers[: len(working)]).mean(dim=0))
            for other in buffers[1:]:
                other.copy_(buffers[0])


def draws_at_random(network: nn.Module) -> bool:
    """Whether a network's training output depends on chance: it drops out, or a module says ``draws_at_random``."""
    return any(
        getattr(module, "draws_at_random", False) or (isinstance(module, _DropoutNd) and module.p > 0)
        for module in network.modules()
    )


def _replica(network: nn.Module) -> nn.Module:
    replica = copy.deepcopy(network)
    for own, shared in zip(replica.parameters(), network.parameters(), strict=True):
        own.data = shared.data
    return replica
