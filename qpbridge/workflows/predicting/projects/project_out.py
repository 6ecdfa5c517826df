"""A new QuPath project that holds the slides of a run and what was predicted on them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import RgbImage
from qpbridge.core.objects import PathClass, PathObject
from qpbridge.errors import InvalidValueError
from qpbridge.models.spec import ModelClass
from qpbridge.qupath.encoding.entry import BIOFORMATS, OPENSLIDE, THUMBNAIL_PX
from qpbridge.qupath.encoding.settings import ImageSettings, read_settings
from qpbridge.qupath.geojson.outlines import on_grid
from qpbridge.qupath.project import ProjectEntry
from qpbridge.qupath.writing import NewEntry, ProjectMaker, new_project
from qpbridge.slides.openslide_source import detect_vendor
from qpbridge.slides.slide import Slide
from qpbridge.workflows.entries.making import entry_of_slide
from qpbridge.workflows.entries.roots import may_read
from qpbridge.workflows.entries.sources import PICTURE_SUFFIXES, OpenedSource, Source
from qpbridge.workflows.requests import PredictRequest


class ResultsProject:
    """Takes the results of one slide after the other.

    Parameters
    ----------
    maker : ProjectMaker or None
        Of the project; where None, nobody asked for one, and nothing is done.
    """

    def __init__(self, maker: ProjectMaker | None) -> None:
        self._maker = maker

    @property
    def is_wanted(self) -> bool:
        """Whether somebody asked for a project."""
        return self._maker is not None

    @property
    def has_slides(self) -> bool:
        """Whether there will be a project."""
        return self._maker is not None and self._maker.count > 0

    def add(self, source: Source, opened: OpenedSource, objects: Sequence[PathObject]) -> None:
        """Add a slide and its objects, with the outlines that the GeoJSON has."""
        if self._maker is not None:
            self._maker.add(new_entry(source, opened, _as_in_geojson(objects)))


@contextlib.contextmanager
def results_project(
    request: PredictRequest, sources: Sequence[Source], classes: Sequence[ModelClass]
) -> Iterator[ResultsProject]:
    """Yield what takes the results; the project appears when the block ends well and a slide was added.

    Parameters
    ----------
    request : PredictRequest
        Says whether and where.
    sources : sequence of Source
        All slides: their project's classes come first, and keep their colors.
    classes : sequence of ModelClass
        Of the model.

    Raises
    ------
    InvalidValueError
        If the place would take the results' own, or is no folder's name.
    ProjectExistsError
        If there is something else than a project that a run made and nobody changed.
    """
    if request.project_out is None:
        yield ResultsProject(None)
        return
    _check_place(request.project_out, request.out)
    known = next((source.project.classes for source in sources if source.project is not None), ())
    named = {item.name for item in known}
    added = (PathClass(item.name, item.color_rgb) for item in classes if item.is_written and item.name not in named)
    with new_project(request.project_out, (*known, *added)) as maker:
        yield ResultsProject(maker)


def new_entry(source: Source, opened: OpenedSource, objects: Sequence[PathObject]) -> NewEntry:
    """Return the entry of a slide; one of a project keeps what people chose and wrote there."""
    slide = opened.slide
    entry = replace(
        entry_of_slide(slide, objects),
        name=source.name,
        calibration=opened.calibration,
        provider=_provider(slide.path),
        thumbnail=_thumbnail(slide),
    )
    if source.entry is None:
        return entry
    data = source.entry.data_path
    settings = read_settings(data) if may_read(data) else ImageSettings()
    return replace(
        entry,
        metadata=source.entry.metadata,
        description=source.entry.description,
        tags=source.entry.tags,
        builder=_builder(source.entry),
        image_type=settings.image_type,
        stains=settings.stains,
    )


def _as_in_geojson(objects: Sequence[PathObject]) -> list[PathObject]:
    with_nuclei = [item for item in objects if item.nucleus is not None]
    nuclei = dict(zip(map(id, with_nuclei), _gridded([item.nucleus for item in with_nuclei]), strict=True))
    return [
        replace(item, geometry=outline, nucleus=nuclei.get(id(item)))
        for item, outline in zip(objects, _gridded([item.geometry for item in objects]), strict=True)
        if outline is not None
    ]


def _gridded(geometries: Sequence[BaseGeometry | None]) -> Sequence[BaseGeometry | None]:
    return list(on_grid(geometries)[0]) if geometries else ()


def _check_place(folder: Path, out: Path) -> None:
    if folder.suffix == ".qpproj":
        raise InvalidValueError(f"--project-out {folder} names a file; give the folder for the project")
    if out.resolve().is_relative_to(folder.resolve()):
        raise InvalidValueError(
            f"the results in {out} lie where the project {folder} is to be made; give another folder to one of them"
        )


def _provider(path: Path) -> str | None:
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return None
    return BIOFORMATS if detect_vendor(path) is None else OPENSLIDE


def _builder(entry: ProjectEntry) -> Mapping[str, Any] | None:
    if entry.builder is not None:
        return entry.builder
    stored: Mapping[str, Any] = json.loads((entry.data_folder / "server.json").read_bytes())
    return stored


def _thumbnail(slide: Slide) -> RgbImage:
    width_max, height_max = THUMBNAIL_PX
    scale = max(1.0, slide.width_px / width_max, slide.height_px / height_max)
    return slide.read(slide.region, max(1, round(slide.width_px / scale)), max(1, round(slide.height_px / scale)))
