"""Compare predictions with a project's annotations, on annotated pixels only."""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import shapely

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.backend import Backend
from qpbridge.core.objects import PathObject, annotations_of
from qpbridge.core.progress import Progress
from qpbridge.errors import (
    InvalidValueError,
    NoAnnotationError,
    PredictionNotFoundError,
    QpbridgeError,
    SlideMismatchError,
)
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.evaluation.report import to_dict
from qpbridge.evaluation.scoring import Frame, LabelledArea, MapPrediction, Prediction, ShapePrediction, Shapes, score
from qpbridge.files import write_bytes
from qpbridge.qupath.geojson import read_objects
from qpbridge.vector.labels import UNLABELLED, LabelRule, label_rule, read_labels
from qpbridge.workflows.entries.annotations import with_annotations
from qpbridge.workflows.entries.failures import Failure, Failures, one_by_one
from qpbridge.workflows.entries.naming import RUN_FILE, find_results, results_file
from qpbridge.workflows.entries.sources import OpenedSource, Source, open_told, sources_in
from qpbridge.workflows.requests import EvaluateRequest

__all__ = ["EntryScore", "EvaluateRequest", "EvaluationReport", "evaluate"]

if TYPE_CHECKING:
    from qpbridge.models.bundle import Bundle
    from qpbridge.workflows.predicting.warm import LoadBundle

