"""Processes that train one network together, each on a part of every batch and with a GPU of its own.

Gradients are added up between processes once each has those of its whole part: so one that runs out of memory can halve
what it computes at once, and parts may be of any size, which a wrapper around the network would not allow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

from qpbridge.core.processes import number_on_machine, process_count
from qpbridge.errors import InvalidValueError

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """The processes of a training, as one of them sees them; one alone needs nobody.

    Parameters
    ----------
    rank : int
        Of this one, from 0 on.
    size : int
        How many there are.
    device : str
        Where tensors must lie to be exchanged.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """Whether this is the one that speaks and writes for all."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the own part of some items: parts are of nearly equal size, the first ones the larger."""
        least, more = divmod(len(items), self.size)
        start = self.rank * least + min(self.rank, more)
        return items[start : start + least + (self.rank < more)]

    def seed(self, *numbers: int) -> None:
        """Begin chance inside networks anew, for each process otherwise; one alone goes on as it is."""
        if self.size > 1:
            torch.manual_seed(int(np.random.SeedSequence([*numbers, self.rank]).generate_state(1)[0]))

    def total(self, own: Tensor) -> Tensor:
        """Return the sum of what each process has, on the CPU; all have the same shape and type."""
        if self.size == 1:
            return own
        shared = own.to(self.device, copy=True)
        self._add_up(shared)
        return shared.cpu()

    @torch.no_grad()
    def begin(self, network: nn.Module) -> None:
        """Give all processes the first one's weights and statistics."""
        if self.size > 1:
            self._send_out(network.state_dict().values())

    @torch.no_grad()
    def join(self, network: nn.Module, loss: float, count: int) -> float:
        """Add up gradients, take the mean of batch statistics, and return the loss of the whole batch.

        Parameters
        ----------
        network : Module
            With the gradients of this process's part, already weighted as the part is in the batch.
        loss : float
            Of the part, weighted alike.
        count : int
            Samples in the part; 0 where there was none, so that neither gradients nor statistics are new.
        """
        if self.size == 1:
            return loss
        weights = [one for one in network.parameters() if one.requires_grad]
        for one in weights:
            if one.grad is None:
                one.grad = torch.zeros_like(one)
        statistics = [one for one in network.buffers() if one.is_floating_point()]
        shared = [one.grad for one in weights if one.grad is not None] + statistics
        has_worked = float(count > 0)
        for statistic in statistics:
            statistic.mul_(has_worked)
        told = torch.tensor([loss, has_worked], device=self.device)
        flat = torch.cat([*(one.reshape(-1) for one in shared), told])
        self._add_up(flat)
        parts = torch.split(flat, [one.numel() for one in (*shared, told)])
        for own, part in zip((*shared, told), parts, strict=True):
            own.copy_(part.view(own.shape))
        whole, working = told.tolist()
        for statistic in statistics:
            statistic.div_(working)
        self._send_out(one for one in network.buffers() if not one.is_floating_point())
        return float(whole)

    def _add_up(self, shared: Tensor) -> None:
        distributed.all_reduce(shared)

    def _send_out(self, tensors: Iterable[Tensor]) -> None:
        for one in tensors:
            # Weights may lie in memory in another order than their axes.
            whole = one.contiguous()
            distributed.broadcast(whole, src=0)
            one.copy_(whole)


ALONE: Final = Team()


def own_device(name: str) -> str:
    """Return the device of this process, of several each its own GPU, for a name as in ``choose_device``.

    Raises
    ------
    InvalidValueError
        If one of several processes is told which GPU to take.
    """
    if process_count() == 1 or name == "cpu":
        return name
    if name not in ("auto", "cuda"):
        raise InvalidValueError(
            f"--device {name} does not work with several processes, each of which takes a GPU of its own: leave it out"
        )
    return f"cuda:{number_on_machine()}" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Team]:
    """Meet the other processes, where torchrun started several.

    Parameters
    ----------
    device : torch.device
        Of this process.
    """
    if process_count() == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(rank=distributed.get_rank(), size=distributed.get_world_size(), device=str(device))
    finally:
        distributed.destroy_process_group()
