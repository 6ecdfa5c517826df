"""Predict tissue regions on the slides of a project, or on bare slides, as GeoJSON that QuPath reads."""

from __future__ import annotations

import csv
import datetime
import io
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import torch

from qpbridge import __version__
from qpbridge.core.objects import BACKGROUND_CLASS, PathObject
from qpbridge.core.progress import Progress
from qpbridge.errors import CancelledError, DiskFullError, InvalidValueError, QpbridgeError
from qpbridge.files import write_bytes
from qpbridge.inference.device import Runtime, choose_device, use_available_cores
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.inference.objects import AREA, Identity, Outlining, outlines, to_annotations
from qpbridge.inference.predicting import Scene, predict_labels
from qpbridge.models.bundle import Bundle, load_bundle
from qpbridge.models.spec import ModelClass
from qpbridge.qupath.geojson import write_objects
from qpbridge.slides.tissue import tissue_mask
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.entries.naming import distinct_stems, results_file
from qpbridge.workflows.entries.sources import OpenedSource, Source, is_project, sources_of_project, sources_of_slides
from qpbridge.workflows.requests import PredictRequest

__all__ = ["ClassSummary", "PredictReport", "PredictRequest", "SlideResult", "predict"]

RUN_FILE: Final = "run.json"
SUMMARY_FILE: Final = "summary.csv"

UM2_PER_MM2: Final = 1e6

_COARSER_MAX: Final = 1.5
"""How much coarser than the model's a slide's pixels may be before the user is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSummary:
    """What was found of one class on one slide.

    Parameters
    ----------
    name : str
        Of the class.
    count : int
        Regions.
    area_mm2 : float
        Their area.
    share_of_tissue : float or None
        Of all that was predicted to be something other than Background; None for Background itself and
        where there is no tissue.
    """

    name: str
    count: int
    area_mm2: float
    share_of_tissue: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideResult:
    """What was predicted on one slide.

    Parameters
    ----------
    key, name : str
        Entry id, or stem of the file, and image name.
    file : Path
        GeoJSON.
    slide_path : Path
        The slide.
    fingerprint : str
        Of the slide.
    mpp_x, mpp_y : float
        Size of a level-0 pixel, µm.
    mpp_source : str
        ``"request"``, ``"project"`` or ``"file"``.
    objects : int
        Written.
    classes : tuple of ClassSummary
        Of every class that is written back.
    duration_s : float
        From opening the slide to the written file.
    warnings : tuple of str
        What the user should know about this slide.
    """

    key: str
    name: str
    file: Path
    slide_path: Path
    fingerprint: str
    mpp_x: float
    mpp_y: float
    mpp_source: str
    objects: int
    classes: tuple[ClassSummary, ...]
    duration_s: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictReport:
    """What was predicted, and which slides failed."""

    out: Path
    results: tuple[SlideResult, ...]
    failures: tuple[Failure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "out": str(self.out),
            "slides": [asdict(result) for result in self.results],
            "failures": [asdict(failure) for failure in self.failures],
        }


def predict(request: PredictRequest, progress: Progress) -> PredictReport:
    """Predict every slide; one that fails is told and does not stop the rest.

    ``run.json`` and ``summary.csv`` are written at the end, also when somebody asked to stop: then they hold
    the slides that were finished, whose files are kept.

    Raises
    ------
    BundleNotFoundError, DamagedBundleError
        If there is no such model.
    ProjectNotFoundError, DamagedProjectError
        If there is no such project.
    UnknownNameError
        If an entry does not exist.
    InvalidValueError
        If a value of the request is out of range, or inputs are mixed.
    DiskFullError
        If there is no space left; files written so far are whole.
    CancelledError
        If somebody asked to stop.
    """
    sources = _sources(request)
    stems = distinct_stems([source.file_stem for source in sources])
    noted = _Noted(progress)
    predictor = _Predictor(request, load_bundle(request.model), noted)
    run = _Run(predictor)
    try:
        for done, (source, stem) in enumerate(zip(sources, stems, strict=True)):
            noted.report("slides", done, len(sources))
            run.add(source, stem)
        noted.report("slides", len(sources), len(sources))
        run.status = "done"
    except CancelledError:
        run.status = "cancelled"
        raise
    finally:
        run.write()
    return PredictReport(out=request.out, results=tuple(run.results), failures=tuple(run.failures))


class _Noted:
    """Passes progress on and keeps the warnings since the last slide began."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.warnings: list[str] = []

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        self._progress.report(stage, done, total, **numbers)

    def warn(self, message: str) -> None:
        self.warnings.append(message)
        self._progress.warn(message)

    def raise_if_cancelled(self) -> None:
        self._progress.raise_if_cancelled()


