"""What is compared with annotations: a model that is run now, or predictions that were written."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import ObjectKind, PathObject, annotations_of
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError, PredictionNotFoundError, QpbridgeError, SlideMismatchError
from qpbridge.evaluation.scoring import Frame, LabelledArea, MapPrediction, Prediction, ShapePrediction, Shapes
from qpbridge.inference.interest import Interest
from qpbridge.qupath.geojson import read_objects
from qpbridge.vector.labels import UNLABELLED, LabelRule, Subject, label_rule, read_labels
from qpbridge.vector.raster import mend
from qpbridge.workflows.entries.findings import without_findings
from qpbridge.workflows.entries.naming import RUN_FILE, find_results, results_file
from qpbridge.workflows.entries.sources import OpenedSource, Source
from qpbridge.workflows.requests import EvaluateRequest, PredictRequest

if TYPE_CHECKING:
    from qpbridge.models.bundle import Bundle
    from qpbridge.workflows.predicting.warm import LoadBundle

NUCLEUS_KINDS: Final = frozenset({ObjectKind.CELL, ObjectKind.DETECTION})

_AROUND_UM: Final = 20.0
"""How far around what is known nuclei are looked for: half of one may lie in it while its centroid does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What was predicted on a slide.

    Parameters
    ----------
    frame : Frame
        Pixels to compare.
    prediction : Prediction
        Their labels.
    nuclei : sequence of geometry or None
        Single nuclei, level-0 px, smaller ones first; None where tissue was predicted.
    """

    frame: Frame
    prediction: Prediction
    nuclei: Sequence[BaseGeometry] | None = None


class Comparison(Protocol):
    """What is compared with annotations."""

    @property
    def rule(self) -> LabelRule:
        """How annotations become labels."""

    def was_trained_on(self, source: Source) -> bool:
        """Whether the model knows an image of this name."""

    def predict(self, source: Source, opened: OpenedSource, truth: Shapes) -> Predicted:
        """Return what was predicted on a slide, at least where the truth is known."""


def comparison_of(
    request: EvaluateRequest, sources: Sequence[Source], progress: Progress, load: LoadBundle | None
) -> Comparison:
    """Return what a request wants to be compared.

    Raises
    ------
    InvalidValueError
        If it is not exactly one of model and predictions.
    BundleNotFoundError, DamagedBundleError
        If there is no such model.
    PredictionNotFoundError
        If there is no such folder.
    NoAnnotationError
        If nuclei were predicted, and none are annotated.
    """
    if request.predictions is not None and request.model is None:
        return _Files(request.predictions, sources, request.region_class)
    if request.model is None or request.predictions is not None:
        raise InvalidValueError("give either a model or a folder of predictions to evaluate")
    from qpbridge.models.bundle import load_bundle
    from qpbridge.models.registry import family

    bundle = (load or load_bundle)(request.model)
    finds_nuclei = family(bundle.spec.family).subject is Subject.NUCLEI
    return (_NucleiModel if finds_nuclei else _Model)(bundle, request, progress)


class _Model:
    """A model, run where there are annotations."""

    def __init__(self, bundle: Bundle, request: EvaluateRequest, progress: Progress) -> None:
        from qpbridge.inference.device import Runtime, choose_device, use_available_cores
        from qpbridge.inference.engine import Engine, Segmenter

        use_available_cores()
        segmenter = Segmenter.of(bundle)
        names = tuple(item.name for item in bundle.spec.classes)
        self.rule = LabelRule(class_names=names, unlabelled=segmenter.background, region_class=request.region_class)
        self._known = set(bundle.provenance.training_entries)
        self._engine = Engine(segmenter, Runtime.suited_to(choose_device(request.device)), progress)
        self._staining = bundle.spec.staining
        self._progress = progress

    def was_trained_on(self, source: Source) -> bool:
        return source.name in self._known

    def predict(self, source: Source, opened: OpenedSource, truth: Shapes) -> Predicted:
        from qpbridge.inference.predicting import Scene, predict_labels
        from qpbridge.slides.tissue import tissue_mask
        from qpbridge.workflows.entries.staining import stained_as

        mpp = self._engine.segmenter.views[0].fov.mpp
        scene = Scene(
            slide=stained_as(self._staining, opened.slide, opened.calibration, source.label, self._progress),
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
        return Predicted(frame=frame, prediction=MapPrediction(mosaic.labels))


class _NucleiModel:
    """A model of nuclei, run as predict runs it, in and around what is annotated."""

    def __init__(self, bundle: Bundle, request: EvaluateRequest, progress: Progress) -> None:
        from qpbridge.training.classes import NUCLEUS_CLASS
        from qpbridge.workflows.predicting.predictor import NotedProgress, Predictor

        assert request.model is not None
        names = [item.name for item in bundle.spec.classes]
        self.rule = LabelRule(
            class_names=names,
            unlabelled=len(names) - 1,
            region_class=request.region_class,
            subject=Subject.NUCLEI,
            nucleus=names.index(NUCLEUS_CLASS.name) if NUCLEUS_CLASS.name in names else None,
        )
        self._known = set(bundle.provenance.training_entries)
        asked = PredictRequest(inputs=(), model=request.model, out=request.model, device=request.device)
        self._predictor = Predictor(asked, bundle, NotedProgress(progress))

    def was_trained_on(self, source: Source) -> bool:
        return source.name in self._known

    def predict(self, source: Source, opened: OpenedSource, truth: Shapes) -> Predicted:
        around_px = _AROUND_UM / min(opened.calibration.mpp_x, opened.calibration.mpp_y)
        areas = shapely.buffer([geometry for geometry, _ in truth], around_px, cap_style="square")
        interest = Interest.of(list(areas), opened.region)
        return _of_nuclei(self._predictor.objects(source, opened, interest), self.rule, opened)


class _Files:
    """Written predictions, painted on the pixels of the slide."""

    def __init__(self, folder: Path, sources: Sequence[Source], region_class: str) -> None:
        if not folder.is_dir():
            raise PredictionNotFoundError(f"no folder of predictions at {folder}; qpbridge predict --out writes one")
        self._folder = folder
        self._run = _read_run(folder / RUN_FILE)
        self._fingerprints = {Path(slide.file).name: slide.fingerprint for slide in self._run.slides}
        self._finds_nuclei = self._are_nuclei(sources)
        self.rule = (_nucleus_rule if self._finds_nuclei else _tissue_rule)(sources, region_class)

    def was_trained_on(self, source: Source) -> bool:
        del source
        return False

    def predict(self, source: Source, opened: OpenedSource, truth: Shapes) -> Predicted:
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
        objects = read_objects(path).objects
        return (_of_nuclei if self._finds_nuclei else _of_tissue)(objects, self.rule, opened)

    def _are_nuclei(self, sources: Sequence[Source]) -> bool:
        if self._run.model.subject:
            return self._run.model.subject == Subject.NUCLEI.value
        # Of another program, or edited: nuclei are never annotations.
        files = (find_results(self._folder, source.file_stem) for source in sources)
        found = next((path for path in files if path is not None), None)
        return found is not None and any(item.kind in NUCLEUS_KINDS for item in read_objects(found).objects)


def _of_tissue(objects: Sequence[PathObject], rule: LabelRule, opened: OpenedSource) -> Predicted:
    predicted = read_labels(objects, replace(rule, unlabelled=None)).shapes
    slide, names = opened.slide, rule.class_names
    if UNLABELLED in names:
        # It is never written: where nothing is, it was predicted.
        whole = shapely.box(0, 0, slide.width_px, slide.height_px)
        predicted = ((whole, names.index(UNLABELLED)), *predicted)
    frame = Frame(region=opened.region, downsample_x=1, downsample_y=1, width=slide.width_px, height=slide.height_px)
    return Predicted(frame=frame, prediction=ShapePrediction(predicted))


def _of_nuclei(objects: Sequence[PathObject], rule: LabelRule, opened: OpenedSource) -> Predicted:
    nuclei = [item for item in objects if item.kind in NUCLEUS_KINDS]
    outlines = [mend(item.geometry if item.nucleus is None else item.nucleus)[0] for item in nuclei]
    return replace(_of_tissue(nuclei, rule, opened), nuclei=sorted(outlines, key=lambda one: one.area))


def _tissue_rule(sources: Sequence[Source], region_class: str) -> LabelRule:
    annotations = annotations_of(_objects(sources, region_class))
    project = sources[0].project if sources else None
    return label_rule(annotations, () if project is None else project.classes, region_class=region_class)


def _nucleus_rule(sources: Sequence[Source], region_class: str) -> LabelRule:
    from qpbridge.training.classes import choose_nucleus_classes

    project = sources[0].project if sources else None
    listed = () if project is None else project.classes
    return choose_nucleus_classes(_objects(sources, region_class), listed, None, region_class).rule


def _objects(sources: Sequence[Source], region_class: str) -> list[PathObject]:
    found: list[PathObject] = []
    for source in sources:
        # An entry that cannot be read is told when its turn comes.
        with contextlib.suppress(QpbridgeError):
            found += without_findings(source, region_class).objects
    return found


class _Slide(msgspec.Struct):
    """What is read of a slide in ``run.json``."""

    file: str
    fingerprint: str


class _OfModel(msgspec.Struct):
    subject: str = ""


class _Run(msgspec.Struct):
    slides: list[_Slide] = []
    model: _OfModel = msgspec.field(default_factory=_OfModel)


def _read_run(run_file: Path) -> _Run:
    """Return what a run says of itself, as far as it does."""
    try:
        return msgspec.json.decode(run_file.read_bytes(), type=_Run)
    except (OSError, msgspec.DecodeError):
        return _Run()
