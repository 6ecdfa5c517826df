"""One entry in the preflight: its image, its objects, and what is wrong with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import shapely

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.errors import PixelSizeMissingError, QpbridgeError
from qpbridge.qupath.locate import FoundBy
from qpbridge.vector.labels import (
    annotated_area_px,
    image_tags,
    is_learnt,
    is_region,
    labels_pixels,
    tags_of,
)
from qpbridge.vector.raster import mend
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.entries.findings import Drawn, without_findings
from qpbridge.workflows.entries.sources import OpenedSource, Source
from qpbridge.workflows.inspecting.records import ClassReport, EntryReport, ImageReport, Trouble

EXAMPLES_MAX: Final = 3
"""Objects named for each kind of trouble."""

UM2_PER_MM2: Final = 1e6

_FOUND: Final = "was found by an earlier run, and nobody edited or locked it: not used"

_POLYGONAL: Final = {"Polygon", "MultiPolygon"}


def inspect_entry(source: Source, mpp: float | None, region_class: str) -> tuple[EntryReport, tuple[PathObject, ...]]:
    """Look at one entry; what is wrong with it becomes a part of the report.

    Returns
    -------
    EntryReport
        What was found.
    tuple of PathObject
        Its objects without those that a run found and nobody touched.
    """
    assert source.entry is not None
    image, notes, problems = _image(source, mpp)
    found = Drawn(objects=(), untouched=())
    try:
        found = without_findings(source, region_class)
    except QpbridgeError as error:
        problems = (*problems, Failure.of(source.label, error))
    objects = found.objects
    troubles: defaultdict[str, list[PathObject]] = defaultdict(list)
    for item in objects:
        for what in _troubles(item, image):
            troubles[what].append(item)
    if found.untouched:
        troubles[_FOUND] = list(found.untouched)
    report = EntryReport(
        id=source.key,
        name=source.name,
        image=image,
        has_data=source.entry.has_data,
        kinds=dict(Counter(item.kind.value for item in objects)),
        locked=sum(item.is_locked for item in objects),
        complete_mm2=_complete_mm2(objects, image, region_class),
        metadata=dict(source.entry.metadata),
        tags=source.entry.tags,
        classes=_classes(source, objects, image, region_class),
        troubles=tuple(_trouble(what, items) for what, items in troubles.items()),
        notes=notes,
        problems=problems,
    )
    return report, objects


def _image(source: Source, mpp: float | None) -> tuple[ImageReport, tuple[str, ...], tuple[Failure, ...]]:
    stated = _stated(source, mpp)
    try:
        with source.open(mpp) as opened:
            image = replace(
                stated,
                slide=opened.slide.path,
                width_px=opened.slide.width_px,
                height_px=opened.slide.height_px,
                calibration=opened.calibration,
                calibration_source=opened.calibration_source,
                found_by=opened.found_by,
            )
            return image, tuple(_doubts(opened)), ()
    except QpbridgeError as error:
        return _unopened(source, stated, error), (), (Failure.of(source.label, error),)


def _unopened(source: Source, stated: ImageReport, error: QpbridgeError) -> ImageReport:
    """Return what is known of an image that cannot be used, with the place of its file where there is one."""
    try:
        located = source.located()
    except QpbridgeError:
        return stated
    opens = isinstance(error, PixelSizeMissingError)
    return replace(stated, slide=located.path, found_by=located.found_by.value if opens else None)


def _doubts(opened: OpenedSource) -> Iterable[str]:
    if FoundBy(opened.found_by).is_guess:
        yield f"found by the {opened.found_by}: is {opened.slide.path} the right file?"
    of_file = opened.slide.calibration
    if of_file is not None and not opened.calibration.is_near(of_file):
        yield (
            f"pixels of {opened.calibration.mpp_x:.4g} µm by the {opened.calibration_source} count, though the file"
            f" says {of_file.mpp_x:.4g} µm"
        )


def _stated(source: Source, mpp: float | None) -> ImageReport:
    """Return what request and project say of an image, as long as nobody has opened it."""
    assert source.entry is not None
    try:
        server = source.entry.server
    except QpbridgeError:
        return ImageReport()
    calibration, origin = server.calibration, "project"
    if mpp is not None:
        calibration, origin = PixelCalibration.square(mpp), "request"
    return ImageReport(
        width_px=server.width_px,
        height_px=server.height_px,
        calibration=calibration,
        calibration_source="missing" if calibration is None else origin,
        uri=server.uri,
    )


def _pixel_mm2(image: ImageReport) -> float | None:
    return None if image.calibration is None else image.calibration.pixel_area_um2 / UM2_PER_MM2


def _complete_mm2(objects: Iterable[PathObject], image: ImageReport, region_class: str) -> float | None:
    pixel_mm2 = _pixel_mm2(image)
    complete = [
        mend(item.geometry)[0]
        for item in objects
        if labels_pixels(item)
        and item.path_class is not None
        and is_region(item.path_class, region_class)
        and tags_of(item, region_class) is None
    ]
    return None if pixel_mm2 is None else float(shapely.union_all(complete).area) * pixel_mm2


def _classes(
    source: Source, objects: Sequence[PathObject], image: ImageReport, region_class: str
) -> tuple[ClassReport, ...]:
    pixel_mm2 = _pixel_mm2(image)
    areas_px = annotated_area_px((item for item in objects if not _is_outside(item, image)), region_class)
    counts = Counter(item.path_class for item in objects)
    annotations = Counter(item.path_class for item in objects if item.kind is ObjectKind.ANNOTATION)
    tagged = _tagged(source, objects, region_class)
    unseen = [PathClass(name, (0, 0, 0)) for name in tagged if all(one is None or one.name != name for one in counts)]
    return tuple(
        ClassReport(
            name=None if one is None else one.name,
            is_ignored=one is not None and not is_learnt(one, region_class),
            objects=counts[one],
            annotations=annotations[one],
            area_mm2=areas_px.get(one.name, 0.0) * pixel_mm2
            if one is not None and pixel_mm2 is not None and is_learnt(one, region_class)
            else None,
            tags=0 if one is None else tagged.get(one.name, 0),
            is_region=one is not None and is_region(one, region_class),
        )
        for one in (*counts, *unseen)
    )


def _tagged(source: Source, objects: Iterable[PathObject], region_class: str) -> Mapping[str, int]:
    """Return how many areas, and whole images, are tagged with each name."""
    assert source.entry is not None
    assert source.project is not None
    known = [item.name for item in source.project.classes]
    stated = [
        image_tags(source.entry.metadata, source.entry.tags, known),
        *(tags_of(one, region_class) for one in objects),
    ]
    return Counter(name for names in stated for name in names or ())


def _troubles(item: PathObject, image: ImageReport) -> Iterable[str]:
    if item.kind is not ObjectKind.ANNOTATION:
        return
    if item.path_class is None and tags_of(item) is None:
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
