"""One stage of training: its epochs, how they are judged, and the best of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError
from qpbridge.inference.device import Runtime
from qpbridge.models.family import Family, Outputs, Stage
from qpbridge.models.losses import class_weights
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import ModelSpec
from qpbridge.training.batching import Batch, batches
from qpbridge.training.fitting.checkpoints import Checkpoint
from qpbridge.training.fitting.curves import EpochRecord, told_numbers
from qpbridge.training.fitting.judging import JUDGES, Tally
from qpbridge.training.fitting.learning import Learner
from qpbridge.training.patches import PatchSet
from qpbridge.training.reading import PatchPixels, SampleMaker
from qpbridge.training.sampling import ClassErrors, Sampler
from qpbridge.training.team import ALONE, Team

Job: TypeAlias = Callable[[], PatchPixels]
"""Makes one sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all stages of a training share.

    Parameters
    ----------
    family : Family
        Network and decoder.
    spec : ModelSpec
        Of the model.
    recipe : Recipe
        How it is trained.
    runtime : Runtime
        Where, and in which precision.
    seed : int
        Of the order of samples.
    team : Team
        Processes that share the work.
    """

    family: Family[Any]
    spec: ModelSpec
    recipe: Recipe
    runtime: Runtime
    seed: int
    team: Team = ALONE

    def epochs(self, stage: Stage) -> int:
        """Return how long a stage lasts."""
        return self.recipe.epochs if stage.epochs is None else stage.epochs

    @contextmanager
    def batches(self, jobs: Sequence[Job], size: int | None = None) -> Iterator[Iterator[Batch]]:
        """Make batches on the device, ahead of their use, of the recipe's size where no other is given."""
        # Closed at once when the loop ends early: no thread may read from a slide that is closed next.
        made = batches(jobs, self.spec.views, size or self.recipe.batch_size, self.runtime.readers)
        with closing(made):
            yield (batch.to(self.runtime.device) for batch in made)

    def cut(self, jobs: Sequence[Job]) -> list[Sequence[Job]]:
        """Return the jobs of each batch."""
        size = self.recipe.batch_size
        return [jobs[start : start + size] for start in range(0, len(jobs), size)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What a stage sees.

    Parameters
    ----------
    training, validation : PatchSet
        Where to learn, and where to judge.
    maker : SampleMaker
        Source of samples.
    """

    training: PatchSet
    validation: PatchSet
    maker: SampleMaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best epoch so far."""

    record: EpochRecord
    weights: dict[str, Tensor]
    tally: Tally


class Course:
    """One stage of a training.

    Parameters
    ----------
    setting : Setting
        What all stages share.
    stage : Stage
        What is learned now.
    samples : Samples
        What it is learned from and judged by.
    network : Module
        On the device, as the stages before left it.
    number : int
        Of the stage, from 1 on.
    first : int
        Number of the stage's first epoch.
    """

    def __init__(
        self, setting: Setting, stage: Stage, samples: Samples, network: nn.Module, *, number: int, first: int
    ) -> None:
        self.records: list[EpochRecord] = []
        self.best: Best | None = None
        self.before: EpochRecord | None = None
        self._setting = setting
        self._stage = stage
        self._number = number
        self._first = first
        self._samples = samples
        self._learner = Learner(network, setting.recipe, setting.runtime, stage.learns, setting.team)
        self._errors = ClassErrors(len(setting.spec.classes))
        self._sampler = Sampler(samples.training.counts, setting.recipe, setting.seed)
        self._an_epoch = math.ceil(self._sampler.per_epoch / setting.recipe.batch_size)
        weights = class_weights(self._sampler.class_counts).to(setting.runtime.device)
        self._weights = weights if stage.is_weighted else torch.ones_like(weights)
        self._judge = JUDGES[stage.judged_by]
        self._names = [item.name for item in setting.spec.classes]

    def __enter__(self) -> Course:
        self._learner.__enter__()
        return self

    def __exit__(self, *caught: Any) -> None:
        self._learner.__exit__(*caught)

    def judge_beginning(self, progress: Progress) -> None:
        """Judge the weights that training goes on from: epoch 0."""
        self.before = self._record(0, math.nan, *self._judged(progress), time.monotonic())

    def run(self, progress: Progress, save: Callable[[Checkpoint], None] | None, later: int) -> nn.Module:
        """Train what is left of the stage and return the network with the weights of the best epoch.

        Parameters
        ----------
        progress : Progress
            Told every step; asked for cancellation.
        save : callable or None
            Keeps what is left by each epoch.
        later : int
            Epochs of the stages after this one, for the progress.
        """
        for epoch in range(len(self.records), self._setting.epochs(self._stage)):
            start_s = time.monotonic()
            loss = self._learn(epoch, later, progress)
            if not math.isfinite(loss):
                self._tell_divergence(self._first + epoch, progress)
                break
            self._end_epoch(loss, self._judged(progress), start_s)
            done, all_steps = self._steps(later)
            progress.report("train", done, all_steps, loss=loss, **self._told())
            if self._is_enough():
                patience = self._setting.recipe.patience
                progress.warn(f"ended after epoch {self._first + epoch}: the last {patience} brought nothing better")
                break
            if save is not None:
                save(self._checkpoint())
        assert self.best is not None
        self._learner.averaged.load_state_dict(self.best.weights)
        return self._learner.averaged

    def restore(self, left: Checkpoint) -> None:
        """Go on from what an interruption left of this stage."""
        self._learner.restore(left)
        self.records = [EpochRecord.of(record) for record in left.facts["records"]]
        self.before = None if left.facts["before"] is None else EpochRecord.of(left.facts["before"])
        self.best = Best(
            record=self.records[left.facts["best"]],
            weights=left.part("best"),
            tally=self._judge.begin(self._names, left.tensors["tally"].numpy()),
        )
        self._errors.counts = left.tensors["errors"]
        self._sampler.shares = left.facts["shares"]

    def _checkpoint(self) -> Checkpoint:
        assert self.best is not None
        learned = self._learner.checkpoint()
        tensors = {
            **learned.tensors,
            **{f"best/{name}": value for name, value in self.best.weights.items()},
            "tally": torch.from_numpy(self.best.tally.counts.copy()),
            "errors": self._errors.counts,
        }
        facts = {
            **learned.facts,
            "shares": self._sampler.shares,
            "records": [asdict(record) for record in self.records],
            "best": self.records.index(self.best.record),
            "before": None if self.before is None else asdict(self.before),
        }
        return Checkpoint(tensors=tensors, facts=facts)

    def _end_epoch(self, loss: float, verdict: tuple[float, Tally], start_s: float) -> None:
        record = self._record(self._first + len(self.records), loss, *verdict, start_s)
        if self.best is None or _is_better(record, self.records, self._setting.recipe.selection_tolerance):
            self.best = Best(record=record, weights=_snapshot(self._learner.averaged), tally=verdict[1])
        self.records.append(record)

    def _record(self, epoch: int, loss: float, validation_loss: float, tally: Tally, start_s: float) -> EpochRecord:
        return EpochRecord(
            epoch=epoch,
            learning_rate=self._learner.learning_rate,
            training_loss=loss,
            validation_loss=validation_loss,
            mean_iou=tally.mean_iou,
            class_iou=tuple(float(iou) for iou in tally.iou),
            duration_s=time.monotonic() - start_s,
            stage=self._number,
        )

    def _steps(self, later: int) -> tuple[int, int]:
        """Return the steps done and to do, those of all stages together, as far as they can be known."""
        before = self._first - 1
        whole = before + self._setting.epochs(self._stage) + later
        return before * self._an_epoch + self._learner.step, whole * self._an_epoch

    def _told(self) -> dict[str, float]:
        return told_numbers(self.records[-1], self._names) if self.records else {}

    def _is_enough(self) -> bool:
        scores = [-1.0 if math.isnan(record.mean_iou) else record.mean_iou for record in self.records]
        since = len(scores) - 1 - scores.index(max(scores))
        return 0 < self._setting.recipe.patience <= since

    def _learn(self, epoch: int, later: int, progress: Progress) -> float:
        recipe, training, maker = self._setting.recipe, self._samples.training, self._samples.maker
        drawn = self._sampler.draw(self._first + epoch, self._errors.take() if self.records else None)
        jobs = [
            partial(maker.augmented, sample, training.patches, training.labels, (self._first + epoch, turn))
            for turn, sample in enumerate(drawn)
        ]
        counts_errors = self._stage.judged_by == "pixels" and recipe.sampling == "errors"
        team, whole = self._setting.team, self._setting.cut(jobs)
        own = [team.share(batch) for batch in whole]
        team.seed(self._setting.seed, self._first + epoch)
        self._learner.crew.train()
        total = 0.0
        steps = self._an_epoch * self._setting.epochs(self._stage)
        told = self._told()

        def loss_of(network: nn.Module, part: Batch) -> Tensor:
            outputs = self._run(network, part, epoch)
            if counts_errors:
                self._errors.add(part.labels, self._setting.family.probabilities(outputs))
            return self._stage.loss(outputs, part.targets, self._weights, recipe.label_smoothing)

        with self._setting.batches([job for part in own for job in part], len(own[0])) as made:
            # Of a last batch that is small, some processes get nothing.
            for batch, all_of_it in zip_longest(made, whole):
                progress.raise_if_cancelled()
                loss = self._learner.learn(batch, loss_of, steps, progress, len(all_of_it))
                total += loss * len(all_of_it)
                done, all_steps = self._steps(later)
                progress.report("train", done, all_steps, loss=loss, **told)
        self._errors.counts = team.total(self._errors.counts)
        return total / len(jobs)

    @torch.inference_mode()
    def _judged(self, progress: Progress) -> tuple[float, Tally]:
        self._learner.averaged.eval()
        crew = self._learner.crew
        tally: Tally = self._judge.begin(self._names, None)
        total = 0.0
        validation, maker = self._samples.validation, self._samples.maker
        jobs = [partial(maker.plain, patch, validation.labels) for patch in validation.patches]
        team = self._setting.team
        own = self._setting.cut(jobs)[team.rank :: team.size]
        with self._setting.batches([job for batch in own for job in batch]) as made:
            for batch in made:
                progress.raise_if_cancelled()
                outputs = _joined(crew.map(self._foresee, batch.split(crew.parts)))
                total += float(self._stage.loss(outputs, batch.targets, self._weights)) * len(batch.labels)
                self._judge.add(tally, self._setting.family, outputs, batch.targets)
        loss = float(team.total(torch.tensor(total, dtype=torch.float64))) / max(len(jobs), 1)
        counts = team.total(torch.from_numpy(tally.counts)).numpy()
        return loss, self._judge.begin(self._names, counts)

    def _foresee(self, part: Batch) -> Outputs:
        # Whether gradients are kept is each thread's own affair.
        with torch.inference_mode():
            return self._run(self._learner.averaged, part, len(self.records))

    def _run(self, network: nn.Module, batch: Batch, epoch: int) -> Outputs:
        # On CPUs batch normalization, too, would compute in bfloat16: gradients off by 45 degrees, little gained.
        runtime = self._setting.runtime
        is_bf16 = runtime.is_bf16 and runtime.device.type != "cpu"
        with torch.autocast(runtime.device.type, torch.bfloat16, enabled=is_bf16):
            outputs = self._stage.run(network, batch.views, batch.targets, epoch)
        return {name: output.float() for name, output in outputs.items()}

    def _tell_divergence(self, epoch: int, progress: Progress) -> None:
        recipe = self._setting.recipe
        message = f"training diverged in epoch {epoch} with learning_rate={recipe.learning_rate:g}, gradient_clip="
        advice = f"{recipe.gradient_clip:g}: lower the rate, or clip gradients with --set gradient_clip=1"
        if self.best is None:
            raise InvalidValueError(message + advice)
        progress.warn(f"{message}{advice}; the best epoch before is kept")


def _joined(outputs: Sequence[Outputs]) -> Outputs:
    return {name: torch.cat([part[name] for part in outputs]) for name in outputs[0]}


def _snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _is_better(record: EpochRecord, records: Sequence[EpochRecord], tolerance: float) -> bool:
    """Whether an epoch replaces the one kept of those before it."""
    known = [earlier.mean_iou for earlier in records if not math.isnan(earlier.mean_iou)]
    if math.isnan(record.mean_iou) or not known:
        return not known
    return record.mean_iou >= max(known) - tolerance
