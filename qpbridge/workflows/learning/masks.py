"""Pseudo masks as objects, to be looked at in QuPath while the next stage learns from them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from qpbridge.core.geometry import Region
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.core.progress import Progress
from qpbridge.core.tiles import view_region
from qpbridge.models.spec import ModelSpec
from qpbridge.qupath.geojson import write_objects
from qpbridge.training.fitting.labelling import Made
from qpbridge.training.patches import Patch, PatchSet
from qpbridge.vector.placing import place
from qpbridge.vector.polygons import vectorize
from qpbridge.workflows.entries.gathering import OpenedSlide
from qpbridge.workflows.entries.naming import results_file

MASKS_ENDING = ".pseudo-masks"
"""Of the folder beside the bundle."""


def masks_folder(bundle: Path) -> Path:
    """Return where the pseudo masks of a training are written."""
    return bundle.with_name(f"{bundle.name}{MASKS_ENDING}")


def write_masks(folder: Path, made: Made, opened: Sequence[OpenedSlide], spec: ModelSpec, progress: Progress) -> None:
    """Write what the network labelled, one GeoJSON an entry, and tell where.

    They are detections: imported into QuPath they are seen, but teach nothing when the project is trained on again.

    Parameters
    ----------
    folder : Path
        Files of an earlier training are replaced.
    made : Made
        Labels of the training patches.
    opened : sequence of OpenedSlide
        A patch's ``slide`` is a position in this sequence.
    spec : ModelSpec
        Classes, and the view whose frame the labels have.
    progress : Progress
        Hears where they lie.

    Raises
    ------
    DiskFullError
        If there is no space left.
    """
    training = made.samples.training
    count = 0
    for position in sorted({patch.slide for patch in training.patches}):
        one = opened[position]
        patches = [patch for patch in training.patches if patch.slide == position]
        written = write_objects(results_file(folder, one.source.file_stem), _objects(patches, training, one, spec))
        count += written.count
    progress.warn(
        f"{count} pseudo masks of {len(training.patches)} patches are in {folder}: drag them onto their slides in"
        " QuPath to see what the second stage learns from"
    )
    if not made.is_judged_by_people:
        progress.warn(
            "nobody outlined tissue in the areas held back: scores compare with the first stage's pseudo masks there,"
            " which may themselves be wrong"
        )


def _objects(patches: Sequence[Patch], known: PatchSet, opened: OpenedSlide, spec: ModelSpec) -> Iterator[PathObject]:
    fov, slide = spec.views[0].fov, opened.slide
    bounds = Region(x_px=0, y_px=0, width_px=slide.slide.width_px, height_px=slide.slide.height_px)
    for patch in patches:
        region = view_region(patch.center_px, fov, slide.calibration)
        scale = region.width_px / fov.size_px, region.height_px / fov.size_px
        pieces = vectorize(np.ascontiguousarray(known.labels.of(patch)))
        for piece in place(pieces, (region.x_px, region.y_px), scale, bounds):
            item = spec.classes[piece.label]
            place_of = f"{opened.source.key} {patch} {item.name} {piece.geometry.wkb_hex}"
            yield PathObject(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, place_of)),
                kind=ObjectKind.DETECTION,
                geometry=piece.geometry,
                path_class=PathClass(item.name, item.color_rgb),
                name="pseudo mask",
            )
