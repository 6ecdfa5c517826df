"""Train a network on the annotations of a QuPath project."""

from __future__ import annotations

import contextlib
import datetime
import math
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.backend import Backend
from qpbridge.core.objects import BACKGROUND_CLASS
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError, NoAnnotationError, NothingToTrainError, TooFewClassesError
from qpbridge.inference.device import Runtime, choose_device, use_available_cores
from qpbridge.models.bundle import SPEC, save_bundle, versions
from qpbridge.models.recipe import Recipe
from qpbridge.models.registry import configure, family
from qpbridge.models.spec import ModelSpec, Provenance, SplitMetrics
from qpbridge.qupath.project import Project
from qpbridge.training.balancing import Counts
from qpbridge.training.classes import ClassChoice, choose_classes
from qpbridge.training.fitting.curves import curves_rows
from qpbridge.training.fitting.loop import Fitted, PatchSet, Trainer
from qpbridge.training.fitting.report import training_report
from qpbridge.training.patches import LabelledSlide, Labels, Patch
from qpbridge.training.reading import PatchReader, SampleMaker, with_rims
from qpbridge.training.splitting import held_back_patches, held_back_slides
from qpbridge.vector.labels import labels_pixels
from qpbridge.workflows.entries.annotations import with_annotations
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.entries.gathering import Gathering, OpenedSlide
from qpbridge.workflows.entries.sources import Source, open_told, sources_in
from qpbridge.workflows.requests import TrainRequest