class _Predictor:
    """Predicts one slide after the other with one model."""

    def __init__(self, request: PredictRequest, bundle: Bundle, progress: _Noted) -> None:
        self.request = request
        self.bundle = bundle
        self.progress = progress
        self.runtime = Runtime.suited_to(choose_device(request.device))
        self.threads = use_available_cores()
        self.outlining = Outlining(min_area_um2=request.min_area_um2, smooth_um=request.smooth_um)
        torch.manual_seed(request.seed)
        self._engine = Engine(Segmenter.of(bundle), self.runtime, progress)

    def predict(self, source: Source, file: Path) -> SlideResult:
        """Predict a slide and write its objects to a file."""
        start_s = time.monotonic()
        self.progress.warnings.clear()
        with source.open(self.request.mpp) as opened:
            objects = self._objects(source, opened)
            written = write_objects(file, objects)
            if written.mended or written.dropped:
                self.progress.warn(f"{source.label}: {written.mended} outlines mended, {written.dropped} left out")
            return SlideResult(
                key=source.key,
                name=source.name,
                file=file,
                slide_path=opened.slide.path,
                fingerprint=opened.slide.fingerprint,
                mpp_x=opened.calibration.mpp_x,
                mpp_y=opened.calibration.mpp_y,
                mpp_source=opened.calibration_source,
                objects=written.count,
                classes=_summary(objects, self.bundle.spec.classes),
                duration_s=round(time.monotonic() - start_s, 3),
                warnings=tuple(self.progress.warnings),
            )

    def _objects(self, source: Source, opened: OpenedSource) -> list[PathObject]:
        calibration, classes = opened.calibration, self.bundle.spec.classes
        mosaic = predict_labels(
            self._engine, self._scene(source, opened), self.progress, self.request.margin_px, f"predict {source.name}"
        )
        self.progress.report(f"outline {source.name}", 0, 1)
        polygons = outlines(mosaic, calibration, self.outlining, opened.region)
        self.progress.raise_if_cancelled()
        identity = Identity(slide=opened.slide.fingerprint, model=self.bundle.digest)
        objects = to_annotations(polygons, classes, calibration, identity)
        self.progress.report(f"outline {source.name}", 1, 1)
        return objects

    def _scene(self, source: Source, opened: OpenedSource) -> Scene:
        mpp = self.bundle.spec.views[0].fov.mpp
        calibration = opened.calibration
        if max(calibration.mpp_x, calibration.mpp_y) > _COARSER_MAX * mpp:
            self.progress.warn(
                f"{source.label} has pixels of {calibration.mpp_x:.3g} µm, the model was trained on {mpp:.3g} µm:"
                " what it looks for cannot be seen there"
            )
        tissue = tissue_mask(opened.slide, calibration) if self.request.use_tissue_mask else None
        if tissue is not None and not tissue.area_um2:
            self.progress.warn(f"{source.label}: no tissue found; --no-tissue-mask predicts on all of it")
        return Scene(slide=opened.slide, calibration=calibration.fitted_to(mpp), region=opened.region, tissue=tissue)


