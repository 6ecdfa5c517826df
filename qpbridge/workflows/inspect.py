"""The preflight: what a project holds, what of it can be used, and why the rest cannot. Nothing is written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import shapely

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import ObjectKind, PathClass, PathObject, annotations_of
from qpbridge.core.progress import Progress
from qpbridge.errors import PixelSizeMissingError, QpbridgeError, UnsupportedImageError
from qpbridge.qupath.project import open_project
from qpbridge.training.classes import choose_classes
from qpbridge.vector.labels import annotated_area_px
from qpbridge.vector.raster import mend
from qpbridge.workflows.entries.failures import Failure, one_by_one
from qpbridge.workflows.entries.sources import Source, sources_of_project
from qpbridge.workflows.requests import InspectRequest

__all__ = [
    "ClassReport",
    "EntryReport",
    "ImageReport",
    "InspectReport",
    "InspectRequest",
    "TrainingClass",
    "TrainingPreview",
    "Trouble",
    "inspect",
    "inspect_entry",
    "preview_training",
    "similar_names",
]

EXAMPLES_MAX = 3
"""Objects named for each kind of trouble."""

_POLYGONAL = {"Polygon", "MultiPolygon"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    """What is known of an entry's image.

    Parameters
    ----------
    slide : Path or None
        Where it lies.
    width_px, height_px : int or None
        Level 0, as QuPath shows it.
    calibration : PixelCalibration or None
        Size of a pixel.
    calibration_source : str
        ``"request"``, ``"project"``, ``"file"`` or ``"missing"``.
    """

    slide: Path | None = None
    width_px: int | None = None
    height_px: int | None = None
    calibration: PixelCalibration | None = None
    calibration_source: str = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """Objects of one class in one entry.

    Parameters
    ----------
    name : str or None
        None for objects without a class.
    is_ignored : bool
        Left out of training, as in QuPath.
    objects, annotations : int
        Objects of every kind, and the annotations among them.
    area_mm2 : float or None
        Annotated area, overlaps counted once; None where the class is ignored or the pixel size unknown.
    """

    name: str | None
    is_ignored: bool
    objects: int
    annotations: int
    area_mm2: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Annotations that cannot be used as they stand.

    Parameters
    ----------
    what : str
        What is the matter and what becomes of them.
    count : int
        How many.
    examples : tuple of str
        Names or ids of the first ones.
    """

    what: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryReport:
    """One entry: its image, its objects by class, and everything that is wrong with it."""

    id: str
    name: str
    image: ImageReport
    classes: tuple[ClassReport, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    problems: tuple[Failure, ...] = ()

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"entry {self.id} '{self.name}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingClass:
    """A class that training would learn, with the entries that show it and its area there."""

    name: str
    entries: int
    annotations: int
    area_mm2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPreview:
    """What training would use.

    Parameters
    ----------
    classes : tuple of TrainingClass
        Of the entries that can be used.
    entries : tuple of str
        Their ids.
    obstacle : str or None
        Why training would refuse; None where it would start.
    """

    classes: tuple[TrainingClass, ...]
    entries: tuple[str, ...]
    obstacle: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectReport:
    """A project before any work starts.

    Parameters
    ----------
    project : Path
        The ``.qpproj`` file.
    qupath_version : str
        That wrote it.
    entries : tuple of EntryReport
        In the project's order.
    similar_classes : tuple of tuple of str
        Names of classes that differ only by case or blanks.
    training : TrainingPreview
        What training would use.
    """

    project: Path
    qupath_version: str
    entries: tuple[EntryReport, ...]
    similar_classes: tuple[tuple[str, ...], ...]
    training: TrainingPreview

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def inspect(request: InspectRequest, progress: Progress) -> InspectReport:
    """Look at every entry of a project; a broken one is told and does not stop the rest.

    Raises
    ------
    ProjectNotFoundError, DamagedProjectError
        If there is no such project.
    UnknownNameError
        If an entry does not exist.
    CancelledError
        If somebody asked to stop.
    """
    project = open_project(request.project)
    sources = sources_of_project(request.project, request.entries, request.path_map)
    entries: list[EntryReport] = []
    usable: list[PathObject] = []
    for source in one_by_one(sources, "inspect", progress):
        entry, annotations = inspect_entry(source, request.mpp)
        entries.append(entry)
        usable += [] if entry.problems else annotations
    found = {one.name for entry in entries for one in entry.classes if one.name is not None}
    return InspectReport(
        project=project.path,
        qupath_version=project.version,
        entries=tuple(entries),
        similar_classes=similar_names([*(item.name for item in project.classes), *sorted(found)]),
        training=preview_training(entries, _obstacle(usable, project.classes)),
    )


def inspect_entry(source: Source, mpp: float | None) -> tuple[EntryReport, list[PathObject]]:
    """Look at one entry; what is wrong with it becomes a part of the report.

    Returns
    -------
    EntryReport
        What was found.
    list of PathObject
        Its annotations.
    """
    image, problems = _image(source, mpp)
    objects: tuple[PathObject, ...] = ()
    try:
        objects = source.objects()
    except QpbridgeError as error:
        problems = (*problems, Failure.of(source.label, error))
    troubles: defaultdict[str, list[PathObject]] = defaultdict(list)
    for item in objects:
        for what in _troubles(item, image):
            troubles[what].append(item)
    report = EntryReport(
        id=source.key,
        name=source.name,
        image=image,
        classes=_classes(objects, image),
        troubles=tuple(_trouble(what, items) for what, items in troubles.items()),
        problems=problems,
    )
    return report, annotations_of(objects)


def similar_names(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Return the names that differ from one another only by case or blanks, group by group."""
    groups: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for name in names:
        groups["".join(name.split()).casefold()][name] = None
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def preview_training(entries: Sequence[EntryReport], obstacle: str | None) -> TrainingPreview:
    """Return what training would use of some entries, unless there is an obstacle."""
    usable = [entry for entry in entries if not entry.problems and any(one.area_mm2 for one in entry.classes)]
    by_name: defaultdict[str, list[ClassReport]] = defaultdict(list)
    for entry in usable:
        for one in entry.classes:
            if one.name is not None and one.area_mm2:
                by_name[one.name].append(one)
    classes = tuple(
        TrainingClass(
            name=name,
            entries=len(parts),
            annotations=sum(part.annotations for part in parts),
            area_mm2=sum(part.area_mm2 or 0.0 for part in parts),
        )
        for name, parts in by_name.items()
    )
    return TrainingPreview(classes=classes, entries=tuple(entry.id for entry in usable), obstacle=obstacle)


def _obstacle(annotations: Sequence[PathObject], project_classes: Sequence[PathClass]) -> str | None:
    try:
        choose_classes(annotations, project_classes, None)
    except QpbridgeError as error:
        return str(error)
    return None


def _image(source: Source, mpp: float | None) -> tuple[ImageReport, tuple[Failure, ...]]:
    try:
        with source.open(mpp) as opened:
            image = ImageReport(
                slide=source.located().path,
                width_px=opened.slide.width_px,
                height_px=opened.slide.height_px,
                calibration=opened.calibration,
                calibration_source=opened.calibration_source,
            )
        return image, ()
    except PixelSizeMissingError as error:
        return replace(_stated(source, mpp), slide=source.located().path), (Failure.of(source.label, error),)
    except QpbridgeError as error:
        return _stated(source, mpp), (Failure.of(source.label, error),)


def _stated(source: Source, mpp: float | None) -> ImageReport:
    """Return what request and project say of an image that cannot be opened."""
    assert source.entry is not None
    try:
        server = source.entry.server
    except UnsupportedImageError:
        return ImageReport()
    calibration, origin = server.calibration, "project"
    if mpp is not None:
        calibration, origin = PixelCalibration.square(mpp), "request"
    return ImageReport(
        width_px=server.width_px,
        height_px=server.height_px,
        calibration=calibration,
        calibration_source="missing" if calibration is None else origin,
    )


def _classes(objects: Sequence[PathObject], image: ImageReport) -> tuple[ClassReport, ...]:
    pixel_mm2 = None if image.calibration is None else image.calibration.pixel_area_um2 / 1e6
    areas_px = annotated_area_px(item for item in objects if not _is_outside(item, image))
    counts = Counter(item.path_class for item in objects)
    annotations = Counter(item.path_class for item in objects if item.kind is ObjectKind.ANNOTATION)
    return tuple(
        ClassReport(
            name=None if one is None else one.name,
            is_ignored=one is not None and one.is_ignored,
            objects=count,
            annotations=annotations[one],
            area_mm2=None
            if one is None or one.is_ignored or pixel_mm2 is None
            else areas_px.get(one.name, 0.0) * pixel_mm2,
        )
        for one, count in counts.items()
    )


def _troubles(item: PathObject, image: ImageReport) -> Iterable[str]:
    if item.kind is not ObjectKind.ANNOTATION:
        return
    if item.path_class is None:
        yield "has no class: not used"
    if item.plane.z or item.plane.t:
        yield "lies on another plane than the first: not used"
    if item.geometry.geom_type not in _POLYGONAL:
        yield "has no area (points or lines): not used"
        return
    if mend(item.geometry)[1]:
        yield "crosses itself: mended when used"
    if _is_outside(item, image):
        yield "lies outside the image: not used"
    elif _reaches_out(item, image):
        yield "reaches beyond the image: what is outside is not used"


def _is_outside(item: PathObject, image: ImageReport) -> bool:
    return bool(image.width_px) and not _bounds(item).intersects(_frame(image))


def _reaches_out(item: PathObject, image: ImageReport) -> bool:
    return bool(image.width_px) and not _frame(image).covers(_bounds(item))


def _bounds(item: PathObject) -> shapely.Polygon:
    return shapely.box(*item.geometry.bounds)


def _frame(image: ImageReport) -> shapely.Polygon:
    return shapely.box(0, 0, image.width_px or 0, image.height_px or 0)


def _trouble(what: str, items: Sequence[PathObject]) -> Trouble:
    return Trouble(what=what, count=len(items), examples=tuple(item.name or item.id for item in items[:EXAMPLES_MAX]))
