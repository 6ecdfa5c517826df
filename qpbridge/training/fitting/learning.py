"""One step of learning: gradients of a batch, the optimizer's move, the running mean of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import TracebackType

import torch
from torch import Tensor, nn

from qpbridge.core.progress import Progress
from qpbridge.errors import DeviceMemoryError
from qpbridge.inference.device import Runtime, is_out_of_memory
from qpbridge.models.recipe import Recipe
from qpbridge.training.batching import Batch
from qpbridge.training.fitting.checkpoints import (
    Checkpoint,
    give_moments,
    give_random_states,
    moments_of,
    random_states,
    weights_of,
)
from qpbridge.training.fitting.crew import Crew, part_count
from qpbridge.training.team import ALONE, Team

WARM_UP_SHARE = 0.05
"""Part of a cosine schedule over which the learning rate rises; batch statistics are of no use before."""
TENTH_EPOCHS = 30
"""Of the schedule "tenths" (Rahmon et al. 2022, sec. III.B)."""
POLY_POWER = 0.9
"""Of the schedule "poly" (Jin et al. 2020, public program)."""


class Learner:
    """A network that learns.

    Parameters
    ----------
    network : Module
        On the device.
    recipe : Recipe
        How.
    runtime : Runtime
        Where.
    learns : callable
        The part of the network whose weights change.
    team : Team
        Processes that share every batch.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        runtime: Runtime,
        learns: Callable[[nn.Module], nn.Module] = lambda network: network,
        team: Team = ALONE,
    ) -> None:
        self.network = network
        self._learning = learns(network)
        self.averaged = copy.deepcopy(network) if recipe.ema_decay else network
        self.step = 0
        self.learning_rate = recipe.learning_rate
        self._recipe = recipe
        self._device = runtime.device
        self._team = team
        on_cpu = runtime.device.type == "cpu"
        # Several processes together cut a batch as one with the threads of all of them would.
        parts = part_count(recipe.batch_size, torch.get_num_threads() * team.size) // team.size if on_cpu else 1
        self.crew = Crew(network, max(1, parts), learns)
        self._at_once = recipe.patches_at_once or math.ceil(recipe.batch_size / (self.crew.parts * team.size))
        self._optimizer = _optimizer(self._learning, recipe)

    def __enter__(self) -> Learner:
        self.crew.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.crew.__exit__(kind, error, trace)

    def learn(
        self,
        batch: Batch | None,
        loss_of: Callable[[nn.Module, Batch], Tensor],
        steps: int,
        progress: Progress,
        count: int | None = None,
    ) -> float:
        """Take one step and return the batch's loss before it.

        Parameters
        ----------
        batch : Batch or None
            On the device; what this process has of it, where others have parts.
        loss_of : callable
            Loss of a network on a part of it.
        steps : int
            Of the whole training; the learning rate follows from it.
        progress : Progress
            Hears when memory runs out.
        count : int or None
            Samples of all processes; those given where None.

        Raises
        ------
        DeviceMemoryError
            If a single patch does not fit the device.
        """
        size = 0 if batch is None else len(batch.labels)
        self.learning_rate = _learning_rate(self._recipe, self.step, steps)
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate
        own = self._gradients(batch, count or size, loss_of, progress)
        loss = self._team.join(self.network, own, size)
        if self._team.size > 1:
            self.crew.share_buffers()
        if self._recipe.gradient_clip:
            nn.utils.clip_grad_norm_(self._learning.parameters(), self._recipe.gradient_clip)
        self._optimizer.step()
        if self.averaged is not self.network:
            _average(self.averaged, self.network, self._recipe.ema_decay, self.step)
        self.step += 1
        return loss

    def checkpoint(self) -> Checkpoint:
        """Return all that the next step depends on."""
        tensors = weights_of("network", self.network) | moments_of(self._optimizer) | random_states(self._device)
        if self.averaged is not self.network:
            tensors |= weights_of("averaged", self.averaged)
        return Checkpoint(tensors=tensors, facts={"step": self.step})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self.network.load_state_dict(checkpoint.part("network"))
        self.crew.share_buffers()
        if self.averaged is not self.network:
            self.averaged.load_state_dict(checkpoint.part("averaged"))
        give_moments(self._optimizer, checkpoint.part("optimizer"))
        give_random_states(self._device, checkpoint.part("random"))
        self.step = checkpoint.facts["step"]

    def _gradients(
        self, batch: Batch | None, count: int, loss_of: Callable[[nn.Module, Batch], Tensor], progress: Progress
    ) -> float:
        while True:
            self._optimizer.zero_grad(set_to_none=True)
            try:
                return 0.0 if batch is None else self._sum_of_gradients(batch, count, loss_of)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error, progress)

    def _sum_of_gradients(self, batch: Batch, count: int, loss_of: Callable[[nn.Module, Batch], Tensor]) -> float:
        own = len(batch.labels)
        parts = batch.split(max(min(self.crew.parts, own), math.ceil(own / self._at_once)))
        loss = 0.0
        for start in range(0, len(parts), self.crew.parts):
            working = parts[start : start + self.crew.parts]
            loss += self.crew.learn(loss_of, working, [len(part.labels) / count for part in working])
        return loss

    def _halve(self, error: RuntimeError, progress: Progress) -> None:
        if self._at_once == 1:
            raise DeviceMemoryError(
                f"a single patch does not fit the memory of {self._device}: close what else uses it, lower"
                " --set patch_px=..., or take --device cpu"
            ) from error
        progress.warn(f"memory of {self._device} ran out at {self._at_once} patches at once; went on with half of them")
        self._at_once //= 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
    return torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )


def _learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if recipe.schedule == "poly":
        return recipe.learning_rate * float((1 - step / steps) ** POLY_POWER)
    if recipe.schedule == "tenths":
        return recipe.learning_rate * 0.1 ** (step * recipe.epochs // (steps * TENTH_EPOCHS))
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return recipe.learning_rate * (step + 1) / warm_up
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    # The mean starts young: a decay near 1 would keep the initial weights for long.
    decay = min(decay, (1 + step) / (10 + step))
    pairs = list(zip(averaged.state_dict().values(), network.state_dict().values(), strict=True))
    floating = [(kept, new) for kept, new in pairs if kept.is_floating_point()]
    torch._foreach_lerp_([kept for kept, _ in floating], [new for _, new in floating], 1 - decay)
    for kept, new in pairs:
        if not kept.is_floating_point():
            kept.copy_(new)
