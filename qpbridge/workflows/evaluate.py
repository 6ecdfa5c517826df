"""Compare predictions with a project's annotations, on annotated pixels only."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError, NoAnnotationError
from qpbridge.evaluation.nuclei import NucleiComparison
from qpbridge.evaluation.scoring import Shapes, score
from qpbridge.files import atomic_file, write_bytes
from qpbridge.vector.instances.painting import single_nuclei
from qpbridge.vector.labels import LabelRule, Subject, read_labels
from qpbridge.workflows.entries.annotations import with_annotations, with_complete
from qpbridge.workflows.entries.failures import Failures, one_by_one
from qpbridge.workflows.entries.findings import without_findings
from qpbridge.workflows.entries.sources import OpenedSource, Source, open_told, sources_in
from qpbridge.workflows.evaluating.comparing import Comparison, Predicted, comparison_of
from qpbridge.workflows.evaluating.scores import EntryScore, EvaluationReport, NucleiScore
from qpbridge.workflows.requests import EvaluateRequest

__all__ = ["EntryScore", "EvaluateRequest", "EvaluationReport", "evaluate"]

if TYPE_CHECKING:
    from qpbridge.workflows.predicting.warm import LoadBundle

UM2_PER_MM2: Final = 1e6


def evaluate(request: EvaluateRequest, progress: Progress, load: LoadBundle | None = None) -> EvaluationReport:
    """Compare predictions with the annotations of every entry; one that fails is told and does not stop the rest.

    A model is compared on its own pixels, before small regions are removed; written predictions on the pixels
    of the slide. Where nothing was predicted, an annotated pixel counts as missed.

    Parameters
    ----------
    request : EvaluateRequest
        What to compare.
    progress : Progress
        Told of each entry.
    load : callable or None
        Gives the model of a folder; ``load_bundle`` where None.

    Raises
    ------
    InvalidValueError
        If not exactly one of model and predictions is given, or annotations of the request cannot be read.
    ProjectNotFoundError, DamagedProjectError, UnknownNameError
        If there is no such project or entry.
    BundleNotFoundError, DamagedBundleError
        If there is no such model.
    PredictionNotFoundError
        If there is no such folder.
    NoAnnotationError
        If no entry has labelled pixels; the first failure itself where there was one.
    CancelledError
        If somebody asked to stop.
    """
    project = open_told(request.project, request.backend, progress)
    named = with_annotations(
        sources_in(project, request.entries, request.path_map), request.annotations, request.annotations_mode
    )
    sources = with_complete(named, request.region_class if request.complete else None)
    comparison = comparison_of(request, sources, progress, load)
    _check_pictures(request, comparison)
    entries: list[EntryScore] = []
    failures = Failures(progress)
    unlabelled: list[str] = []
    for source in one_by_one(sources, "evaluate", progress):
        with failures.kept(source.label):
            scored = _score(source, request, comparison)
            if scored is None:
                unlabelled.append(source.name)
            else:
                entries.append(scored)
    if not entries:
        raise failures.first_or(_nothing_labelled(request.project, comparison.rule.class_names))
    report = EvaluationReport(
        pooled=functools.reduce(operator.add, [entry.matrix for entry in entries]),
        entries=tuple(entries),
        failures=tuple(failures.found),
        unlabelled=tuple(unlabelled),
        backend=project.backend,
    )
    if request.out is not None:
        write_bytes(request.out, msgspec.json.format(msgspec.json.encode(report.to_dict()), indent=2) + b"\n")
    return report


def _check_pictures(request: EvaluateRequest, comparison: Comparison) -> None:
    if request.pictures is not None and comparison.rule.subject is not Subject.NUCLEI:
        raise InvalidValueError("pictures show single nuclei, but tissue was predicted: leave --pictures out")


def _score(source: Source, request: EvaluateRequest, comparison: Comparison) -> EntryScore | None:
    """Return the scores of an entry, None where it has no labelled pixels."""
    names = comparison.rule.class_names
    truth = read_labels(without_findings(source, request.region_class).objects, comparison.rule).shapes
    if all(label == IGNORE_INDEX for _, label in truth):
        return None
    with source.open(request.mpp) as opened:
        predicted = comparison.predict(source, opened, truth)
        frame = predicted.frame
        matrix = score(truth, predicted.prediction, frame, names)
        pixel_um2 = opened.calibration.pixel_area_um2
        slide_px = opened.slide.width_px * opened.slide.height_px
        if not matrix.labelled_px:
            return None
        return EntryScore(
            key=source.key,
            name=source.name,
            matrix=matrix,
            pixel_area_mm2=frame.downsample_x * frame.downsample_y * pixel_um2 / UM2_PER_MM2,
            slide_mm2=slide_px * pixel_um2 / UM2_PER_MM2,
            was_trained_on=comparison.was_trained_on(source),
            nuclei=_nuclei(source, opened, comparison.rule, truth, predicted, request.pictures),
        )


def _nuclei(
    source: Source,
    opened: OpenedSource,
    rule: LabelRule,
    truth: Shapes,
    predicted: Predicted,
    pictures: Path | None,
) -> NucleiScore | None:
    """Return the scores of single nuclei, and draw what became of each; None where tissue was predicted."""
    if predicted.nuclei is None:
        return None
    annotated = single_nuclei(truth, rule.unlabelled)
    compared = NucleiComparison(truth, annotated, predicted.nuclei, predicted.frame)
    drawn = [] if pictures is None else _draw(compared, opened, pictures, source.file_stem)
    return NucleiScore(scores=compared.scores, verdicts=compared.verdicts.count(), pictures=tuple(drawn))


def _draw(compared: NucleiComparison, opened: OpenedSource, folder: Path, stem: str) -> Iterator[Path]:
    from PIL import Image

    for block, drawn in compared.pictures(opened.slide.read):
        path = folder / f"{stem}-{block.x}-{block.y}.png"
        with atomic_file(path) as file:
            Image.fromarray(drawn).save(file, format="PNG")
        yield path


def _nothing_labelled(project: Path, class_names: Sequence[str]) -> NoAnnotationError:
    wanted = f"of {', '.join(class_names)}" if class_names else "of any class"
    return NoAnnotationError(f"{project} has no annotation {wanted} to compare with; draw some in QuPath and save")
