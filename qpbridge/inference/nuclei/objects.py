"""From nuclei to QuPath's detections or cells. Outlines in level-0 px."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import shapely

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.inference.interest import Interest
from qpbridge.inference.nuclei.harvesting import Nuclei
from qpbridge.inference.objects import Identity
from qpbridge.models.spec import ModelClass
from qpbridge.vector.instances.outlining import Polygons, simplify
from qpbridge.vector.instances.shapes import measure_shapes
from qpbridge.vector.placing import place
from qpbridge.vector.polygons import LabelledPolygon

DEFAULT_ERROR_PX: Final = 1.0
"""Largest distance of the outline given back from the pixels' edges, px of the mosaic: disks of 10 px across and more
keep their area to a hundredth and their perimeter to two; along the edges it would be too long by a quarter."""

PROBABILITY: Final = "Detection probability"
"""Name that QuPath's StarDist extension gives to it."""

CELL_AREA: Final = "Cell: Area µm^2"

_LITTLE_ENDIAN: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a mosaic lies on its slide.

    Parameters
    ----------
    origin_px : tuple of float
        Its upper left corner (x, y), level-0 px.
    scale : tuple of float
        Level-0 px per px of the mosaic, (x, y).
    bounds : Region
        The image, level-0 px.
    calibration : PixelCalibration
        True pixel size of the slide.
    """

    origin_px: tuple[float, float]
    scale: tuple[float, float]
    bounds: Region
    calibration: PixelCalibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """What nuclei are called.

    Parameters
    ----------
    classes : tuple of ModelClass
        Position in this sequence is the label; nuclei of those not written are left out.
    identity : Identity
        Of slide and model.
    are_cells : bool
        Whether nuclei come as cells with a nucleus, or as detections.
    error_px : float
        By how much outlines may be simplified, px of the mosaic; 0 keeps them on pixel edges.
    """

    classes: tuple[ModelClass, ...]
    identity: Identity
    are_cells: bool = False
    error_px: float = DEFAULT_ERROR_PX


def to_objects(
    nuclei: Nuclei,
    placement: Placement,
    labelling: Labelling,
    interest: Interest | None = None,
    parents: Sequence[PathObject] = (),
) -> list[PathObject]:
    """Return one detection or cell for each nucleus, with its measurements.

    Sizes are those of the outlines given back, so QuPath finds the same; stains are those of the pixels.

    Parameters
    ----------
    nuclei : Nuclei
        Px of the mosaic.
    placement : Placement
        Of the mosaic.
    labelling : Labelling
        Classes, ids and kind.
    interest : Interest or None
        Only nuclei whose centroid lies in it.
    parents : sequence of PathObject
        The smallest of these that holds a nucleus' centroid becomes its parent.
    """
    is_written = np.array([item.is_written for item in labelling.classes])
    nuclei = nuclei.chosen(is_written[nuclei.classes])
    centroids = nuclei.centroids * placement.scale + placement.origin_px
    if interest is not None:
        is_inside = shapely.contains_xy(interest.geometry, *centroids.T)
        nuclei, centroids = nuclei.chosen(is_inside), centroids[is_inside]
    outlines = _placed(nuclei.outlines, placement, labelling.error_px)
    cells = _placed(nuclei.cells, placement, labelling.error_px) if labelling.are_cells else outlines
    is_sound = (outlines != None) & (cells != None)  # noqa: E711 - elementwise
    nuclei, outlines, cells = nuclei.chosen(is_sound), outlines[is_sound], cells[is_sound]
    return list(_objects(nuclei, outlines, cells, placement, labelling, parent_ids(centroids[is_sound], parents)))


def parent_ids(centroids: npt.NDArray[np.float64], parents: Sequence[PathObject]) -> list[str | None]:
    """Return the id of the smallest object that holds each point (x, y), level-0 px; None where none does."""
    order = sorted(range(len(parents)), key=lambda i: parents[i].geometry.area)
    tree = shapely.STRtree([parents[i].geometry for i in order])
    found, holders = tree.query(shapely.points(centroids), predicate="intersects")
    smallest = np.full(len(centroids), len(parents))
    np.minimum.at(smallest, found, holders)
    ids: list[str | None] = [*(parents[i].id for i in order), None]
    return [ids[i] for i in smallest]


def _placed(polygons: Polygons, placement: Placement, error_px: float) -> Polygons:
    """Return the outlines on the slide, each the largest part of what is left of it, or None."""
    simple = simplify(polygons, error_px)
    labelled = [LabelledPolygon(label=i, geometry=one, pixels=0) for i, one in enumerate(simple)]
    placed: Polygons = np.full(len(polygons), None, dtype=object)
    for part in place(labelled, placement.origin_px, placement.scale, placement.bounds):
        known = placed[part.label]
        if known is None or part.geometry.area > known.area:
            placed[part.label] = part.geometry
    return placed


def _objects(
    nuclei: Nuclei,
    outlines: Polygons,
    cells: Polygons,
    placement: Placement,
    labelling: Labelling,
    owners: Sequence[str | None],
) -> Iterator[PathObject]:
    names = [item.name for item in labelling.classes]
    path_classes = [PathClass(item.name, item.color_rgb) for item in labelling.classes]
    encoded = shapely.to_wkb(cells, byte_order=_LITTLE_ENDIAN, output_dimension=2)
    columns = _columns(nuclei, outlines, cells if labelling.are_cells else None, placement.calibration)
    table = np.stack(list(columns.values()), axis=1).tolist()
    sure = nuclei.class_probabilities.tolist()
    for i, label in enumerate(nuclei.classes.tolist()):
        yield PathObject(
            id=labelling.identity.object_id(names[label], encoded[i]),
            kind=ObjectKind.CELL if labelling.are_cells else ObjectKind.DETECTION,
            geometry=cells[i],
            path_class=path_classes[label],
            # What was not measured is left out.
            measurements={name: value for name, value in zip(columns, table[i], strict=True) if not math.isnan(value)},
            class_probability=None if math.isnan(sure[i]) else sure[i],
            nucleus=outlines[i] if labelling.are_cells else None,
            parent_id=owners[i],
        )


def _columns(
    nuclei: Nuclei, outlines: Polygons, cells: Polygons | None, calibration: PixelCalibration
) -> dict[str, npt.NDArray[np.float64]]:
    shapes = measure_shapes(outlines, calibration)
    area = {} if cells is None else {CELL_AREA: shapely.area(cells) * calibration.pixel_area_um2}
    return {
        "Nucleus: Area µm^2": shapes.area_um2,
        "Nucleus: Perimeter µm": shapes.perimeter_um,
        "Nucleus: Circularity": shapes.circularity,
        "Nucleus: Eccentricity": shapes.eccentricity,
        "Nucleus: Major axis µm": shapes.major_axis_um,
        "Nucleus: Minor axis µm": shapes.minor_axis_um,
        "Hematoxylin: Nucleus: Mean": nuclei.stains[:, 0, 0],
        "Hematoxylin: Nucleus: Std.Dev.": nuclei.stains[:, 0, 1],
        "Eosin: Nucleus: Mean": nuclei.stains[:, 1, 0],
        "Eosin: Nucleus: Std.Dev.": nuclei.stains[:, 1, 1],
        **area,
        PROBABILITY: nuclei.probabilities,
    }