__all__ = ["TrainReport", "TrainRequest", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What training gave.

    Parameters
    ----------
    bundle : Path
        Folder of the model.
    digest : str
        Of its weights.
    classes : tuple of str
        In the order of the outputs.
    training_entries, validation_entries : tuple of str
        Image names.
    training_patches, validation_patches : int
        Before balancing.
    best_epoch, epochs : int
        The epoch kept, and how many there were.
    mean_iou : float
        On the validation pixels, over the classes present there.
    class_iou : mapping of str to float or None
        None for a class without validation pixels.
    device : str
        Where.
    duration_s : float
        Wall time, s.
    failures : tuple of Failure
        Entries that could not be used.
    backend : Backend
        What read the project.
    """

    bundle: Path
    digest: str
    classes: tuple[str, ...]
    training_entries: tuple[str, ...]
    validation_entries: tuple[str, ...]
    training_patches: int
    validation_patches: int
    best_epoch: int
    epochs: int
    mean_iou: float
    class_iou: Mapping[str, float | None]
    device: str
    duration_s: float
    failures: tuple[Failure, ...] = ()
    backend: Backend = field(default_factory=Backend)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            **asdict(self),
            "bundle": str(self.bundle),
            "mean_iou": None if math.isnan(self.mean_iou) else self.mean_iou,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """Patches to learn from and to judge by, and the slides that they lie on."""

    training: PatchSet
    validation: PatchSet


@dataclass(frozen=True, slots=True)
class _Ground:
    """What a split follows from: seed, recipe, classes and views, and slides that the user wants to judge by."""

    seed: int
    recipe: Recipe
    spec: ModelSpec
    held_back: Sequence[int]


def train(request: TrainRequest, progress: Progress) -> TrainReport:
    """Train a network and write its bundle.

    An entry that cannot be used is told and left out. The bundle appears when all is done, or not at all.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If family, preset, key, value, entry or device do not exist, something else than a bundle lies at ``out``,
        nothing can be written there, or annotations of the request cannot be read.
    ProjectNotFoundError, DamagedProjectError
        If there is no such project.
    NoAnnotationError, TooFewClassesError, NothingToTrainError
        If the annotations do not suffice.
    DiskFullError
        If there is no space left.
    CancelledError
        If somebody asked to stop.
    """
    start_s = time.monotonic()
    _check_out(request.out)
    chosen = family(request.family)
    config, recipe = configure(request.family, request.preset, request.settings)
    runtime = Runtime.suited_to(choose_device(request.device))
    use_available_cores()
    gathering = Gathering(_sources(request, progress), request.mpp, progress)
    choice = choose_classes(gathering.objects, gathering.project_classes, request.classes, request.region_class)
    spec = chosen.spec(config, choice.classes)
    with contextlib.ExitStack() as stack:
        opened = gathering.open(spec.views[0].fov.mpp, choice, stack)
        held_back = _named(request, opened, gathering.failures, progress)
        split = _split(_Ground(request.seed, recipe, spec, held_back), opened, progress)
        if _lacking(split.training, spec) == [BACKGROUND_CLASS] and _is_implied(choice, gathering, request):
            choice, opened = _without_background(choice, opened, progress)
            spec = chosen.spec(config, choice.classes)
            split = _split(_Ground(request.seed, recipe, spec, held_back), opened, progress)
        _check_learnable(split.training, spec)
        slides = [one.slide for one in opened]
        reader = PatchReader(slides, with_rims(spec.views, recipe))
        maker = SampleMaker(reader, spec.views, recipe, request.seed, chosen.encoding(spec))
        trainer = Trainer(chosen, spec, recipe, runtime, request.seed)
        fitted = trainer.fit(split.training, split.validation, maker, progress)
    provenance = _provenance(request, recipe, opened, split, fitted)
    rows = curves_rows(fitted.records, choice.names)
    facts = {"network": f"{spec.family}-{spec.variant}", "best epoch": f"{fitted.best.epoch} of {len(fitted.records)}"}
    colors = {one.name: one.color_rgb for one in spec.classes}
    page = training_report(f"Training on {provenance.project}", facts, rows, fitted.confusion, colors)
    digest = save_bundle(request.out, spec, fitted.network, provenance, rows, {"report.html": page})
    return TrainReport(
        bundle=request.out,
        digest=digest,
        classes=choice.names,
        training_entries=provenance.training_entries,
        validation_entries=provenance.validation_entries,
        training_patches=len(split.training.patches),
        validation_patches=len(split.validation.patches),
        best_epoch=fitted.best.epoch,
        epochs=len(fitted.records),
        mean_iou=fitted.best.mean_iou,
        class_iou=_by_class(choice.names, fitted.best.class_iou),
        device=str(runtime.device),
        duration_s=round(time.monotonic() - start_s, 1),
        failures=tuple(gathering.failures),
        backend=_project(opened).backend,
    )


def _check_out(out: Path) -> None:
    is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not is_free and not (out / SPEC).is_file():
        raise InvalidValueError(f"{out} exists and is no model bundle, so it is not replaced: give another folder")
    try:
        # After hours of training it would be too late to learn this.
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}."):
            pass
    except OSError as error:
        told = error.strerror or str(error)
        raise InvalidValueError(f"no bundle can be written to {out} ({told}): give another folder") from error


def _sources(request: TrainRequest, progress: Progress) -> list[Source]:
    entries = None if request.entries is None else tuple(dict.fromkeys((*request.entries, *request.validation)))
    project = open_told(request.project, request.backend, progress)
    sources = sources_in(project, entries, request.path_map)
    return with_annotations(sources, request.annotations, request.annotations_mode)


def _is_implied(choice: ClassChoice, gathering: Gathering, request: TrainRequest) -> bool:
    """Whether only ``Region*`` speaks of "Background": nobody drew it, nobody asked for it."""
    drawn = {item.path_class.name for item in gathering.objects if item.path_class and labels_pixels(item)}
    return choice.background is not None and BACKGROUND_CLASS not in {*drawn, *(request.classes or ())}


def _without_background(
    choice: ClassChoice, opened: Sequence[OpenedSlide], progress: Progress
) -> tuple[ClassChoice, list[OpenedSlide]]:
    # An implied class is the last one, so that all others keep their labels.
    last = len(choice.classes) - 1
    fewer = replace(choice, classes=choice.classes[:last], background=None)
    if len(fewer.classes) < 2:
        raise TooFewClassesError(
            f"two classes or more are needed to tell apart, but there is only '{fewer.classes[0].name}': it covers"
            " the areas marked as 'Region*'; annotate another class in QuPath, or leave some of such an area free"
        )
    progress.warn(
        f"'{BACKGROUND_CLASS}' is left out: it would be what nobody drew in areas marked as 'Region*', but too little"
        " of them is free"
    )
    return fewer, [replace(one, slide=_relabelled(one.slide, last)) for one in opened]


def _relabelled(slide: LabelledSlide, unknown: int) -> LabelledSlide:
    """Return a slide with one label made unknown."""
    return replace(
        slide, shapes=tuple((shape, IGNORE_INDEX if label == unknown else label) for shape, label in slide.shapes)
    )


def _split(ground: _Ground, opened: Sequence[OpenedSlide], progress: Progress) -> _Split:
    slides = [one.slide for one in opened]
    recipe, fov, classes = ground.recipe, ground.spec.views[0].fov, len(ground.spec.classes)
    everything = Labels(slides, fov, classes)
    cells, counts = everything.find(fov.size_px, recipe.min_labelled_share, progress)
    rng = np.random.default_rng([ground.seed, 3])
    per_slide = _per_slide(cells, counts, len(slides))
    held_slides = ground.held_back or held_back_slides(per_slide, recipe.validation_share, rng)
    if held_slides:
        held = [i for i, cell in enumerate(cells) if cell.slide in held_slides]
        labels = Labels([_unlabelled(one, i in held_slides) for i, one in enumerate(slides)], fov, classes)
    else:
        held = held_back_patches(counts, recipe.validation_share, rng)
        labels = Labels(slides, fov, classes, hidden=[cells[i] for i in held])
    patches, patch_counts = labels.find(recipe.stride_px, recipe.min_labelled_share, progress)
    training = PatchSet(patches=patches, counts=patch_counts, labels=labels)
    _check_found(training, ground.spec, recipe)
    if not held:
        progress.warn("too little is annotated to hold a part back: the model is judged by what it learnt from")
        return _Split(training=training, validation=PatchSet(patches=cells, counts=counts, labels=everything))
    validation = PatchSet(patches=[cells[i] for i in held], counts=counts[held], labels=everything)
    return _Split(training=training, validation=validation)


def _named(
    request: TrainRequest, opened: Sequence[OpenedSlide], failures: Sequence[Failure], progress: Progress
) -> list[int]:
    """Return the positions of the slides that the user wants to judge by, and tell which of them are of no use."""
    if not request.validation:
        return []
    named = sources_in(_project(opened), request.validation, request.path_map)
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


def _project(opened: Sequence[OpenedSlide]) -> Project:
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


def _provenance(
    request: TrainRequest, recipe: Recipe, opened: Sequence[OpenedSlide], split: _Split, fitted: Fitted
) -> Provenance:
    areas: Counter[str] = Counter()
    for position in {patch.slide for patch in split.training.patches}:
        areas.update(opened[position].areas_um2)
    matrix = fitted.confusion
    by_class = {f"IoU {name}": value for name, value in _by_class(matrix.class_names, matrix.iou.tolist()).items()}
    return Provenance(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions=versions(),
        seed=request.seed,
        recipe=recipe,
        project=opened[0].source.project_name,
        training_entries=_names(opened, split.training),
        validation_entries=_names(opened, split.validation),
        annotated_area_um2={name: areas[name] for name in matrix.class_names if name in areas},
        metrics=(SplitMetrics(split="validation", values={"mean IoU": matrix.mean_iou, **by_class}),),
    )


def _names(opened: Sequence[OpenedSlide], patches: PatchSet) -> tuple[str, ...]:
    return tuple(opened[i].source.name for i in sorted({patch.slide for patch in patches.patches}))


def _by_class(names: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}
