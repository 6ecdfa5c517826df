"""What to learn from and what to judge by: slides, classes and patches of a project."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.objects import BACKGROUND_CLASS
from qpbridge.core.progress import Progress
from qpbridge.errors import NoAnnotationError, NothingToTrainError, TooFewClassesError
from qpbridge.models.family import Family, TagReading
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import FamilyConfig, ModelSpec
from qpbridge.qupath.project import Project
from qpbridge.training.balancing import Counts
from qpbridge.training.classes import ClassChoice, choose_classes, choose_nucleus_classes, choose_tagged_classes
from qpbridge.training.patches import LabelledSlide, Labels, Patch, PatchSet
from qpbridge.training.splitting import held_back_patches, held_back_slides
from qpbridge.vector.labels import Subject, labels_pixels
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.entries.gathering import Gathering, OpenedSlide
from qpbridge.workflows.entries.sources import sources_in
from qpbridge.workflows.learning.tagged import split_tagged
from qpbridge.workflows.requests import TrainRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a training is to be.

    Parameters
    ----------
    request : TrainRequest
        As asked for.
    family : Family
        Kind of network.
    config : FamilyConfig
        Which network.
    recipe : Recipe
        How it is trained.
    """

    request: TrainRequest
    family: Family[Any]
    config: FamilyConfig
    recipe: Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a training learns from.

    Parameters
    ----------
    opened : sequence of OpenedSlide
        A patch's ``slide`` is a position in this sequence.
    spec : ModelSpec
        Of the model for the classes found.
    training, validation : PatchSet
        Where to learn, and where to judge.
    """

    opened: Sequence[OpenedSlide]
    spec: ModelSpec
    training: PatchSet
    validation: PatchSet


def gather_material(plan: Plan, gathering: Gathering, stack: contextlib.ExitStack, progress: Progress) -> Material:
    """Choose classes, open the slides that hold them, and hold a part back to judge by.

    Parameters
    ----------
    plan : Plan
        What is to be trained.
    gathering : Gathering
        What the project offers.
    stack : ExitStack
        Closes the slides.
    progress : Progress
        Hears what is left out.

    Raises
    ------
    NoAnnotationError, TooFewClassesError, NothingToTrainError
        If the annotations do not suffice.
    """
    request = plan.request
    if (reading := plan.family.tags(plan.config)) is not None:
        return _tagged_material(plan, reading, gathering, stack, progress)
    choose = {Subject.TISSUE: choose_classes, Subject.NUCLEI: choose_nucleus_classes}[plan.family.subject]
    choice = choose(gathering.objects, gathering.project_classes, request.classes, request.region_class)
    opened = gathering.open(plan.family.views(plan.config)[0].fov.mpp, choice, stack)
    if choice.subject is Subject.NUCLEI and request.classes is None:
        choice, opened = _without_tissue_classes(choice, opened, progress)
    spec = plan.family.spec(plan.config, choice.classes)
    held_back = _named(request, opened, gathering.failures, progress)
    training, validation = _split(plan, spec, opened, held_back, progress)
    if _lacking(training, spec) == [BACKGROUND_CLASS] and _is_implied(choice, gathering, request):
        choice, opened = _without_background(choice, opened, progress)
        spec = plan.family.spec(plan.config, choice.classes)
        training, validation = _split(plan, spec, opened, held_back, progress)
    _check_learnable(training, spec)
    return Material(opened=opened, spec=spec, training=training, validation=validation)


def _tagged_material(
    plan: Plan, reading: TagReading, gathering: Gathering, stack: contextlib.ExitStack, progress: Progress
) -> Material:
    request = plan.request
    tags = gathering.tags(request.region_class)
    choice = choose_tagged_classes(tags, gathering.project_classes, request.classes, request.region_class)
    choice = replace(choice, is_absence_asserted=reading.is_absence_asserted)
    spec = plan.family.spec(plan.config, choice.classes)
    opened = gathering.open(spec.views[0].fov.mpp, choice, stack)
    held_back = _named(request, opened, gathering.failures, progress)
    share = plan.recipe.validation_share
    training, validation = split_tagged([one.slide for one in opened], spec, held_back, share, request.seed, progress)
    return Material(opened=opened, spec=spec, training=training, validation=validation)


def _is_implied(choice: ClassChoice, gathering: Gathering, request: TrainRequest) -> bool:
    """Whether only ``Region*`` speaks of "Background": nobody drew it, nobody asked for it."""
    drawn = {item.path_class.name for item in gathering.objects if item.path_class and labels_pixels(item)}
    return choice.background is not None and BACKGROUND_CLASS not in {*drawn, *(request.classes or ())}


def _without_background(
    choice: ClassChoice, opened: Sequence[OpenedSlide], progress: Progress
) -> tuple[ClassChoice, list[OpenedSlide]]:
    # An implied class is the last one, so that all others keep their labels.
    last = len(choice.classes) - 1
    fewer = choice.only(range(last))
    if len(fewer.classes) < 2:
        raise TooFewClassesError(
            f"two classes or more are needed to tell apart, but there is only '{fewer.classes[0].name}': it covers"
            " the areas marked as 'Region*'; annotate another class in QuPath, or leave some of such an area free"
        )
    progress.warn(
        f"'{BACKGROUND_CLASS}' is left out: it would be what nobody drew in areas marked as 'Region*', but too little"
        " of them is free"
    )
    return fewer, _relabelled(opened, range(last))


def _without_tissue_classes(
    choice: ClassChoice, opened: list[OpenedSlide], progress: Progress
) -> tuple[ClassChoice, list[OpenedSlide]]:
    """Leave classes out of which there are annotations but no nucleus; nobody asked for them."""
    found = {label for one in opened for _, label in one.slide.shapes}
    kept = [label for label in range(len(choice.classes)) if label in found or label == choice.background]
    dropped = [name for label, name in enumerate(choice.names) if label not in kept]
    if not dropped or kept == [choice.background]:
        return choice, opened
    progress.warn(
        f"{', '.join(map(repr, dropped))} left out: no annotation outlines a nucleus; all lie around several, as tissue"
        " does, outside the image, or on slides left out"
    )
    return choice.only(kept), _relabelled(opened, kept)


def _relabelled(opened: Sequence[OpenedSlide], kept: Sequence[int]) -> list[OpenedSlide]:
    """Return the slides with labels as positions in those kept, the others made unknown."""
    new = {label: position for position, label in enumerate(kept)}

    def relabelled(slide: LabelledSlide) -> LabelledSlide:
        return replace(slide, shapes=tuple((shape, new.get(label, IGNORE_INDEX)) for shape, label in slide.shapes))

    return [replace(one, slide=relabelled(one.slide)) for one in opened]


def _split(
    plan: Plan, spec: ModelSpec, opened: Sequence[OpenedSlide], held_back: Sequence[int], progress: Progress
) -> tuple[PatchSet, PatchSet]:
    slides = [one.slide for one in opened]
    recipe, fov, classes = plan.recipe, spec.views[0].fov, len(spec.classes)
    everything = Labels(slides, fov, classes)
    cells, counts = everything.find(fov.size_px, recipe.min_labelled_share, progress)
    rng = np.random.default_rng([plan.request.seed, 3])
    per_slide = _per_slide(cells, counts, len(slides))
    held_slides = held_back or held_back_slides(per_slide, recipe.validation_share, rng)
    if held_slides:
        held = [i for i, cell in enumerate(cells) if cell.slide in held_slides]
        labels = Labels([_unlabelled(one, i in held_slides) for i, one in enumerate(slides)], fov, classes)
    else:
        held = held_back_patches(counts, recipe.validation_share, rng)
        labels = Labels(slides, fov, classes, hidden=[cells[i] for i in held])
    patches, patch_counts = labels.find(recipe.stride_px, recipe.min_labelled_share, progress)
    training = PatchSet(patches=patches, counts=patch_counts, labels=labels)
    _check_found(training, spec, recipe)
    if not held:
        progress.warn("too little is annotated to hold a part back: the model is judged by what it learnt from")
        return training, PatchSet(patches=cells, counts=counts, labels=everything)
    return training, PatchSet(patches=[cells[i] for i in held], counts=counts[held], labels=everything)


def _named(
    request: TrainRequest, opened: Sequence[OpenedSlide], failures: Sequence[Failure], progress: Progress
) -> list[int]:
    """Return the positions of the slides that the user wants to judge by, and tell which of them are of no use."""
    if not request.validation:
        return []
    named = sources_in(project_of(opened), request.validation, request.path_map)
    keys = {source.key for source in named}
    positions = [i for i, one in enumerate(opened) if one.source.key in keys]
    if not positions:
        raise NoAnnotationError(
            f"no annotation to judge by on {', '.join(request.validation)}: annotate one, or leave --validation out"
        )
    if len(positions) == len(opened):
        raise NothingToTrainError(
            "every annotated slide that can be used is held back to judge by: annotate others, or name fewer"
        )
    told = {failure.entry for failure in failures} | {opened[i].source.label for i in positions}
    for source in named:
        if source.label not in told:
            progress.warn(f"{source.label} has no annotation to judge by; the others named are taken alone")
    return positions


def project_of(opened: Sequence[OpenedSlide]) -> Project:
    """Return the project that all slides belong to."""
    project = opened[0].source.project
    assert project is not None
    return project


def _per_slide(cells: Sequence[Patch], counts: Counts, slides: int) -> Counts:
    totals = np.zeros((slides, counts.shape[1]), np.int64)
    np.add.at(totals, [cell.slide for cell in cells], counts)
    return totals


def _unlabelled(slide: LabelledSlide, is_held_back: bool) -> LabelledSlide:
    return replace(slide, shapes=()) if is_held_back else slide


def _check_found(training: PatchSet, spec: ModelSpec, recipe: Recipe) -> None:
    if not training.patches:
        fov = spec.views[0].fov
        raise NothingToTrainError(
            f"no patch of {fov.size_px} px at {fov.mpp:g} µm/px has more than {100 * recipe.min_labelled_share:g} % of"
            " its pixels labelled: annotate larger areas, or lower --set min_labelled_share=..."
        )


def _lacking(training: PatchSet, spec: ModelSpec) -> list[str]:
    """Return the names of classes without pixels to learn from."""
    totals = zip(spec.classes, training.counts.sum(axis=0), strict=True)
    # The extra output may stay without pixels: nothing is written where it wins.
    return [item.name for item, count in totals if item.is_written and not count]


def _check_learnable(training: PatchSet, spec: ModelSpec) -> None:
    if lacking := _lacking(training, spec):
        raise NothingToTrainError(
            f"nothing to learn {', '.join(map(repr, lacking))} from: too small for a patch, covered by smaller"
            " annotations, outside the image, or only on slides held back or left out; annotate more, or leave it out"
            " of --classes"
        )
