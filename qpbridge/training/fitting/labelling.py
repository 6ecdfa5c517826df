"""Labels of pixels that a network makes for the next stage of its training."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from qpbridge.core.arrays import IGNORE_INDEX, InstanceMap, LabelMap, Mask
from qpbridge.core.geometry import FieldOfView
from qpbridge.core.progress import Progress
from qpbridge.errors import NothingToTrainError
from qpbridge.models.family import Stage
from qpbridge.training.fitting.course import Samples, Setting
from qpbridge.training.patches import Known, Patch, PatchSet
from qpbridge.training.reading import SampleMaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a network made of the patches of both splits.

    Parameters
    ----------
    samples : Samples
        For training, the patches of which it labelled some pixels; for validation, as given where people labelled
        pixels there, otherwise labelled by the network, too.
    is_judged_by_people : bool
        Which of these it is.
    """

    samples: Samples
    is_judged_by_people: bool


class PseudoLabels:
    """Labels that a network made, in the frame of each patch; beyond it, nothing is known.

    Parameters
    ----------
    known : Known
        What people said.
    patches : sequence of Patch
        Those with labels.
    masks : ndarray of uint8, shape (P, T, H, W)
        Labels of each; the first of T counts where one is asked for.
    """

    def __init__(self, known: Known, patches: Sequence[Patch], masks: npt.NDArray[np.uint8]) -> None:
        self._known = known
        self._positions = {patch: i for i, patch in enumerate(patches)}
        self._masks = masks

    def of(self, patch: Patch, fov: FieldOfView | None = None) -> LabelMap:
        """Return the first labels of a patch, with a rim of unknown where the field of view is larger."""
        first: LabelMap = self._fitted(patch, fov)[0]
        return first

    def masks(self, patch: Patch, fov: FieldOfView) -> npt.NDArray[np.uint8] | None:
        """Return all labels of a patch, uint8, shape (T, size_px, size_px)."""
        return self._fitted(patch, fov)

    def instances(self, patch: Patch, fov: FieldOfView) -> InstanceMap:
        """Return what people said of single objects."""
        return self._known.instances(patch, fov)

    def presence(self, patch: Patch) -> npt.NDArray[np.int64] | None:
        """Return what people said of the classes there are."""
        return self._known.presence(patch)

    def tagged(self, patch: Patch, fov: FieldOfView) -> Mask | None:
        """Return where they said it of."""
        return self._known.tagged(patch, fov)

    def _fitted(self, patch: Patch, fov: FieldOfView | None) -> npt.NDArray[np.uint8]:
        masks = np.asarray(self._masks[self._positions[patch]], np.uint8)
        rim = 0 if fov is None else (fov.size_px - masks.shape[-1]) // 2
        wide: npt.NDArray[np.uint8] = np.pad(masks, ((0, 0), (rim, rim), (rim, rim)), constant_values=IGNORE_INDEX)
        return wide


def made_labels(setting: Setting, stage: Stage, network: nn.Module, samples: Samples, progress: Progress) -> Made:
    """Let a network label what it was trained on, and what it is judged by where nobody else labelled that.

    Parameters
    ----------
    setting : Setting
        Of the training.
    stage : Stage
        That is to learn from it.
    network : Module
        On the device.
    samples : Samples
        As people annotated them.
    progress : Progress
        Told of every batch; asked for cancellation.

    Raises
    ------
    NothingToTrainError
        If it labels no pixel at all.
    """
    network.eval()
    maker, validation = samples.maker, samples.validation
    learned = _labelled(setting, stage, network, samples.training, maker, progress)
    some = np.flatnonzero(learned.counts.any(axis=1)).tolist()
    if not some:
        raise NothingToTrainError(
            "the classifier shows no class anywhere, so that there is nothing to learn from: tag more areas, or train"
            " it longer"
        )
    learned = replace(learned, patches=[learned.patches[i] for i in some], counts=learned.counts[some])
    by_people = any((validation.labels.of(patch) != IGNORE_INDEX).any() for patch in validation.patches)
    judged = validation if by_people else _labelled(setting, stage, network, validation, maker, progress)
    return Made(samples=Samples(training=learned, validation=judged, maker=maker), is_judged_by_people=by_people)


@torch.no_grad()
def _labelled(
    setting: Setting, stage: Stage, network: nn.Module, given: PatchSet, maker: SampleMaker, progress: Progress
) -> PatchSet:
    assert stage.label is not None
    count, classes, done = len(given.patches), len(setting.spec.classes), 0
    counts = np.zeros((count, classes), np.int64)
    masks: npt.NDArray[np.uint8] = np.zeros((0, 1, 1, 1), np.uint8)
    with setting.batches([partial(maker.plain, patch, given.labels) for patch in given.patches]) as made:
        for batch in made:
            progress.raise_if_cancelled()
            labels = stage.label(network, batch.views, batch.targets).to(torch.uint8).cpu().numpy()
            if not done:
                # Thousands of patches may not fit the memory: a file without a name, which goes with its last user.
                with tempfile.TemporaryFile() as file:
                    masks = np.memmap(file, np.uint8, "w+", shape=(count, *labels.shape[1:]))
            masks[done : done + len(labels)] = labels
            for one in labels[:, 0]:
                counts[done] = np.bincount(one.ravel(), minlength=IGNORE_INDEX + 1)[:classes]
                done += 1
            progress.report("pseudo masks", done, count)
    return PatchSet(patches=given.patches, counts=counts, labels=PseudoLabels(given.labels, given.patches, masks))
