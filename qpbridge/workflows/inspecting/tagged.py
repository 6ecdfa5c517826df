"""What training on tags would use of a project, before any pixel is read."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import Region
from qpbridge.core.objects import PathClass, PathObject
from qpbridge.errors import QpbridgeError
from qpbridge.training.classes import choose_tagged_classes
from qpbridge.training.tagging import check_learnable
from qpbridge.vector.labels import LabelRule, TaggedArea, image_tags, read_labels, tags_of
from qpbridge.workflows.inspecting.records import EntryReport, TaggedClass, TagPreview


def preview_tags(
    entries: Sequence[tuple[EntryReport, Sequence[PathObject]]],
    project_classes: Sequence[PathClass],
    region_class: str,
) -> TagPreview | None:
    """Return what training on tags would use; None where nothing is tagged.

    Parameters
    ----------
    entries : sequence of (EntryReport, sequence of PathObject)
        Those that can be used, with their annotations.
    project_classes : sequence of PathClass
        As listed in the project.
    region_class : str
        Class that tags are derived from.
    """
    drawn = [tag for _, objects in entries for item in objects for tag in tags_of(item, region_class) or ()]
    known = [*(item.name for item in project_classes), *drawn]
    tags = [*drawn, *(tag for entry, _ in entries for tag in image_tags(entry.metadata, entry.tags, known) or ())]
    if not tags:
        return None
    try:
        choice = choose_tagged_classes(tags, project_classes, None, region_class)
    except QpbridgeError as error:
        return TagPreview(obstacle=str(error))
    found = [one for entry, objects in entries for one in _areas(entry, objects, choice.rule)]
    presence = np.array(
        [[IGNORE_INDEX if one is None else one for one in area.presence] for area, _ in found], np.int64
    )
    return TagPreview(
        classes=tuple(
            TaggedClass(name=name, present=int((column == 1).sum()), absent=int((column == 0).sum()))
            for name, column in zip(choice.names, presence.T, strict=True)
        ),
        areas=len(found),
        edge_um=statistics.median(edge_um for _, edge_um in found),
        obstacle=_obstacle(presence, choice.names),
    )


def _areas(entry: EntryReport, objects: Sequence[PathObject], rule: LabelRule) -> list[tuple[TaggedArea, float]]:
    """Return the tagged areas of an entry with their longer edge, µm."""
    image = entry.image
    if not (image.calibration and image.width_px and image.height_px):
        return []
    bounds = Region(x_px=0, y_px=0, width_px=image.width_px, height_px=image.height_px)
    labels = read_labels(objects, rule, bounds=bounds, metadata=entry.metadata, tags=entry.tags)
    return [(one, _edge_px(one) * image.calibration.mpp_x) for one in labels.tagged]


def _edge_px(area: TaggedArea) -> float:
    left, top, right, bottom = area.geometry.bounds
    return float(max(right - left, bottom - top))


def _obstacle(presence: np.ndarray[tuple[int, int], np.dtype[np.int64]], names: Sequence[str]) -> str | None:
    try:
        check_learnable(presence, names)
    except QpbridgeError as error:
        return str(error)
    return None
