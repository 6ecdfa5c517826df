"""Tagged areas to learn from and to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import shapely

from qpbridge.core.geometry import FieldOfView
from qpbridge.core.progress import Progress
from qpbridge.core.tiles import view_region
from qpbridge.models.spec import ModelSpec
from qpbridge.training.patches import LabelledSlide, Labels, Patch, PatchSet
from qpbridge.training.splitting import held_back_patches, held_back_slides
from qpbridge.training.tagging import TaggedPatches, check_learnable, tagged_patches

SHARED_MOST: Final = 0.01
"""Part of a patch that may lie in another one that is held back."""


def split_tagged(
    slides: Sequence[LabelledSlide],
    spec: ModelSpec,
    held_back: Sequence[int],
    share: float,
    seed: int,
    progress: Progress,
) -> tuple[PatchSet, PatchSet]:
    """Return patches of tagged areas to learn from, and others to judge by, which hardly overlap them.

    Parameters
    ----------
    slides : sequence of LabelledSlide
        With their tagged areas.
    spec : ModelSpec
        Of the model.
    held_back : sequence of int
        Slides to judge by, where somebody named some.
    share : float
        Of the tags, to hold back where nobody did.
    seed : int
        Of the choice.
    progress : Progress
        Hears what is doubtful.

    Raises
    ------
    NothingToTrainError
        If a class always or never occurs in what is left to learn from.
    """
    fov = spec.views[0].fov
    found = tagged_patches(slides, fov, len(spec.classes), progress)
    _tell_doubts(slides, found, fov, progress)
    held = _held_back(found, len(slides), held_back, share, np.random.default_rng([seed, 3]))
    learnt = np.flatnonzero(~held & ~_overlapping(found.patches, held, slides, fov))
    check_learnable(found.presence[learnt], [item.name for item in spec.classes])
    labels = Labels(slides, fov, len(spec.classes))
    training = _set(found, learnt, labels)
    if not held.any():
        progress.warn("too little is tagged to hold a part back: the model is judged by what it learnt from")
        return training, training
    return training, _set(found, np.flatnonzero(held), labels)


def _tell_doubts(slides: Sequence[LabelledSlide], found: TaggedPatches, fov: FieldOfView, progress: Progress) -> None:
    if strangers := sorted({tag for slide in slides for area in slide.tagged for tag in area.strangers}):
        progress.warn(f"tags that name no class of the model are left out: {', '.join(strangers)}")
    if found.larger:
        progress.warn(
            f"{found.larger} tagged areas are larger than a patch of {fov.size_px} px at {fov.mpp:g} µm/px"
            f" ({fov.extent_um:g} µm): each of their patches takes all their tags, also those of tissues that it does"
            " not show; tag smaller areas, or let patches hold them with --set patch_px=..."
        )


def _held_back(
    found: TaggedPatches, slides: int, named: Sequence[int], share: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Return which patches to judge by: those of some slides, or of some areas."""
    on_slide = np.array([patch.slide for patch in found.patches], np.int64)
    counts = (found.presence == 1).astype(np.int64)
    chosen = list(named) or held_back_slides(_sums(counts, on_slide, slides), share, rng)
    if chosen:
        return np.isin(on_slide, chosen)
    areas = {(patch.slide, patch.area): None for patch in found.patches}
    numbers = {key: number for number, key in enumerate(areas)}
    in_area = np.array([numbers[patch.slide, patch.area] for patch in found.patches], np.int64)
    return np.isin(in_area, held_back_patches(_sums(counts, in_area, len(areas)), share, rng))


def _sums(counts: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], number: int) -> npt.NDArray[np.int64]:
    totals = np.zeros((number, counts.shape[1]), np.int64)
    np.add.at(totals, groups, counts)
    return totals


def _overlapping(
    patches: Sequence[Patch], held: npt.NDArray[np.bool_], slides: Sequence[LabelledSlide], fov: FieldOfView
) -> npt.NDArray[np.bool_]:
    """Return which patches show what others, held back, show, too."""
    regions = [view_region(patch.center_px, fov, slides[patch.slide].calibration) for patch in patches]
    boxes = np.array([shapely.box(r.x_px, r.y_px, r.right_px, r.bottom_px) for r in regions], dtype=object)
    on_slide = np.array([patch.slide for patch in patches], np.int64)
    overlapping = np.zeros(len(patches), np.bool_)
    for slide in np.unique(on_slide[held]):
        veil = shapely.union_all(boxes[held & (on_slide == slide)])
        own = on_slide == slide
        shared = shapely.area(shapely.intersection(boxes[own], veil)) / shapely.area(boxes[own])
        overlapping[own] = shared > SHARED_MOST
    return overlapping


def _set(found: TaggedPatches, chosen: npt.NDArray[np.int64], labels: Labels) -> PatchSet:
    counts = (found.presence[chosen] == 1).astype(np.int64)
    return PatchSet(patches=[found.patches[i] for i in chosen.tolist()], counts=counts, labels=labels)
