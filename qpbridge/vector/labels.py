"""The label rules: what annotations say about each pixel. Geometries in level-0 px."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import Region
from qpbridge.core.objects import REGION_CLASS, ObjectKind, PathClass, PathObject
from qpbridge.vector.raster import mend


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelShapes:
    """Shapes that label pixels.

    Parameters
    ----------
    shapes : tuple of (geometry, int)
        In painter's order: later shapes lie on top. Labels are class indices or ``IGNORE_INDEX``.
    mended : int
        Self-crossing annotations that had to be repaired.
    outside : int
        Annotations wholly outside the image, left out.
    """

    shapes: tuple[tuple[BaseGeometry, int], ...]
    mended: int = 0
    outside: int = 0


def label_shapes(
    objects: Iterable[PathObject],
    class_names: Sequence[str],
    *,
    background: int | None = None,
    bounds: Region | None = None,
) -> LabelShapes:
    """Turn annotations into shapes that label pixels.

    Pixels that nobody annotated stay ``IGNORE_INDEX``. Annotations of ``Region*`` lie at the bottom and are
    background all over, since everything in them is annotated. Above them, the smaller annotation lies on
    top. Annotations of classes that are ignored in QuPath or not asked for say "unknown".

    Parameters
    ----------
    objects : iterable of PathObject
        Of one image; only classified annotations with an area on the first plane count.
    class_names : sequence of str
        Position in this sequence is the label. A derived class without an own place belongs to its base.
    background : int or None
        Label of unannotated pixels inside ``Region*``; None leaves them unknown.
    bounds : Region or None
        The image; annotations wholly outside are counted and left out.

    Returns
    -------
    LabelShapes
        Shapes in painter's order.
    """
    frame = None if bounds is None else shapely.box(bounds.x_px, bounds.y_px, bounds.right_px, bounds.bottom_px)
    counts: Counter[str] = Counter()
    painted: list[tuple[bool, float, str, BaseGeometry, int]] = []
    for item in objects:
        if not labels_pixels(item):
            continue
        geometry, changed = mend(item.geometry)
        counts["mended"] += changed
        if geometry.is_empty or (frame is not None and not geometry.intersects(frame)):
            counts["outside"] += not geometry.is_empty
            continue
        assert item.path_class is not None
        label = _label(item.path_class, class_names, background)
        painted.append((not is_region(item.path_class), -geometry.area, item.id, geometry, label))
    painted.sort(key=lambda entry: entry[:3])
    shapes = tuple((geometry, label) for _, _, _, geometry, label in painted)
    return LabelShapes(shapes=shapes, mended=counts["mended"], outside=counts["outside"])


def annotated_area_px(objects: Iterable[PathObject], class_names: Sequence[str] | None = None) -> Mapping[str, float]:
    """Return the annotated area of every class that is not ignored, level-0 px², overlaps counted once a class.

    Parameters
    ----------
    objects : iterable of PathObject
        Of one image.
    class_names : sequence of str or None
        Classes to sum by, as for ``label_shapes``; each class by its own full name where None.
    """
    by_class: dict[str, list[BaseGeometry]] = {}
    for item in objects:
        if not labels_pixels(item) or item.path_class is None or item.path_class.is_ignored:
            continue
        own = [item.path_class.name] if class_names is None else class_names
        label = class_label(item.path_class, own)
        if label is not None:
            by_class.setdefault(own[label], []).append(mend(item.geometry)[0])
    return {name: float(shapely.union_all(geometries).area) for name, geometries in by_class.items()}


def labels_pixels(item: PathObject) -> bool:
    """Whether an object says what pixels are: a classified annotation with an area, on the first plane."""
    return (
        item.kind is ObjectKind.ANNOTATION
        and item.path_class is not None
        and item.plane.z == 0
        and item.plane.t == 0
        and item.geometry.geom_type in {"Polygon", "MultiPolygon"}
    )


def is_region(path_class: PathClass) -> bool:
    """Whether annotations of this class mark areas as completely annotated."""
    return path_class.parts[0] == REGION_CLASS


def class_label(path_class: PathClass, class_names: Sequence[str]) -> int | None:
    """Return the position of a class, or of its nearest base class, among some names; None where it has none."""
    for end in range(len(path_class.parts), 0, -1):
        name = ": ".join(path_class.parts[:end])
        if name in class_names:
            return class_names.index(name)
    return None


def _label(path_class: PathClass, class_names: Sequence[str], background: int | None) -> int:
    label = background if is_region(path_class) else class_label(path_class, class_names)
    return IGNORE_INDEX if label is None else label
