"""The training loop: the same for every family."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qpbridge.core.arrays import LabelMap
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.inference.device import Runtime, repeatable
from qpbridge.models.family import Family, Outputs
from qpbridge.models.losses import class_weights
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import ModelSpec
from qpbridge.training.batching import Batch, batches
from qpbridge.training.fitting.checkpoints import Checkpoint, CheckpointFile
from qpbridge.training.fitting.curves import EpochRecord, told_numbers
from qpbridge.training.fitting.learning import Learner
from qpbridge.training.patches import Labels, Patch
from qpbridge.training.reading import PatchPixels, SampleMaker
from qpbridge.training.sampling import ClassErrors, Sampler, prior_offsets


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
    before : EpochRecord or None
        Epoch 0: the weights that training went on from, where it did.
    """

    network: nn.Module
    records: tuple[EpochRecord, ...]
    best: EpochRecord
    confusion: ConfusionMatrix
    before: EpochRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    """The best epoch so far."""

    record: EpochRecord
    weights: dict[str, Tensor]
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
    weights : mapping of str to Tensor, optional
        Of an earlier training, to go on from; drawn from the seed where None.
    """

    def __init__(
        self,
        family: Family[Any],
        spec: ModelSpec,
        recipe: Recipe,
        runtime: Runtime,
        seed: int,
        *,
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        if recipe.prior_strength and family.shift is None:
            raise InvalidValueError(
                f"prior_strength={recipe.prior_strength:g} does not work: family '{family.name}' has no class outputs"
                " that could be shifted; leave it out"
            )
        torch.manual_seed(seed)
        self._family = family
        self._loss = family.loss(spec.config)
        self._spec = spec
        self._recipe = recipe
        self._runtime = runtime
        self._seed = seed
        network: nn.Module = family.build(spec.config, len(spec.classes))
        if weights is not None:
            network.load_state_dict(weights)
        network = network.to(runtime.device)
        self._learner = Learner(network.to(memory_format=torch.channels_last), recipe, runtime)  # type: ignore[call-overload]
        self._errors = ClassErrors(len(spec.classes))
        self._records: list[EpochRecord] = []
        self._best: _Best | None = None
        self._goes_on = weights is not None
        self._before: EpochRecord | None = None

    def fit(
        self,
        training: PatchSet,
        validation: PatchSet,
        maker: SampleMaker,
        progress: Progress,
        checkpoints: CheckpointFile | None = None,
    ) -> Fitted:
        """Train and return the best epoch by validation mean IoU (Ho et al. 2021, sec. 2.5).

        Parameters
        ----------
        training, validation : PatchSet
            Where to learn, and where to judge.
        maker : SampleMaker
            Source of samples.
        progress : Progress
            Told every step; asked for cancellation.
        checkpoints : CheckpointFile or None
            Where an interrupted training goes on, with the same losses as an uninterrupted one.

        Raises
        ------
        InvalidValueError
            If the weights grow beyond all bounds before the first epoch ends.
        DeviceMemoryError
            If a single patch does not fit the device.
        CancelledError
            If somebody asked to stop.
        """
        with repeatable(self._runtime.device), self._learner:
            return self._fit(training, validation, maker, progress, checkpoints)

    def _fit(
        self,
        training: PatchSet,
        validation: PatchSet,
        maker: SampleMaker,
        progress: Progress,
        checkpoints: CheckpointFile | None,
    ) -> Fitted:
        sampler = Sampler(training.counts, self._recipe, self._seed)
        weights = class_weights(sampler.class_counts).to(self._runtime.device)
        steps = self._recipe.epochs * math.ceil(sampler.per_epoch / self._recipe.batch_size)
        plain = [partial(maker.plain, patch, validation.labels) for patch in validation.patches]
        if checkpoints is not None and (left := checkpoints.load(progress)) is not None:
            self._restore(left, sampler)
        elif self._goes_on:
            self._before = self._record(0, math.nan, self._judge(plain, weights, progress), time.monotonic())
        for epoch in range(len(self._records) + 1, self._recipe.epochs + 1):
            start_s = time.monotonic()
            samples = sampler.draw(epoch, self._errors.take() if self._records else None)
            jobs = [
                partial(maker.augmented, sample, training.patches, training.labels, (epoch, turn))
                for turn, sample in enumerate(samples)
            ]
            loss = self._learn(jobs, weights, steps, progress)
            if not math.isfinite(loss):
                _tell_divergence(epoch, self._recipe, progress, is_lost=self._best is None)
                break
            with self._shifted(training, weights):
                self._end_epoch(loss, self._judge(plain, weights, progress), start_s)
            progress.report("train", self._learner.step, steps, loss=loss, **self._told())
            if self._is_enough():
                progress.warn(f"ended after epoch {epoch}: the last {self._recipe.patience} brought nothing better")
                break
            if checkpoints is not None:
                checkpoints.save(self._checkpoint(sampler), progress)
        return self._fitted()

    @contextmanager
    def _shifted(self, training: PatchSet, weights: Tensor) -> Iterator[None]:
        """Show the network as it predicts: for classes as frequent as they are annotated."""
        shift = self._family.shift
        if shift is None or not self._recipe.prior_strength:
            yield
            return
        seen = self._errors.counts[0].double().numpy() * weights.double().cpu().numpy()
        annotated = training.counts.sum(axis=0).astype(np.float64)
        offsets = torch.from_numpy(prior_offsets(seen, annotated, self._recipe.prior_strength)).float()
        shift(self._learner.averaged, offsets)
        yield
        shift(self._learner.averaged, -offsets)

    def _end_epoch(self, loss: float, verdict: tuple[float, ConfusionMatrix], start_s: float) -> None:
        record, confusion = self._record(len(self._records) + 1, loss, verdict, start_s), verdict[1]
        if self._best is None or _is_better(record, self._records, self._recipe.selection_tolerance):
            self._best = _Best(record=record, weights=_snapshot(self._learner.averaged), confusion=confusion)
        self._records.append(record)

    def _record(self, epoch: int, loss: float, verdict: tuple[float, ConfusionMatrix], start_s: float) -> EpochRecord:
        validation_loss, confusion = verdict
        return EpochRecord(
            epoch=epoch,
            learning_rate=self._learner.learning_rate,
            training_loss=loss,
            validation_loss=validation_loss,
            mean_iou=confusion.mean_iou,
            class_iou=tuple(float(iou) for iou in confusion.iou),
            duration_s=time.monotonic() - start_s,
        )

    def _told(self) -> dict[str, float]:
        names = [item.name for item in self._spec.classes]
        return told_numbers(self._records[-1], names) if self._records else {}

    def _is_enough(self) -> bool:
        scores = [-1.0 if math.isnan(record.mean_iou) else record.mean_iou for record in self._records]
        since = len(scores) - 1 - scores.index(max(scores))
        return 0 < self._recipe.patience <= since

    def _fitted(self) -> Fitted:
        assert self._best is not None
        best, network = self._best, self._learner.averaged
        network.load_state_dict(best.weights)
        return Fitted(
            network=network.cpu().eval(),
            records=tuple(self._records),
            best=best.record,
            confusion=best.confusion,
            before=self._before,
        )

    def _checkpoint(self, sampler: Sampler) -> Checkpoint:
        assert self._best is not None
        learned = self._learner.checkpoint()
        tensors = {
            **learned.tensors,
            **{f"best/{name}": value for name, value in self._best.weights.items()},
            "confusion": torch.from_numpy(self._best.confusion.counts.copy()),
            "errors": self._errors.counts,
        }
        facts = {
            **learned.facts,
            "shares": sampler.shares,
            "records": [asdict(record) for record in self._records],
            "best": self._best.record.epoch,
            "before": None if self._before is None else asdict(self._before),
        }
        return Checkpoint(tensors=tensors, facts=facts)

    def _restore(self, left: Checkpoint, sampler: Sampler) -> None:
        self._learner.restore(left)
        self._records = [EpochRecord.of(record) for record in left.facts["records"]]
        self._before = None if left.facts["before"] is None else EpochRecord.of(left.facts["before"])
        self._best = _Best(
            record=self._records[left.facts["best"] - 1],
            weights=left.part("best"),
            confusion=ConfusionMatrix([item.name for item in self._spec.classes], left.tensors["confusion"].numpy()),
        )
        self._errors.counts = left.tensors["errors"]
        sampler.shares = left.facts["shares"]

    def _learn(
        self, jobs: Sequence[Callable[[], PatchPixels]], weights: Tensor, steps: int, progress: Progress
    ) -> float:
        self._learner.crew.train()
        told = self._told()
        total, seen = 0.0, 0

        def loss_of(network: nn.Module, part: Batch) -> Tensor:
            outputs = self._run(network, part)
            if self._recipe.sampling == "errors" or self._recipe.prior_strength:
                self._errors.add(part.labels, self._family.probabilities(outputs).argmax(dim=1))
            return self._loss(outputs, part.targets, weights, self._recipe.label_smoothing)

        with self._batches(jobs) as made:
            for batch in made:
                progress.raise_if_cancelled()
                loss = self._learner.learn(batch, loss_of, steps, progress)
                total += loss * len(batch.labels)
                seen += len(batch.labels)
                progress.report("train", self._learner.step, steps, loss=loss, **told)
        return total / max(seen, 1)

    @torch.inference_mode()
    def _judge(
        self, jobs: Sequence[Callable[[], PatchPixels]], weights: Tensor, progress: Progress
    ) -> tuple[float, ConfusionMatrix]:
        self._learner.averaged.eval()
        crew = self._learner.crew
        confusion = ConfusionMatrix([item.name for item in self._spec.classes])
        total, seen = 0.0, 0
        with self._batches(jobs) as made:
            for batch in made:
                progress.raise_if_cancelled()
                outputs = _joined(crew.map(self._foresee, batch.split(crew.parts)))
                total += float(self._loss(outputs, batch.targets, weights)) * len(batch.labels)
                seen += len(batch.labels)
                predicted = self._family.probabilities(outputs).argmax(dim=1)
                for labels, prediction in zip(_to_numpy(batch.labels), _to_numpy(predicted), strict=True):
                    confusion.add(labels, prediction)
        return total / max(seen, 1), confusion

    def _foresee(self, part: Batch) -> Outputs:
        # Whether gradients are kept is each thread's own affair.
        with torch.inference_mode():
            return self._run(self._learner.averaged, part)

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