class _Run:
    """The record of a run."""

    def __init__(self, predictor: _Predictor) -> None:
        self._predictor = predictor
        self._started = datetime.datetime.now(datetime.UTC)
        self.status = "failed"
        self.results: list[SlideResult] = []
        self.failures: list[Failure] = []

    def add(self, source: Source, stem: str) -> None:
        """Predict a slide, or keep why that failed."""
        request, progress = self._predictor.request, self._predictor.progress
        progress.raise_if_cancelled()
        try:
            self.results.append(self._predictor.predict(source, results_file(request.out, stem, request.gzip)))
        except (CancelledError, DiskFullError):
            raise
        except QpbridgeError as error:
            progress.warn(str(error))
            self.failures.append(Failure.of(source.label, error))
        except MemoryError:
            message = f"{source.label} needs more memory than this machine has free; crop it in QuPath, or free some"
            progress.warn(message)
            self.failures.append(Failure(entry=source.label, reason="OUT_OF_MEMORY", message=message))

    def write(self) -> None:
        """Write ``run.json`` and ``summary.csv``."""
        out = self._predictor.request.out
        encoded = msgspec.json.encode(self._document(), enc_hook=str)
        write_bytes(out / RUN_FILE, msgspec.json.format(encoded, indent=2) + b"\n")
        write_bytes(out / SUMMARY_FILE, _summary_csv(self.results))

    def _document(self) -> dict[str, Any]:
        request, spec, runtime = self._predictor.request, self._predictor.bundle.spec, self._predictor.runtime
        return {
            "status": self.status,
            "started": self._started.isoformat(timespec="seconds"),
            "duration_s": round((datetime.datetime.now(datetime.UTC) - self._started).total_seconds(), 3),
            "versions": {"qpbridge": __version__, "torch": str(torch.__version__)},
            "model": {
                "path": request.model.resolve(),
                "digest": self._predictor.bundle.digest,
                "family": spec.family,
                "variant": spec.variant,
                "classes": [item.name for item in spec.classes],
                "mpp": spec.views[0].fov.mpp,
            },
            "device": {
                "name": str(runtime.device),
                "precision": "bfloat16" if runtime.is_bf16 else "float32",
                "batch_size": runtime.batch_size,
                "threads": self._predictor.threads,
            },
            "parameters": asdict(request),
            "slides": [asdict(result) for result in self.results],
            "failures": [asdict(failure) for failure in self.failures],
        }


def _sources(request: PredictRequest) -> list[Source]:
    projects = [path for path in request.inputs if path.is_dir() or is_project(path)]
    if not request.inputs or (projects and len(request.inputs) > 1):
        given = ", ".join(map(str, request.inputs)) or "nothing"
        raise InvalidValueError(f"give one project, or one or more slides, not {given}")
    if projects:
        return sources_of_project(projects[0], request.entries, request.path_map)
    if request.entries is not None:
        raise InvalidValueError(f"entries {', '.join(request.entries)} belong to a project, but slides were given")
    return sources_of_slides(request.inputs)


def _summary(objects: Sequence[PathObject], classes: Sequence[ModelClass]) -> tuple[ClassSummary, ...]:
    areas_mm2: dict[str, list[float]] = {item.name: [] for item in classes if item.is_written}
    for item in objects:
        assert item.path_class is not None
        areas_mm2[item.path_class.name].append(item.measurements[AREA] / UM2_PER_MM2)
    tissue_mm2 = sum(sum(areas) for name, areas in areas_mm2.items() if name != BACKGROUND_CLASS)
    return tuple(
        ClassSummary(
            name=name,
            count=len(areas),
            area_mm2=sum(areas),
            share_of_tissue=sum(areas) / tissue_mm2 if tissue_mm2 and name != BACKGROUND_CLASS else None,
        )
        for name, areas in areas_mm2.items()
    )


def _summary_csv(results: Sequence[SlideResult]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["entry", "image", "class", "count", "area_mm2", "share_of_tissue"])
    for result in results:
        for item in result.classes:
            share = "" if item.share_of_tissue is None else f"{item.share_of_tissue:.6g}"
            writer.writerow([result.key, result.name, item.name, item.count, f"{item.area_mm2:.6g}", share])
    return text.getvalue().encode()
