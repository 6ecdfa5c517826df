"""What an earlier run found and nobody touched is no annotation: a network must not be taught its own answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING

from qpbridge.core.objects import REGION_CLASS, ObjectKind, PathObject
from qpbridge.workflows.entries.naming import RESULTS_FOLDER
from qpbridge.workflows.entries.roots import may_read
from qpbridge.workflows.entries.sources import Source

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The objects of a slide, sorted by who stands for them.

    Parameters
    ----------
    objects : tuple of PathObject
        What people drew, edited, locked or marked as complete.
    untouched : tuple of PathObject
        What runs found, and nobody has touched since.
    """

    objects: tuple[PathObject, ...]
    untouched: tuple[PathObject, ...]


def without_findings(source: Source, region_class: str = REGION_CLASS) -> Drawn:
    """Return the objects of a slide without those that a run found and nobody touched.

    Runs are those whose results lie beside the project, where they are put unless a request says otherwise. To edit or
    to lock an object is to stand for it. So is to mark an area as complete: what was found in it counts, as far as it
    lies in it.

    Parameters
    ----------
    source : Source
        The slide.
    region_class : str
        Class of annotations that mark areas as completely annotated.

    Raises
    ------
    DamagedDataError, PathRefusedError
        If the entry's data cannot be read.
    DamagedRecordError, DamagedGeoJsonError
        If what runs wrote cannot be read.
    """
    objects = source.objects()
    written = _written(source) if objects else []
    if not written:
        return Drawn(objects=objects, untouched=())
    from qpbridge.qupath.reconcile import untouched

    is_found = untouched(objects, written)
    people, found = list(compress(objects, ~is_found)), list(compress(objects, is_found))
    confirmed = _within(found, people, region_class)
    kept = {item.id for item in confirmed}
    return Drawn(objects=(*people, *confirmed), untouched=tuple(item for item in found if item.id not in kept))


def _written(source: Source) -> list[PathObject]:
    from qpbridge.workflows.predicting.history import RUNS_FOLDER, SlideHistory

    if source.project is None:
        return []
    notes = (source.project.folder / RESULTS_FOLDER).glob(f"*/{RUNS_FOLDER}/{source.file_stem}.json")
    folders = [path.parent.parent for path in sorted(notes) if may_read(path)]
    return [item for folder in folders for item in SlideHistory(folder, source.file_stem).ours()]


def _within(found: Sequence[PathObject], people: Sequence[PathObject], region_class: str) -> list[PathObject]:
    """Return what was found in areas that people marked as complete, tissue cut to them."""
    import shapely

    from qpbridge.vector.labels import is_region, labels_pixels, tags_of
    from qpbridge.vector.raster import mend

    areas = [
        mend(item.geometry)[0]
        for item in people
        if labels_pixels(item) and item.path_class and is_region(item.path_class, region_class)
        if tags_of(item, region_class) is None
    ]
    if not areas:
        return []
    complete = shapely.union_all(areas)
    cut = ((item, _cut(item, complete)) for item in found)
    return [replace(item, geometry=geometry) for item, geometry in cut if not geometry.is_empty]


def _cut(item: PathObject, complete: BaseGeometry) -> BaseGeometry:
    from qpbridge.vector.raster import mend

    geometry = mend(item.geometry)[0]
    if item.kind is not ObjectKind.ANNOTATION:
        return item.geometry if complete.intersects(geometry.centroid) else type(geometry)()
    return mend(complete.intersection(geometry))[0]
