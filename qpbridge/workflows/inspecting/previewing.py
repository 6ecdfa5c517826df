"""What training would use of a project, before any pixel is read."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import Region
from qpbridge.core.naming import class_label
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.errors import QpbridgeError
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import FamilyConfig
from qpbridge.training.classes import choose_classes
from qpbridge.vector.labels import LabelRule, label_rule, read_labels, visible_areas_px
from qpbridge.vector.raster import ShapeIndex
from qpbridge.workflows.inspecting.entries import UM2_PER_MM2
from qpbridge.workflows.inspecting.records import EntryReport, TrainingClass, TrainingPreview
from qpbridge.workflows.inspecting.tagged import preview_tags

SAMPLES: Final = 16
"""Points along the edge of a patch at which labels are looked up."""

_DEFAULTS: Final = FamilyConfig(variant="")
_NUCLEI: Final = (ObjectKind.DETECTION.value, ObjectKind.CELL.value)


@dataclass(slots=True)
class _Found:
    """What all entries together show of each label."""

    areas_mm2: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    entries: Counter[int] = field(default_factory=Counter)
    patches: Counter[int] = field(default_factory=Counter)
    places: int = 0
    used: list[str] = field(default_factory=list)


def preview_training(
    entries: Sequence[tuple[EntryReport, Sequence[PathObject]]],
    project_classes: Sequence[PathClass],
    region_class: str,
) -> TrainingPreview:
    """Return what training would use, with the default patches of all families.

    Parameters
    ----------
    entries : sequence of (EntryReport, sequence of PathObject)
        All entries with their annotations; those with problems are left out.
    project_classes : sequence of PathClass
        As listed in the project.
    region_class : str
        Class of annotations that mark areas as completely annotated.
    """
    usable = [(entry, objects) for entry, objects in entries if not entry.problems]
    everything = [item for _, annotations in usable for item in annotations]
    rule = label_rule(everything, project_classes, region_class=region_class)
    found = _Found()
    for entry, drawn in usable:
        _add(found, entry, drawn, rule)
    annotated = _annotations(usable, rule)
    return TrainingPreview(
        classes=tuple(
            TrainingClass(
                name=name,
                entries=found.entries[label],
                annotations=annotated[label],
                area_mm2=found.areas_mm2[label],
                patches=found.patches[label],
            )
            for label, name in enumerate(rule.class_names)
        ),
        entries=tuple(found.used),
        obstacle=_obstacle(everything, project_classes, rule, found),
        patches=found.places,
        patch_px=_DEFAULTS.patch_px,
        patch_mpp=_DEFAULTS.mpp,
        nuclei=sum(entry.kinds.get(kind, 0) for entry, _ in usable if entry.complete_mm2 for kind in _NUCLEI),
        complete_mm2=sum(entry.complete_mm2 or 0.0 for entry, _ in usable),
        tagged=preview_tags(usable, project_classes, region_class),
    )


def _add(found: _Found, entry: EntryReport, annotations: Sequence[PathObject], rule: LabelRule) -> None:
    image = entry.image
    if not (annotations and image.calibration and image.width_px and image.height_px):
        return
    bounds = Region(x_px=0, y_px=0, width_px=image.width_px, height_px=image.height_px)
    shapes = read_labels(annotations, rule, bounds=bounds).shapes
    areas = visible_areas_px(shapes, bounds)
    pixel_mm2 = image.calibration.pixel_area_um2 / UM2_PER_MM2
    seen = {label: area * pixel_mm2 for label, area in areas.items() if area > 0}
    if not seen:
        return
    patch_um = _DEFAULTS.patch_px * _DEFAULTS.mpp
    columns = math.ceil(image.width_px * image.calibration.mpp_x / patch_um)
    rows = math.ceil(image.height_px * image.calibration.mpp_y / patch_um)
    grid = Region(
        x_px=0,
        y_px=0,
        width_px=columns * patch_um / image.calibration.mpp_x,
        height_px=rows * patch_um / image.calibration.mpp_y,
    )
    points = ShapeIndex(shapes).rasterize(grid, columns * SAMPLES, rows * SAMPLES)
    patches = points.reshape(rows, SAMPLES, columns, SAMPLES).swapaxes(1, 2).reshape(-1, SAMPLES**2)
    patches = patches[np.count_nonzero(patches != IGNORE_INDEX, axis=1) > Recipe().min_labelled_share * SAMPLES**2]
    found.used.append(entry.id)
    found.places += len(patches)
    for label, area in seen.items():
        found.areas_mm2[label] += area
        found.entries[label] += 1
        found.patches[label] += int((patches == label).any(axis=1).sum())


def _annotations(usable: Sequence[tuple[EntryReport, Sequence[PathObject]]], rule: LabelRule) -> Mapping[int, int]:
    counts: Counter[int] = Counter()
    for entry, _ in usable:
        for one in entry.classes:
            label = None if one.name is None else class_label(PathClass(one.name, (0, 0, 0)), rule.class_names)
            if label is not None:
                counts[label] += one.annotations
    return counts


def _obstacle(
    annotations: Sequence[PathObject], project_classes: Sequence[PathClass], rule: LabelRule, found: _Found
) -> str | None:
    try:
        choose_classes(annotations, project_classes, None, rule.region_class)
    except QpbridgeError as error:
        return str(error)
    lacking = [
        name for label, name in enumerate(rule.class_names) if label != rule.unlabelled and not found.areas_mm2[label]
    ]
    if lacking:
        return (
            f"nothing to learn {', '.join(map(repr, lacking))} from: covered by smaller annotations, or outside the"
            " image; annotate more, or leave it out of --classes"
        )
    if not found.places:
        edge = f"{_DEFAULTS.patch_px} px at {_DEFAULTS.mpp:g} µm/px"
        return f"no patch of {edge} has more than {100 * Recipe().min_labelled_share:g} % labelled: annotate more"
    return None
