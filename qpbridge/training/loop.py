"""The training loop: the same for every family."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qpbridge.core.arrays import LabelMap
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.inference.device import Runtime
from qpbridge.models.family import Family, Outputs
from qpbridge.models.losses import class_weights
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import ModelSpec
from qpbridge.training.crew import Crew, part_count
from qpbridge.training.curves import EpochRecord
from qpbridge.training.patches import Labels, Patch
from qpbridge.training.reading import Batch, PatchPixels, SampleMaker, batches
from qpbridge.training.sampling import ClassErrors, Sampler

WARM_UP_SHARE = 0.05
"""Part of a cosine schedule over which the learning rate rises; batch statistics are of no use before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSet:
    """Patches of one split, with their labels.

    Parameters
    ----------
    patches : sequence of Patch
        Places.
    counts : ndarray of int64, shape (P, K)
        Labelled pixels of each class in each patch.
    labels : Labels
        What is known at these places.
    """

    patches: Sequence[Patch]
    counts: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    labels: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What training gave.

    Parameters
    ----------
    network : Module
        With the weights of the best epoch, on the CPU, in evaluation mode.
    records : tuple of EpochRecord
        One an epoch.
    best : EpochRecord
        The epoch whose weights these are.
    confusion : ConfusionMatrix
        Of the best epoch on the validation patches.
    """

    network: nn.Module
    records: tuple[EpochRecord, ...]
    best: EpochRecord
    confusion: ConfusionMatrix


class Trainer:
    """Fits one network.

    Parameters
    ----------
    family : Family
        Network, loss and decoder.
    spec : ModelSpec
        What to build.
    recipe : Recipe
        How to train it.
    runtime : Runtime
        Where, and in which precision.
    seed : int
        Of the initial weights, the order of samples and their augmentation.
    """

    def __init__(self, family: Family[Any], spec: ModelSpec, recipe: Recipe, runtime: Runtime, seed: int) -> None:
        torch.manual_seed(seed)
        self._family = family
        self._spec = spec
        self._recipe = recipe
        self._runtime = runtime
        self._seed = seed
        network: nn.Module = family.build(spec.config, len(spec.classes)).to(runtime.device)
        self._network: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._averaged = copy.deepcopy(self._network) if recipe.ema_decay else self._network
        on_cpu = runtime.device.type == "cpu"
        self._crew = Crew(self._network, part_count(recipe.batch_size, torch.get_num_threads()) if on_cpu else 1)
        self._optimizer = _optimizer(self._network, recipe)
        self._errors = ClassErrors(len(spec.classes))
        self._step = 0

    def fit(self, training: PatchSet, validation: PatchSet, maker: SampleMaker, progress: Progress) -> Fitted:
        """Train and return the best epoch by validation mean IoU (Ho et al. 2021, sec. 2.5).

        Parameters
        ----------
        training, validation : PatchSet
            Where to learn, and where to judge.
        maker : SampleMaker
            Source of samples.
        progress : Progress
            Told every step; asked for cancellation.

        Raises
        ------
        InvalidValueError
            If the weights grow beyond all bounds before the first epoch ends.
        CancelledError
            If somebody asked to stop.
        """
        with self._crew:
            return self._fit(training, validation, maker, progress)

    def _fit(self, training: PatchSet, validation: PatchSet, maker: SampleMaker, progress: Progress) -> Fitted:
        sampler = Sampler(training.counts, self._recipe, self._seed)
        weights = class_weights(sampler.class_counts).to(self._runtime.device)
        steps = self._recipe.epochs * math.ceil(sampler.per_epoch / self._recipe.batch_size)
        plain = [partial(maker.plain, patch, validation.labels) for patch in validation.patches]
        records: list[EpochRecord] = []
        best: tuple[EpochRecord, dict[str, Tensor], ConfusionMatrix] | None = None
        for epoch in range(1, self._recipe.epochs + 1):
            start_s = time.monotonic()
            samples = sampler.draw(epoch, self._errors.take() if records else None)
            jobs = [
                partial(maker.augmented, sample, training.patches, training.labels, (epoch, turn))
                for turn, sample in enumerate(samples)
            ]
            loss = self._learn(jobs, weights, steps, progress)
            if not math.isfinite(loss):
                _tell_divergence(epoch, self._recipe, progress, is_lost=best is None)
                break
            validation_loss, confusion = self._judge(plain, weights, progress)
            record = EpochRecord(
                epoch=epoch,
                learning_rate=self._optimizer.param_groups[0]["lr"],
                training_loss=loss,
                validation_loss=validation_loss,
                mean_iou=confusion.mean_iou,
                class_iou=tuple(float(iou) for iou in confusion.iou),
                duration_s=time.monotonic() - start_s,
            )
            records.append(record)
            if best is None or _is_better(record, records[:-1], self._recipe.selection_tolerance):
                best = record, _snapshot(self._averaged), confusion
        assert best is not None
        self._averaged.load_state_dict(best[1])
        network = self._averaged.cpu().eval()
        return Fitted(network=network, records=tuple(records), best=best[0], confusion=best[2])

    def _learn(
        self, jobs: Sequence[Callable[[], PatchPixels]], weights: Tensor, steps: int, progress: Progress
    ) -> float:
        self._crew.train()
        total, seen = 0.0, 0
        with self._batches(jobs) as made:
            for batch in made:
                progress.raise_if_cancelled()
                for group in self._optimizer.param_groups:
                    group["lr"] = _learning_rate(self._recipe, self._step, steps)
                loss = self._update(batch, weights)
                self._step += 1
                total += loss * len(batch.labels)
                seen += len(batch.labels)
                progress.report("train", self._step, steps, loss=loss)
        return total / max(seen, 1)

    def _update(self, batch: Batch, weights: Tensor) -> float:
        self._optimizer.zero_grad(set_to_none=True)

        def loss_of(network: nn.Module, part: Batch) -> Tensor:
            outputs = self._run(network, part)
            if self._recipe.sampling == "errors":
                self._errors.add(part.labels, self._family.probabilities(outputs).argmax(dim=1))
            return self._family.loss(outputs, part.targets, weights, self._recipe.label_smoothing)

        parts = batch.split(self._crew.parts)
        loss = self._crew.learn(loss_of, parts, [len(part.labels) for part in parts])
        if self._recipe.gradient_clip:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._recipe.gradient_clip)
        self._optimizer.step()
        if self._averaged is not self._network:
            _average(self._averaged, self._network, self._recipe.ema_decay, self._step)
        return loss

    @torch.inference_mode()
    def _judge(
        self, jobs: Sequence[Callable[[], PatchPixels]], weights: Tensor, progress: Progress
    ) -> tuple[float, ConfusionMatrix]:
        self._averaged.eval()
        confusion = ConfusionMatrix([item.name for item in self._spec.classes])
        total, seen = 0.0, 0
        with self._batches(jobs) as made:
            for batch in made:
                progress.raise_if_cancelled()
                outputs = _joined(self._crew.map(self._foresee, batch.split(self._crew.parts)))
                total += float(self._family.loss(outputs, batch.targets, weights)) * len(batch.labels)
                seen += len(batch.labels)
                predicted = self._family.probabilities(outputs).argmax(dim=1)
                for labels, prediction in zip(_to_numpy(batch.labels), _to_numpy(predicted), strict=True):
                    confusion.add(labels, prediction)
        return total / max(seen, 1), confusion

    def _foresee(self, part: Batch) -> Outputs:
        # Whether gradients are kept is each thread's own affair.
        with torch.inference_mode():
            return self._run(self._averaged, part)

    def _run(self, network: nn.Module, batch: Batch) -> Outputs:
        # On CPUs batch normalization, too, would compute in bfloat16: gradients off by 45 degrees, little gained.
        is_bf16 = self._runtime.is_bf16 and self._runtime.device.type != "cpu"
        with torch.autocast(self._runtime.device.type, torch.bfloat16, enabled=is_bf16):
            outputs: Outputs = network(batch.views)
        return {name: output.float() for name, output in outputs.items()}

    @contextmanager
    def _batches(self, jobs: Sequence[Callable[[], PatchPixels]]) -> Iterator[Iterator[Batch]]:
        # Closed at once when the loop ends early: no thread may read from a slide that is closed next.
        with closing(batches(jobs, self._spec.views, self._recipe.batch_size, self._runtime.readers)) as made:
            yield (batch.to(self._runtime.device) for batch in made)


def _joined(outputs: Sequence[Outputs]) -> Outputs:
    return {name: torch.cat([part[name] for part in outputs]) for name in outputs[0]}


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


def _tell_divergence(epoch: int, recipe: Recipe, progress: Progress, *, is_lost: bool) -> None:
    message = f"training diverged in epoch {epoch} with learning_rate={recipe.learning_rate:g}, gradient_clip="
    advice = f"{recipe.gradient_clip:g}: lower the rate, or clip gradients with --set gradient_clip=1"
    if is_lost:
        raise InvalidValueError(message + advice)
    progress.warn(f"{message}{advice}; the best epoch before is kept")


def _to_numpy(labels: Tensor) -> LabelMap:
    return labels.to(torch.uint8).cpu().numpy()


def _snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _is_better(record: EpochRecord, records: Sequence[EpochRecord], tolerance: float) -> bool:
    """Whether an epoch replaces the one kept of those before it."""
    known = [earlier.mean_iou for earlier in records if not math.isnan(earlier.mean_iou)]
    if math.isnan(record.mean_iou) or not known:
        return not known
    return record.mean_iou >= max(known) - tolerance
