"""Which part of a slide is to be predicted."""

from __future__ import annotations

import hashlib

import shapely

from qpbridge.core.geometry import Region
from qpbridge.core.objects import annotations_of
from qpbridge.errors import InvalidValueError, NoAnnotationError
from qpbridge.inference.interest import Interest
from qpbridge.vector.raster import mend
from qpbridge.workflows.entries.sources import OpenedSource, Source


def interest_of(source: Source, opened: OpenedSource, region: Region | None = None) -> Interest | None:
    """Return where objects are wanted: in the annotations given with the request and in a region.

    Parameters
    ----------
    source : Source
        Where it has objects given, the annotations among its objects count, of whatever class.
    opened : OpenedSource
        The slide.
    region : Region or None
        Level-0 px.

    Returns
    -------
    Interest or None
        None for the whole slide.

    Raises
    ------
    NoAnnotationError
        If none of the annotations given has an area on the slide.
    InvalidValueError
        If region and slide, or region and annotations, have nothing in common.
    """
    if source.given is None and region is None:
        return None
    interest = None if source.given is None else _annotated(source, opened.region)
    if region is None:
        return interest
    return Interest.of([opened_area(opened) if interest is None else interest.geometry], region)


def opened_area(opened: OpenedSource) -> shapely.Polygon:
    """Return the outline of a slide, level-0 px."""
    return shapely.box(0, 0, opened.slide.width_px, opened.slide.height_px)


def interest_digest(interest: Interest | None) -> str | None:
    """Return the SHA-256 of areas of interest, None for a whole slide."""
    return None if interest is None else hashlib.sha256(interest.geometry.normalize().wkb).hexdigest()


def _annotated(source: Source, image: Region) -> Interest:
    on_first_plane = [item for item in annotations_of(source.objects()) if not (item.plane.z or item.plane.t)]
    areas = [mend(item.geometry)[0] for item in on_first_plane]
    try:
        return Interest.of(areas, image)
    except InvalidValueError as error:
        raise NoAnnotationError(
            f"none of the annotations given for {source.label} has an area on its image, so there is nowhere to"
            " predict; draw one there, or give none to predict everywhere"
        ) from error
