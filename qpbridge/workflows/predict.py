"""Predict tissue regions on the slides of a project, or on bare slides, as GeoJSON or a project that QuPath reads."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from qpbridge.core.backend import Backend
from qpbridge.core.objects import PathObject, count_suggestions
from qpbridge.core.progress import Progress
from qpbridge.errors import CancelledError, InvalidValueError
from qpbridge.files import sha256
from qpbridge.inference.interest import Interest
from qpbridge.models.bundle import load_bundle
from qpbridge.qupath.geojson import read_objects, write_objects
from qpbridge.qupath.reconcile import reconcile
from qpbridge.qupath.write_back import DataFingerprint, without_qupath
from qpbridge.workflows.entries.annotations import with_annotations
from qpbridge.workflows.entries.failures import Failures, one_by_one
from qpbridge.workflows.entries.naming import RUN_FILE, distinct_stems, places_file, results_file, results_stem
from qpbridge.workflows.entries.sources import (
    OpenedSource,
    Source,
    is_project,
    open_told,
    slides_in,
    sources_in,
    sources_of_slides,
)
from qpbridge.workflows.predicting.areas import interest_digest, interest_of
from qpbridge.workflows.predicting.history import SlideHistory, reserved
from qpbridge.workflows.predicting.predictor import NotedProgress, Predictor
from qpbridge.workflows.predicting.projects.in_project import ProjectStep
from qpbridge.workflows.predicting.projects.project_out import ResultsProject, results_project
from qpbridge.workflows.predicting.record import RunRecord
from qpbridge.workflows.predicting.results import SUMMARY_FILE, ClassSummary, PredictReport, SlideResult, Tally
from qpbridge.workflows.predicting.warm import LoadBundle
from qpbridge.workflows.requests import PredictRequest

__all__ = ["RUN_FILE", "SUMMARY_FILE", "ClassSummary", "PredictReport", "PredictRequest", "SlideResult", "predict"]


def predict(
    request: PredictRequest, progress: Progress, load: LoadBundle | None = None, job_id: str | None = None
) -> PredictReport:
    """Predict every slide; one that fails is told and does not stop the rest.

    ``run.json`` tells after every slide what is done, ``summary.csv`` is written at the end, also when somebody
    asked to stop. Where the request says so, a slide is kept as an earlier run in the same folder left it: if that
    run had the same model, version and parameters, the slide and the areas asked for are the same, and the file
    is whole. A new project of the slides and results, where one was asked for, appears at the end.

    Results that lie there are those of an earlier run, on which people may have worked since: what it found is
    replaced, what they drew, edited or locked stays, what they deleted does not come back (``reconcile``). What
    this run adds and replaces is kept beside the results, so that it can be undone. Where the request says so, what it
    found goes into the project, too, if that can be done without losing anything (``write_back``).

    What a model says of places (foveation: which fields it prefers) lies in a file of its own beside the results, as
    tile objects with measurements: every run makes it anew, and nobody edits it.

    Parameters
    ----------
    request : PredictRequest
        What to predict.
    progress : Progress
        Told of each tile, with the number of objects so far.
    load : callable or None
        Gives the model of a folder; ``load_bundle`` where None.
    job_id : str or None
        By which the run can be undone; one of its own where None. A run that is started again has the same.

    Raises
    ------
    BundleNotFoundError, DamagedBundleError
        If there is no such model.
    ProjectNotFoundError, DamagedProjectError
        If there is no such project.
    UnknownNameError
        If an entry does not exist.
    InvalidValueError
        If a value of the request is out of range, inputs are mixed, or its annotations cannot be read.
    ProjectExistsError
        If something lies where the new project is to be made that a run did not make, or that somebody changed.
    ResultsBusyError
        If another run works on the same folder of results.
    DiskFullError
        If there is no space left; files written so far are whole.
    CancelledError
        If somebody asked to stop.
    """
    sources = with_annotations(_sources(request, progress), request.annotations, request.annotations_mode)
    noted = NotedProgress(progress)
    if request.write_back:
        _prepare_write_back(sources, noted)
    predictor = Predictor(request, (load or load_bundle)(request.model), noted)
    with reserved(request.out):
        return _run(request, sources, predictor, job_id or secrets.token_hex(6))


def _run(request: PredictRequest, sources: Sequence[Source], predictor: Predictor, job_id: str) -> PredictReport:
    stems, noted = distinct_stems([source.file_stem for source in sources]), predictor.progress
    run = RunRecord(request, predictor, job_id)
    failures = Failures(noted)
    status = "failed"
    try:
        run.write("running", failures.found)
        with results_project(request, sources, predictor.bundle.spec.classes) as project:
            for source, stem in one_by_one(list(zip(sources, stems, strict=True)), "slides", noted):
                with failures.kept(source.label):
                    run.add(_predict(predictor, run, source, results_file(request.out, stem, request.gzip), project))
                run.write("running", failures.found)
        status = "done"
    except CancelledError:
        status = "cancelled"
        raise
    finally:
        run.write(status, failures.found)
        run.summarize()
    return PredictReport(
        out=request.out,
        job_id=run.job_id,
        project=request.project_out if project.has_slides else None,
        results=tuple(run.results),
        failures=tuple(failures.found),
        backend=_backend(sources),
    )


def _predict(predictor: Predictor, run: RunRecord, source: Source, file: Path, project: ResultsProject) -> SlideResult:
    predictor.progress.warnings.clear()
    with source.open(predictor.request.mpp) as opened:
        interest = interest_of(source, opened, within=predictor.request.within)
        kept = run.still_good(file, opened, interest)
        if kept is not None:
            predictor.progress.objects += kept.objects
            if project.is_wanted:
                project.add(source, opened, read_objects(file).objects)
            return kept
        objects, result = _write(predictor, run, source, opened, interest, file)
        project.add(source, opened, objects)
        return result


def _write(
    predictor: Predictor, run: RunRecord, source: Source, opened: OpenedSource, interest: Interest | None, file: Path
) -> tuple[Sequence[PathObject], SlideResult]:
    start_s = time.monotonic()
    seen = None if source.entry is None else DataFingerprint.of(source.entry)
    progress, tally = predictor.progress, Tally(predictor.bundle.spec.classes, opened.calibration.pixel_area_um2)
    objects = predictor.objects(source, opened, interest, run.map_file(file))
    history = SlideHistory(file.parent, results_stem(file))
    existing, record = history.before(run.job_id)
    within = None if interest is None else interest.geometry
    found = reconcile(existing, record, objects, within)
    with history.step(run.job_id, file, found):
        written = write_objects(file, found.objects)
    if written.mended or written.dropped:
        progress.warn(f"{source.label}: {written.mended} outlines mended, {written.dropped} left out")
    tally.add(found.objects)
    places = predictor.places(source, opened, interest)
    if places is not None:
        write_objects(places_file(file), places)
    put = None
    if run.writes_back:
        step = ProjectStep(file.parent, run.job_id, history.stem)
        put = step.put(source, seen, lambda there: reconcile(there, record, objects, within))
    return found.objects, SlideResult(
        key=source.key,
        name=source.name,
        file=file,
        slide_path=opened.slide.path,
        fingerprint=opened.slide.fingerprint,
        mpp_x=opened.calibration.mpp_x,
        mpp_y=opened.calibration.mpp_y,
        mpp_source=opened.calibration_source,
        objects=written.count,
        added=len(found.added),
        replaced=len(found.replaced),
        kept=len(found.kept),
        dropped=len(found.dropped),
        classes=tally.summary(),
        duration_s=round(time.monotonic() - start_s, 3),
        warnings=tuple(progress.warnings),
        probabilities=run.map_file(file),
        suggestions=count_suggestions(found.added),
        file_sha256=sha256(file),
        interest_sha256=interest_digest(interest),
        write_back=put,
    )


def _prepare_write_back(sources: Sequence[Source], progress: Progress) -> None:
    """Refuse to write slides back that belong to no project, and tell at once where it cannot be done."""
    project = next((source.project for source in sources), None)
    if project is None:
        raise InvalidValueError("--write-back puts objects into a project, but slides were given: give their project")
    obstacle = without_qupath(project)
    if obstacle is not None:
        progress.warn(f"nothing goes into the project, the GeoJSON is left: {obstacle}")


def _backend(sources: Sequence[Source]) -> Backend | None:
    return next((source.project.backend for source in sources if source.project is not None), None)


def _sources(request: PredictRequest, progress: Progress) -> list[Source]:
    projects = [path for path in request.inputs if path.is_dir() or is_project(path)]
    if not request.inputs or (projects and len(request.inputs) > 1):
        given = ", ".join(map(str, request.inputs)) or "nothing"
        raise InvalidValueError(f"give one project, one folder of slides, or one or more slides, not {given}")
    if projects and request.entries is None and not is_project(projects[0]):
        return sources_of_slides(slides_in(projects[0]))
    if projects:
        project = open_told(projects[0], request.backend, progress)
        return sources_in(project, request.entries, request.path_map)
    if request.entries is not None:
        raise InvalidValueError(f"entries {', '.join(request.entries)} belong to a project, but slides were given")
    return sources_of_slides(request.inputs)
