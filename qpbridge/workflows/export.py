"""The objects of a project as GeoJSON in QuPath's form, and on request as label maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.core.backend import Backend
from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.objects import PathClass, PathObject, annotations_of
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError, PixelSizeMissingError
from qpbridge.files import atomic_file, write_bytes
from qpbridge.qupath.geojson import write_objects
from qpbridge.vector.labels import UNLABELLED, is_learnt, label_rule, read_labels
from qpbridge.vector.raster import rasterize
from qpbridge.workflows.entries.failures import Failure, Failures, one_by_one
from qpbridge.workflows.entries.naming import results_file
from qpbridge.workflows.entries.sources import Source, open_told, sources_in
from qpbridge.workflows.requests import ExportRequest

__all__ = ["ExportReport", "ExportRequest", "ExportedEntry", "LabelFrame", "LabelTable", "export"]

LABEL_MAP_MAX_PX: Final = 500_000_000
"""Pixels of the largest label map that is made in memory, one byte each."""

CLASSES_FILE: Final = "classes.json"
"""Says which label is which class."""

_WHITE: Final = (255, 255, 255)

_UNLABELLED_RGB: Final = (200, 200, 200)

_ROUNDING: Final = 1e-6
"""Absorbs the rounding of an edge that is a whole number of pixels, px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedEntry:
    """What was written of one entry: the number of objects, and the files; None where there was nothing to write."""

    id: str
    name: str
    objects: int
    geojson: Path | None = None
    label_map: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written, which entries failed, and what read the project."""

    out: Path
    entries: tuple[ExportedEntry, ...]
    failures: tuple[Failure, ...]
    backend: Backend = field(default_factory=Backend)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def export(request: ExportRequest, progress: Progress) -> ExportReport:
    """Write the objects of every entry; one that fails is told and does not stop the rest.

    Raises
    ------
    ProjectNotFoundError, DamagedProjectError
        If there is no such project.
    UnknownNameError
        If an entry does not exist.
    DiskFullError
        If there is no space left; files written so far are whole.
    CancelledError
        If somebody asked to stop.
    """
    project = open_told(request.project, request.backend, progress)
    sources = sources_in(project, request.entries, request.path_map)
    labels = LabelTable(project.classes, request.region_class)
    exported: list[ExportedEntry] = []
    failures = Failures(progress)
    for source in one_by_one(sources, "export", progress):
        with failures.kept(source.label):
            objects = source.objects()
            exported.append(_write_objects(source, objects, request))
            if request.label_maps and exported[-1].geojson is not None:
                exported[-1] = replace(exported[-1], label_map=_write_label_map(source, objects, request, labels))
    if request.label_maps:
        write_bytes(request.out / CLASSES_FILE, labels.as_json(request.mpp))
    return ExportReport(
        out=request.out, entries=tuple(exported), failures=tuple(failures.found), backend=project.backend
    )


class LabelTable:
    """Which label is which class, over all entries: the project's classes in their order, then others as they come.

    Parameters
    ----------
    classes : sequence of PathClass
        Of the project; ignored ones have no label.
    region_class : str
        Class of annotations that mark areas as complete.
    """

    def __init__(self, classes: Sequence[PathClass], region_class: str) -> None:
        self._project_classes = classes
        self._region_class = region_class
        self._classes: dict[str, PathClass] = {}
        self._add(classes)

    @property
    def names(self) -> list[str]:
        """Names of classes; the position is the label."""
        return list(self._classes)

    @property
    def palette(self) -> list[int]:
        """Colors of the labels 0 to 255, flat; white where nothing is annotated."""
        colors = [item.color_rgb for item in self._classes.values()]
        return [value for color in [*colors, *[_WHITE] * (IGNORE_INDEX + 1 - len(colors))] for value in color]

    def paint(self, objects: Sequence[PathObject], frame: LabelFrame) -> LabelMap:
        """Return the label map of an entry's annotations.

        Raises
        ------
        InvalidValueError
            If there are more classes than labels.
        """
        self._add([item.path_class for item in annotations_of(objects) if item.path_class is not None])
        rule = label_rule(objects, self._project_classes, self.names, self._region_class)
        self._add([PathClass(UNLABELLED, _UNLABELLED_RGB)] if UNLABELLED in rule.class_names else [])
        return rasterize(read_labels(objects, rule).shapes, frame.region, frame.width, frame.height)

    def as_json(self, mpp: float | None) -> bytes:
        """Return what a reader of the label maps must know."""
        classes = [
            {"label": label, "name": item.name, "color_rgb": item.color_rgb}
            for label, item in enumerate(self._classes.values())
        ]
        document = {"mpp": mpp, "ignore_index": IGNORE_INDEX, "classes": classes}
        return msgspec.json.format(msgspec.json.encode(document), indent=2)

    def _add(self, classes: Sequence[PathClass]) -> None:
        for item in classes:
            if is_learnt(item, self._region_class):
                self._classes.setdefault(item.name, item)
        if len(self._classes) > IGNORE_INDEX:
            raise InvalidValueError(f"a label map holds {IGNORE_INDEX} classes, not {len(self._classes)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFrame:
    """Place and size of a label map: the whole image, level-0 px, in ``width`` times ``height`` pixels."""

    region: Region
    width: int
    height: int

    @classmethod
    def of_image(cls, size_px: tuple[int, int], calibration: PixelCalibration | None, mpp: float | None) -> LabelFrame:
        """Return the frame for an image of a size at an mpp, or of its own pixels.

        Raises
        ------
        InvalidValueError
            If the label map would be too large.
        """
        scale_x = scale_y = 1.0
        if mpp is not None and calibration is not None:
            scale_x, scale_y = mpp / calibration.mpp_x, mpp / calibration.mpp_y
        width, height = math.ceil(size_px[0] / scale_x - _ROUNDING), math.ceil(size_px[1] / scale_y - _ROUNDING)
        if width * height > LABEL_MAP_MAX_PX:
            raise InvalidValueError(f"a label map of {width} x {height} px is too large; give a coarser --mpp")
        region = Region(x_px=0, y_px=0, width_px=width * scale_x, height_px=height * scale_y)
        return cls(region=region, width=width, height=height)


def _write_objects(source: Source, objects: Sequence[PathObject], request: ExportRequest) -> ExportedEntry:
    chosen = annotations_of(objects) if request.annotations_only else objects
    path = None
    if source.entry is not None and source.entry.has_data:
        path = results_file(request.out, source.file_stem, request.gzip)
        write_objects(path, chosen)
    return ExportedEntry(id=source.key, name=source.name, objects=len(chosen), geojson=path)


def _write_label_map(source: Source, objects: Sequence[PathObject], request: ExportRequest, labels: LabelTable) -> Path:
    from PIL import Image

    image = Image.fromarray(labels.paint(objects, _frame(source, request.mpp)))
    image.putpalette(labels.palette)
    path = request.out / f"{source.file_stem}.labels.png"
    with atomic_file(path) as file:
        image.save(file, format="PNG")
    return path


def _frame(source: Source, mpp: float | None) -> LabelFrame:
    """Return the frame of an entry; its slide is opened only where the project does not say enough."""
    assert source.entry is not None
    server = source.entry.server
    if server.width_px and server.height_px and (mpp is None or server.calibration is not None):
        return LabelFrame.of_image((server.width_px, server.height_px), server.calibration, mpp)
    try:
        with source.open(None) as opened:
            size_px = (opened.slide.width_px, opened.slide.height_px)
            return LabelFrame.of_image(size_px, opened.calibration, mpp)
    except PixelSizeMissingError as error:
        raise PixelSizeMissingError(
            f"{source.label} has no pixel size, so it has no label map of {mpp} µm/px: set the pixel size in QuPath"
            " (Image tab, double-click Pixel width), or leave --mpp out for the slide's own pixels"
        ) from error
