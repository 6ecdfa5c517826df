"""The training loop: the same for every family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.inference.device import Runtime, repeatable
from qpbridge.models.family import Family
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import ModelSpec
from qpbridge.training.fitting.checkpoints import Checkpoint, CheckpointFile
from qpbridge.training.fitting.course import Course, Samples, Setting
from qpbridge.training.fitting.curves import EpochRecord
from qpbridge.training.fitting.labelling import Made, made_labels
from qpbridge.training.patches import PatchSet
from qpbridge.training.reading import SampleMaker
from qpbridge.training.team import Team


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
    is_judged_by_people : bool
        Whether people labelled the validation pixels, and not the network itself in an earlier stage.
    """

    network: nn.Module
    records: tuple[EpochRecord, ...]
    best: EpochRecord
    confusion: ConfusionMatrix
    before: EpochRecord | None = None
    is_judged_by_people: bool = True


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
        if recipe.paste_p and "tags" in family.asks_for:
            raise InvalidValueError(
                f"paste_p={recipe.paste_p:g} does not work: family '{family.name}' learns which classes occur in a"
                " patch, and pasting changes that; leave it out"
            )
        torch.manual_seed(seed)
        self._setting = Setting(family=family, spec=spec, recipe=recipe, runtime=runtime, seed=seed)
        self._stages = family.course(spec.config)
        network: nn.Module = family.build(spec.config, len(spec.classes))
        if weights is not None:
            network.load_state_dict(weights)
        network = network.to(runtime.device)
        self._network: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._goes_on = weights is not None

    def join(self, team: Team) -> None:
        """Train together with other processes, all from the first one's weights.

        Losses are those of one process that computes as many patches at once (``patches_at_once``).

        Raises
        ------
        InvalidValueError
            If a batch has fewer patches than there are processes.
        """
        size = self._setting.recipe.batch_size
        if size < team.size:
            raise InvalidValueError(
                f"batch_size={size} does not work: each of {team.size} processes needs a patch of its own"
            )
        team.begin(self._network)
        self._setting = replace(self._setting, team=team)

    def fit(
        self,
        training: PatchSet,
        validation: PatchSet,
        maker: SampleMaker,
        progress: Progress,
        checkpoints: CheckpointFile | None = None,
        show: Callable[[Made], None] | None = None,
    ) -> Fitted:
        """Train and return the best epoch by validation mean IoU (Ho et al. 2021, sec. 2.5), of the last stage.

        Each stage begins with the best weights of the one before.

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
        show : callable or None
            Hears what labels a network made before a stage that learns from them.

        Raises
        ------
        InvalidValueError
            If the weights grow beyond all bounds before the first epoch ends.
        DeviceMemoryError
            If a single patch does not fit the device.
        CancelledError
            If somebody asked to stop.
        """
        with repeatable(self._setting.runtime.device):
            return self._fit(
                Samples(training=training, validation=validation, maker=maker), progress, checkpoints, show
            )

    def _fit(
        self,
        samples: Samples,
        progress: Progress,
        checkpoints: CheckpointFile | None,
        show: Callable[[Made], None] | None,
    ) -> Fitted:
        left = None if checkpoints is None else checkpoints.load(progress)
        records = [] if left is None else [EpochRecord.of(record) for record in left.facts["earlier"]]
        network, best, before, by_people = self._network, None, None, True
        for number in range(1 if left is None else left.facts["stage"], len(self._stages) + 1):
            stage, later = self._stages[number - 1], self._stages[number:]
            if stage.label is not None:
                if left is not None:
                    network.load_state_dict(left.part("network"))
                made = made_labels(self._setting, stage, network, samples, progress)
                samples, by_people = made.samples, made.is_judged_by_people
                if show is not None and self._setting.team.is_first:
                    show(made)
            with Course(self._setting, stage, samples, network, number=number, first=len(records) + 1) as course:
                if left is not None:
                    course.restore(left)
                elif self._goes_on and not later:
                    course.judge_beginning(progress)
                keeps = checkpoints if self._setting.team.is_first else None
                save = None if keeps is None else _saving(keeps, number, records, progress)
                network = course.run(progress, save, sum(self._setting.epochs(one) for one in later))
            records, best, before = [*records, *course.records], course.best, course.before
            left = None
        assert best is not None
        assert isinstance(best.tally, ConfusionMatrix)
        return Fitted(
            network=network.cpu().eval(),
            records=tuple(records),
            best=best.record,
            confusion=best.tally,
            before=before,
            is_judged_by_people=by_people,
        )


def _saving(
    checkpoints: CheckpointFile, number: int, earlier: Sequence[EpochRecord], progress: Progress
) -> Callable[[Checkpoint], None]:
    """Return what keeps the state of a stage together with what the stages before recorded."""
    facts = {"stage": number, "earlier": [asdict(record) for record in earlier]}

    def save(checkpoint: Checkpoint) -> None:
        checkpoints.save(replace(checkpoint, facts={**checkpoint.facts, **facts}), progress)

    return save
