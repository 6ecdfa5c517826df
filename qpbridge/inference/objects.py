"""From a mosaic to QuPath's annotations. Outlines in level-0 px."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.objects import NO_MEASUREMENTS, ObjectKind, PathClass, PathObject
from qpbridge.inference.interest import Interest
from qpbridge.inference.outlining import DEFAULT_MIN_AREA_UM2, Outlining
from qpbridge.inference.predicting import Mosaic
from qpbridge.models.spec import ModelClass
from qpbridge.vector.cleaning import remove_small
from qpbridge.vector.cutting import cut
from qpbridge.vector.placing import place, translate
from qpbridge.vector.polygons import LabelledPolygon, vectorize
from qpbridge.vector.smoothing import smooth

__all__ = [
    "AREA",
    "DEFAULT_MIN_AREA_UM2",
    "Identity",
    "Outlining",
    "on_slide",
    "outlines",
    "pixel_area",
    "to_annotations",
]

AREA: Final = "Area µm^2"
"""Name that QuPath gives to the area of an annotation."""

_LITTLE_ENDIAN: Final = 1

_NAMESPACE: Final = uuid.UUID("b0b9d5c2-3a0e-5b0f-9a6e-1d7c2f4e8a11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the ids of predicted objects follow from, beside class and outline.

    Parameters
    ----------
    slide : str
        Fingerprint of the slide.
    model : str
        Digest of the model.
    """

    slide: str
    model: str

    def object_id(self, class_name: str, outline_wkb: bytes) -> str:
        """Return the UUID of an object: the same prediction made again has the same one.

        Parameters
        ----------
        class_name : str
            Of the object.
        outline_wkb : bytes
            Its outline in level-0 px as little-endian WKB.
        """
        return str(uuid.uuid5(_NAMESPACE, "\n".join((self.slide, self.model, class_name, outline_wkb.hex()))))


def outlines(
    mosaic: Mosaic,
    calibration: PixelCalibration,
    outlining: Outlining,
    bounds: Region,
    interest: Interest | None = None,
) -> list[LabelledPolygon]:
    """Turn the labels of a mosaic into outlines that share their borders.

    Parameters
    ----------
    mosaic : Mosaic
        Labels; not changed.
    calibration : PixelCalibration
        True pixel size of the slide.
    outlining : Outlining
        What to leave out and to smooth.
    bounds : Region
        The image, level-0 px; outlines end there.
    interest : Interest or None
        Outlines end at its borders; what is cut there may be smaller than ``Outlining`` says.

    Returns
    -------
    list of LabelledPolygon
        Level-0 px, sorted by label, then in reading order.
    """
    pixel_area_um2 = pixel_area(mosaic, calibration)
    # Around an area of interest is not nothing, but what nobody asked for.
    may_vanish = interest is None or interest.is_all_of(bounds)
    cleaned = remove_small(mosaic.labels, outlining.min_area_um2 / pixel_area_um2, may_vanish=may_vanish)
    tolerance_px = outlining.smooth_um / math.sqrt(pixel_area_um2)
    polygons = smooth(vectorize(cleaned), tolerance_px, keeps_rim=interest is not None)
    placed = on_slide(polygons, mosaic, bounds if interest is None else interest.bounds)
    if interest is not None and not interest.is_box:
        placed = cut(placed, interest.geometry)
    return sorted(placed, key=lambda polygon: polygon.label)


def pixel_area(mosaic: Mosaic, calibration: PixelCalibration) -> float:
    """Return the area of a pixel of a mosaic, µm²."""
    return mosaic.grid.downsample_x * mosaic.grid.downsample_y * calibration.pixel_area_um2


def on_slide(polygons: Sequence[LabelledPolygon], mosaic: Mosaic, bounds: Region) -> list[LabelledPolygon]:
    """Bring outlines from px of a mosaic's labels to level-0 px, inside some bounds."""
    grid = mosaic.grid
    moved = translate(polygons, mosaic.x, mosaic.y)
    return place(moved, (grid.region.x_px, grid.region.y_px), (grid.downsample_x, grid.downsample_y), bounds)


def to_annotations(
    polygons: Sequence[LabelledPolygon],
    classes: Sequence[ModelClass],
    calibration: PixelCalibration,
    identity: Identity,
    measured: Sequence[Mapping[str, float]] = (),
) -> list[PathObject]:
    """Return one annotation for each outline of a class that is written back.

    Parameters
    ----------
    polygons : sequence of LabelledPolygon
        Level-0 px.
    classes : sequence of ModelClass
        Position in this sequence is the label.
    calibration : PixelCalibration
        True pixel size of the slide.
    identity : Identity
        Of slide and model.
    measured : sequence of mapping of str to float
        Further measurements of each outline; none where empty.
    """
    path_classes = [PathClass(item.name, item.color_rgb) for item in classes]
    all_measured = measured or [NO_MEASUREMENTS] * len(polygons)
    pairs = zip(polygons, all_measured, strict=True)
    written = [(polygon, more) for polygon, more in pairs if classes[polygon.label].is_written]
    geometries = np.array([polygon.geometry for polygon, _ in written], dtype=object)
    areas_um2 = (shapely.area(geometries) * calibration.pixel_area_um2).tolist()
    encoded = shapely.to_wkb(geometries, byte_order=_LITTLE_ENDIAN, output_dimension=2).tolist()
    return [
        PathObject(
            id=identity.object_id(classes[polygon.label].name, wkb),
            kind=ObjectKind.ANNOTATION,
            geometry=polygon.geometry,
            path_class=path_classes[polygon.label],
            measurements={AREA: area_um2, **more},
        )
        for (polygon, more), wkb, area_um2 in zip(written, encoded, areas_um2, strict=True)
    ]
