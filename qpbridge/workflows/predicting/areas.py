"""Which part of a slide is to be predicted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import shapely

from qpbridge.core.geometry import Region
from qpbridge.core.naming import class_label
from qpbridge.core.objects import PathObject, annotations_of
from qpbridge.errors import InvalidValueError, NoAnnotationError
from qpbridge.inference.interest import Interest
from qpbridge.vector.raster import mend
from qpbridge.workflows.entries.sources import OpenedSource, Source


def areas_of(source: Source, within: Sequence[str]) -> list[PathObject] | None:
    """Return the annotations inside which objects are wanted: those given with the request, or the saved ones.

    Parameters
    ----------
    source : Source
        The slide.
    within : sequence of str
        Classes of such annotations, base classes included; where empty, all that are given count.

    Returns
    -------
    list of PathObject or None
        None where objects are wanted everywhere.
    """
    if not within:
        return None if source.given is None else annotations_of(source.objects())
    annotations = annotations_of(source.objects())
    return [item for item in annotations if item.path_class and class_label(item.path_class, within) is not None]


def interest_of(
    source: Source, opened: OpenedSource, region: Region | None = None, within: Sequence[str] = ()
) -> Interest | None:
    """Return where objects are wanted: in annotations and in a region.

    Parameters
    ----------
    source : Source
        Whose annotations count as ``areas_of`` says.
    opened : OpenedSource
        The slide.
    region : Region or None
        Level-0 px.
    within : sequence of str
        As for ``areas_of``.

    Returns
    -------
    Interest or None
        None for the whole slide.

    Raises
    ------
    NoAnnotationError
        If none of those annotations has an area on the slide.
    InvalidValueError
        If region and slide, or region and annotations, have nothing in common.
    """
    areas = areas_of(source, within)
    if areas is None:
        return None if region is None else Interest.of([opened_area(opened)], region)
    interest = _annotated(source, areas, opened.region, within)
    return interest if region is None else Interest.of([interest.geometry], region)


def opened_area(opened: OpenedSource) -> shapely.Polygon:
    """Return the outline of a slide, level-0 px."""
    return shapely.box(0, 0, opened.slide.width_px, opened.slide.height_px)


def interest_digest(interest: Interest | None) -> str | None:
    """Return the SHA-256 of areas of interest, None for a whole slide."""
    return None if interest is None else hashlib.sha256(interest.geometry.normalize().wkb).hexdigest()


def _annotated(source: Source, areas: Sequence[PathObject], image: Region, within: Sequence[str]) -> Interest:
    shapes = [mend(item.geometry)[0] for item in areas if not (item.plane.z or item.plane.t)]
    try:
        return Interest.of(shapes, image)
    except InvalidValueError as error:
        raise NoAnnotationError(_nowhere(source, within)) from error


def _nowhere(source: Source, within: Sequence[str]) -> str:
    if not within:
        return (
            f"none of the annotations given for {source.label} has an area on its image, so there is nowhere to"
            " predict; draw one there, or give none to predict everywhere"
        )
    names = sorted({item.path_class.name for item in annotations_of(source.objects()) if item.path_class})
    return (
        f"{source.label} has no annotation of {' or '.join(map(repr, within))} with an area on its image, so there is"
        f" nowhere to predict; its annotations are of {', '.join(map(repr, names)) or 'no class'}. Draw one in"
        " QuPath and save the project, or name other classes with --within"
    )
