"""Predict one region of one slide, and hand its objects out as they come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from qpbridge.core.geometry import Region
from qpbridge.core.objects import PathObject, count_suggestions
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError
from qpbridge.inference.interest import Interest
from qpbridge.inference.maps.blending import rows_of
from qpbridge.inference.streaming import stream_outlines
from qpbridge.models.bundle import load_bundle
from qpbridge.qupath.geojson import feature_lines
from qpbridge.workflows.entries.annotations import with_annotations
from qpbridge.workflows.entries.sources import OpenedSource, Source, is_project, sources_of_project, sources_of_slides
from qpbridge.workflows.predicting.areas import interest_of
from qpbridge.workflows.predicting.predictor import NotedProgress, Predictor
from qpbridge.workflows.predicting.results import ClassSummary, Tally
from qpbridge.workflows.predicting.warm import LoadBundle
from qpbridge.workflows.requests import PredictRegionRequest

__all__ = ["CHUNK_MAX_BYTES", "Emit", "PredictRegionReport", "PredictRegionRequest", "predict_region"]

CHUNK_MAX_BYTES: Final = 1 << 20
"""Of what is handed out at once."""

Emit = Callable[[bytes, int], None]
"""Takes lines of GeoJSON and the number of Features that end in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRegionReport:
    """What was predicted in one region.

    Parameters
    ----------
    objects : int
        Handed out.
    suggestions : int
        Regions among them that are to be looked at next.
    classes : tuple of ClassSummary
        Of every class that is written back.
    region : Region
        The part of the slide that was predicted, level-0 px: what was asked for, as far as it lies on the image.
    slide_path : Path
        The slide.
    mpp_x, mpp_y : float
        Size of a level-0 pixel, µm.
    mpp_source : str
        ``"request"``, ``"project"`` or ``"file"``.
    fingerprint : str
        Of the slide.
    model_digest : str
        Of the model.
    duration_s : float
        From opening the slide to the last object.
    warnings : tuple of str
        What the user should know.
    """

    objects: int
    suggestions: int
    classes: tuple[ClassSummary, ...]
    region: Region
    slide_path: Path
    mpp_x: float
    mpp_y: float
    mpp_source: str
    fingerprint: str
    model_digest: str
    duration_s: float
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "slide_path": str(self.slide_path)}


def predict_region(
    request: PredictRegionRequest, progress: Progress, emit: Emit, load: LoadBundle | None = None
) -> PredictRegionReport:
    """Predict a region and hand out each object as soon as nothing can change it any more.

    Together they are the objects, with the same ids, that ``predict`` writes for that region as only area of
    interest. Where an outline is that of a prediction of the whole slide, the id is, too: so it is away from the
    borders.

    Parameters
    ----------
    request : PredictRegionRequest
        Which region of which slide.
    progress : Progress
        Told of each tile, with the number of objects so far.
    emit : callable
        Takes at most ``CHUNK_MAX_BYTES`` of lines and the number of Features that end in them. A Feature that is
        longer is handed out in several parts, the last of which ends its line.
    load : callable or None
        Gives the model of a folder; ``load_bundle`` where None.

    Raises
    ------
    BundleNotFoundError, DamagedBundleError
        If there is no such model.
    ProjectNotFoundError, DamagedProjectError, UnknownNameError
        If there is no such project or entry.
    SlideNotFoundError, DamagedSlideError, UnsupportedImageError, SlideMismatchError, PixelSizeMissingError
        If the slide cannot be used.
    InvalidValueError
        If a value of the request is out of range, its annotations cannot be read, or the region lies outside the
        image.
    NoAnnotationError
        If no annotation given has an area.
    CancelledError
        If somebody asked to stop.
    """
    source = _source(request)
    noted = NotedProgress(progress)
    predictor = Predictor(request, (load or load_bundle)(request.model), noted)
    start_s = time.monotonic()
    with source.open(request.mpp) as opened:
        interest = interest_of(source, opened, request.region or opened.region, request.within)
        assert interest is not None
        tally, suggestions = Tally(predictor.bundle.spec.classes, opened.calibration.pixel_area_um2), 0
        # Closed before the slide is, since other threads read it ahead.
        with contextlib.closing(_objects(predictor, source, opened, interest)) as found:
            for objects in found:
                tally.add(objects)
                suggestions += count_suggestions(objects)
                for payload, count in chunks(feature_lines(objects)):
                    noted.raise_if_cancelled()
                    noted.objects += count
                    emit(payload, count)
        noted.report("outline", 1, 1)
        return PredictRegionReport(
            objects=noted.objects,
            suggestions=suggestions,
            classes=tally.summary(),
            region=interest.bounds,
            slide_path=opened.slide.path,
            mpp_x=opened.calibration.mpp_x,
            mpp_y=opened.calibration.mpp_y,
            mpp_source=opened.calibration_source,
            fingerprint=opened.slide.fingerprint,
            model_digest=predictor.bundle.digest,
            duration_s=round(time.monotonic() - start_s, 3),
            warnings=tuple(noted.warnings),
        )


def chunks(lines: Iterator[bytes], most: int = CHUNK_MAX_BYTES) -> Iterator[tuple[bytes, int]]:
    """Yield lines, each with its end, in parts of at most so many bytes, and how many lines end in each part."""
    pending, count = bytearray(), 0
    for line in lines:
        if pending and len(pending) + len(line) + 1 > most:
            yield bytes(pending), count
            pending, count = bytearray(), 0
        pending += line + b"\n"
        while len(pending) > most:
            yield bytes(pending[:most]), 0
            del pending[:most]
        count += 1
    if pending:
        yield bytes(pending), count


def _objects(
    predictor: Predictor, source: Source, opened: OpenedSource, interest: Interest
) -> Generator[list[PathObject], None, None]:
    if predictor.finds_nuclei:
        yield predictor.objects(source, opened, interest)
        predictor.progress.objects = 0  # counted when they leave
        return
    scene, extras = predictor.scene(source, opened, interest), predictor.extras()
    stage = f"predict {source.name}"
    with (
        extras.plan(opened) as plan,
        contextlib.closing(rows_of(predictor.engine, scene, predictor.progress, plan, stage)) as rows,
    ):
        for polygons in stream_outlines(rows, opened.calibration, predictor.outlining, interest, opened.region):
            yield predictor.annotations(polygons, opened, extras)
    yield predictor.suggestions(opened, extras)


def _source(request: PredictRegionRequest) -> Source:
    if request.input.is_dir() or is_project(request.input):
        entries = None if request.entry is None else [request.entry]
        sources = sources_of_project(request.input, entries, request.path_map)
    elif request.entry is not None:
        raise InvalidValueError(f"entry {request.entry} belongs to a project, but {request.input} is a slide")
    else:
        sources = sources_of_slides([request.input])
    if len(sources) != 1:
        raise InvalidValueError(f"{request.input} has {len(sources)} entries; name the one to predict")
    return with_annotations(sources, request.annotations, request.annotations_mode)[0]