UM2_PER_MM2: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryScore:
    """Scores of one entry.

    Parameters
    ----------
    key, name : str
        Entry id and image name.
    matrix : ConfusionMatrix
        Over its labelled pixels.
    pixel_area_mm2 : float
        Area of one counted pixel.
    slide_mm2 : float
        Area of the whole slide.
    was_trained_on : bool
        Whether the model knows this image from its training.
    """

    key: str
    name: str
    matrix: ConfusionMatrix
    pixel_area_mm2: float
    slide_mm2: float
    was_trained_on: bool = False

    @property
    def labelled_mm2(self) -> float:
        """Area that was compared."""
        return self.matrix.labelled_px * self.pixel_area_mm2


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """Scores over all entries and of each.

    Parameters
    ----------
    pooled : ConfusionMatrix
        Over the labelled pixels of all entries together.
    entries : tuple of EntryScore
        Those with labelled pixels.
    failures : tuple of Failure
        Entries that could not be compared.
    unlabelled : tuple of str
        Names of entries without labelled pixels.
    backend : Backend
        What read the project.
    """

    pooled: ConfusionMatrix
    entries: tuple[EntryScore, ...]
    failures: tuple[Failure, ...] = ()
    unlabelled: tuple[str, ...] = ()
    backend: Backend = field(default_factory=Backend)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values; undefined scores are None."""
        labelled_mm2 = sum(entry.labelled_mm2 for entry in self.entries)
        return {
            **to_dict(self.pooled),
            "labelled_mm2": labelled_mm2,
            "labelled_share": labelled_mm2 / sum(entry.slide_mm2 for entry in self.entries),
            "entries": [
                {
                    "key": entry.key,
                    "name": entry.name,
                    "was_trained_on": entry.was_trained_on,
                    "labelled_share": entry.labelled_mm2 / entry.slide_mm2,
                    **to_dict(entry.matrix, entry.pixel_area_mm2),
                }
                for entry in self.entries
            ],
            "failures": [asdict(failure) for failure in self.failures],
            "unlabelled": list(self.unlabelled),
            "backend": asdict(self.backend),
        }


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
    sources = with_annotations(
        sources_in(project, request.entries, request.path_map),
        request.annotations,
        request.annotations_mode,
    )
    comparison = _comparison(request, sources, progress, load)
    entries: list[EntryScore] = []
    failures = Failures(progress)
    unlabelled: list[str] = []
    for source in one_by_one(sources, "evaluate", progress):
        with failures.kept(source.label):
            scored = _score(source, request.mpp, comparison)
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


class _Comparison(Protocol):
    """What is compared with annotations."""

    @property
    def rule(self) -> LabelRule:
        """How annotations become labels."""

    def was_trained_on(self, source: Source) -> bool:
        """Whether the model knows an image of this name."""

    def predict(self, source: Source, opened: OpenedSource, truth: Shapes) -> tuple[Frame, Prediction]:
        """Return the prediction for a slide, and its pixels."""


class _Model:
    """A model, run where there are annotations."""

    def __init__(self, bundle: Bundle, device: str, region_class: str, progress: Progress) -> None:
        from qpbridge.inference.device import Runtime, choose_device, use_available_cores
        from qpbridge.inference.engine import Engine, Segmenter

        use_available_cores()
        segmenter = Segmenter.of(bundle)
        names = tuple(item.name for item in bundle.spec.classes)
        self.rule = LabelRule(class_names=names, unlabelled=segmenter.background, region_class=region_class)
        self._known = set(bundle.provenance.training_entries)
        self._engine = Engine(segmenter, Runtime.suited_to(choose_device(device)), progress)
        self._progress = progress

    def was_trained_on(self, source: Source) -> bool:
        return source.name in self._known

    def predict(self, source: Source, opened: OpenedSource, truth: Shapes) -> tuple[Frame, Prediction]:
        from qpbridge.inference.predicting import Scene, predict_labels
        from qpbridge.slides.tissue import tissue_mask

        mpp = self._engine.segmenter.views[0].fov.mpp
        scene = Scene(
            slide=opened.slide,
            calibration=opened.calibration.fitted_to(mpp),
            region=opened.region,
            tissue=tissue_mask(opened.slide, opened.calibration),
            wanted=LabelledArea(truth),
        )
        mosaic = predict_labels(self._engine, scene, self._progress, stage=f"predict {source.name}")
        grid = mosaic.grid
        frame = Frame(
            region=opened.region,
            downsample_x=grid.downsample_x,
            downsample_y=grid.downsample_y,
            width=grid.mosaic_width,
            height=grid.mosaic_height,
        )
        return frame, MapPrediction(mosaic.labels)


class _Files:
    """Written predictions, painted on the pixels of the slide."""

    def __init__(self, folder: Path, sources: Sequence[Source], region_class: str) -> None:
        if not folder.is_dir():
            raise PredictionNotFoundError(f"no folder of predictions at {folder}; qpbridge predict --out writes one")
        self.rule = _annotated_rule(sources, region_class)
        self._folder = folder
        self._fingerprints = _fingerprints(folder / RUN_FILE)

    def was_trained_on(self, source: Source) -> bool:
        del source
        return False

    def predict(self, source: Source, opened: OpenedSource, truth: Shapes) -> tuple[Frame, Prediction]:
        del truth
        path = find_results(self._folder, source.file_stem)
        if path is None:
            expected = results_file(self._folder, source.file_stem)
            raise PredictionNotFoundError(f"no prediction of {source.label}: there is no {expected} (or .gz)")
        fingerprint = self._fingerprints.get(path.name, opened.slide.fingerprint)
        if fingerprint != opened.slide.fingerprint:
            raise SlideMismatchError(
                f"{path} was predicted on another slide ({fingerprint}) than {source.label} is now"
                f" ({opened.slide.path}: {opened.slide.fingerprint}): predict again, or mend --path-map"
            )
        predicted = read_labels(read_objects(path).objects, replace(self.rule, unlabelled=None)).shapes
        slide, names = opened.slide, self.rule.class_names
        if UNLABELLED in names:
            # It is never written: where nothing is, it was predicted.
            whole = shapely.box(0, 0, slide.width_px, slide.height_px)
            predicted = ((whole, names.index(UNLABELLED)), *predicted)
        frame = Frame(
            region=opened.region, downsample_x=1, downsample_y=1, width=slide.width_px, height=slide.height_px
        )
        return frame, ShapePrediction(predicted)


class _Slide(msgspec.Struct):
    """What is read of a slide in ``run.json``."""

    file: str
    fingerprint: str


class _Run(msgspec.Struct):
    slides: list[_Slide]


def _fingerprints(run_file: Path) -> dict[str, str]:
    """Return the fingerprints of the slides that results come from, by the names of their files, as far as told."""
    try:
        run = msgspec.json.decode(run_file.read_bytes(), type=_Run)
    except (OSError, msgspec.DecodeError):
        return {}
    return {Path(slide.file).name: slide.fingerprint for slide in run.slides}


def _comparison(
    request: EvaluateRequest, sources: Sequence[Source], progress: Progress, load: LoadBundle | None
) -> _Comparison:
    if request.predictions is not None and request.model is None:
        return _Files(request.predictions, sources, request.region_class)
    if request.model is None or request.predictions is not None:
        raise InvalidValueError("give either a model or a folder of predictions to evaluate")
    from qpbridge.models.bundle import load_bundle

    return _Model((load or load_bundle)(request.model), request.device, request.region_class, progress)


def _score(source: Source, mpp: float | None, comparison: _Comparison) -> EntryScore | None:
    """Return the scores of an entry, None where it has no labelled pixels."""
    names = comparison.rule.class_names
    truth = read_labels(source.objects(), comparison.rule).shapes
    if all(label == IGNORE_INDEX for _, label in truth):
        return None
    with source.open(mpp) as opened:
        frame, prediction = comparison.predict(source, opened, truth)
        matrix = score(truth, prediction, frame, names)
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
    )


def _annotated_rule(sources: Sequence[Source], region_class: str) -> LabelRule:
    annotations: list[PathObject] = []
    for source in sources:
        # An entry that cannot be read is told when its turn comes.
        with contextlib.suppress(QpbridgeError):
            annotations += annotations_of(source.objects())
    project = sources[0].project if sources else None
    return label_rule(annotations, () if project is None else project.classes, region_class=region_class)


def _nothing_labelled(project: Path, class_names: Sequence[str]) -> NoAnnotationError:
    wanted = f"of {', '.join(class_names)}" if class_names else "of any class"
    return NoAnnotationError(f"{project} has no annotation {wanted} to compare with; draw some in QuPath and save")
