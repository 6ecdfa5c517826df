"""The objects of a hierarchy in Java, column by column: only for the process of QuPath."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from qpbridge.qupath.paquo_backend.inside import columns
from qpbridge.qupath.paquo_backend.inside.columns import SIZE, Getter
from qpbridge.qupath.paquo_backend.records import Hierarchy, Numbers, Shapes

_OBJECT: Final = "qupath.lib.objects.PathObject"
_ROI: Final = "qupath.lib.roi.interfaces.ROI"
_POINT: Final = "qupath.lib.geom.Point2"
_MEASUREMENTS: Final = "qupath.lib.measurements.MeasurementList"
_LIST: Final = "java.util.List"

_FLAGS: Final = [
    Getter(_OBJECT, name, "boolean") for name in ("isCell", "isTile", "isTMACore", "isDetection", "isLocked")
]
_IS_MISSING: Final = Getter("qupath.lib.objects.TMACoreObject", "isMissing", "boolean")
_SHAPE: Final = Getter(_OBJECT, "getROI", _ROI)
_NUCLEUS: Final = Getter("qupath.lib.objects.PathCellObject", "getNucleusROI", _ROI)
_POINTS: Final = Getter(_ROI, "getAllPoints", _LIST)
_XY: Final = [Getter(_POINT, name, "double") for name in ("getX", "getY")]
_BOUNDS: Final = [Getter(_ROI, f"getBounds{name}", "double") for name in ("X", "Y", "Width", "Height")]
_PLANE: Final = [Getter(_ROI, name, "int") for name in ("getC", "getZ", "getT")]
_LIST_OF: Final = Getter(_OBJECT, "getMeasurementList", _MEASUREMENTS)
_METADATA: Final = Getter(_OBJECT, "getMetadata", "java.util.Map")
_CLASS_NAME: Final = (
    Getter("java.lang.Object", "getClass", "java.lang.Class"),
    Getter("java.lang.Class", "getSimpleName", "java.lang.String"),
)

BY_VERTICES: Final = frozenset({"PolygonROI", "PolylineROI", "PointsROI", "RectangleROI", "LineROI"})
"""Shapes that are read vertex by vertex: making a geometry of them may cost a polygon its area (``areas``)."""


def columns_of(root: Any) -> Hierarchy:
    """Return all objects below the root of a hierarchy, column by column."""
    found, parents = preorder(root)
    items = columns.array_of(found)
    flags = np.column_stack([columns.numbers(items, flag) for flag in _FLAGS]).astype(np.bool_)
    classes, class_table = _classes(
        columns.values(items, Getter(_OBJECT, "getPathClass", "qupath.lib.objects.classes.PathClass"))
    )
    measured, names, measurements = _measured(items)
    with_shape, shapes = _shapes(columns.values(items, _SHAPE))
    cells = np.flatnonzero(flags[:, 0])
    with_nucleus, nuclei = _shapes(columns.values(columns.array_of([found[i] for i in cells]), _NUCLEUS))
    return Hierarchy(
        ids=[
            str(one)
            for one in columns.values(
                items,
                Getter(_OBJECT, "getID", "java.util.UUID"),
                Getter("java.util.UUID", "toString", "java.lang.String"),
            )
        ],
        parents=parents,
        flags=np.column_stack((flags, _missing(found, flags[:, 2]))),
        names=columns.texts(columns.values(items, Getter(_OBJECT, "getName", "java.lang.String"))),
        colors=[
            None if one is None else int(one)
            for one in columns.values(items, Getter(_OBJECT, "getColor", "java.lang.Integer"))
        ],
        probabilities=columns.numbers(items, Getter(_OBJECT, "getClassProbability", "double")),
        classes=classes,
        class_table=class_table,
        measured=measured,
        measurement_names=names,
        measurement_values=measurements,
        metadata=_metadata(items),
        with_shape=with_shape,
        shapes=shapes,
        with_nucleus=cells[with_nucleus],
        nuclei=nuclei,
    )


def preorder(root: Any) -> tuple[list[Any], list[int]]:
    """Return all objects below the root, each before its children, with the position of its parent."""
    found: list[Any] = []
    parents: list[int] = []
    waiting = [(child, -1) for child in reversed(list(root.getChildObjectsAsArray()))]
    while waiting:
        item, parent = waiting.pop()
        if item.hasChildObjects():
            waiting.extend((child, len(found)) for child in reversed(list(item.getChildObjectsAsArray())))
        found.append(item)
        parents.append(parent)
    return found, parents


def class_of(path_class: Any) -> tuple[str, int | None]:
    """Return the full name of a class and its color, a signed ARGB integer."""
    color = path_class.getColor()
    return str(path_class.toString()), None if color is None else int(color)


def _classes(given: Any) -> tuple[list[int], list[tuple[str, int | None]]]:
    table: dict[Any, int] = {}
    positions = [-1 if one is None else table.setdefault(one, len(table)) for one in given]
    return positions, [class_of(one) for one in table]


def _missing(found: list[Any], is_core: npt.NDArray[Any]) -> npt.NDArray[Any]:
    missing = np.zeros(len(found), dtype=np.bool_)
    cores = np.flatnonzero(is_core)
    missing[cores] = columns.numbers(columns.array_of([found[i] for i in cores]), _IS_MISSING) > 0
    return missing


def _measured(items: Any) -> tuple[npt.NDArray[Any], list[str], npt.NDArray[Any]]:
    names = Getter(_MEASUREMENTS, "getMeasurementNames", _LIST)
    counts = columns.numbers(items, _LIST_OF, names, SIZE).astype(np.int64)
    lists = [one for one, count in zip(columns.values(items, _LIST_OF), counts, strict=True) if count]
    found = [np.array(one.values(), dtype=np.float64) for one in lists]
    return (
        counts,
        [str(name) for name in columns.members(items, _LIST_OF, names)],
        np.concatenate([np.empty(0), *found]),
    )


def _metadata(items: Any) -> dict[int, dict[str, str]]:
    sizes = columns.numbers(items, _METADATA, Getter("java.util.Map", "size", "int"))
    maps = columns.values(items, _METADATA)
    return {
        int(i): {str(one.getKey()): str(one.getValue()) for one in maps[int(i)].entrySet()}
        for i in np.flatnonzero(sizes)
    }


def _shapes(given: Any) -> tuple[npt.NDArray[Any], Shapes]:
    """Return at which positions there is a shape, and the shapes."""
    positions = np.array([i for i, roi in enumerate(given) if roi is not None], dtype=np.int64)
    rois = columns.array_of([given[int(i)] for i in positions])
    kinds = [str(kind) for kind in columns.values(rois, *_CLASS_NAME)]
    listed = [i for i, kind in enumerate(kinds) if kind in BY_VERTICES]
    ellipses = [i for i, kind in enumerate(kinds) if kind == "EllipseROI"]
    counts = np.zeros(len(kinds), dtype=np.int64)
    counts[ellipses] = 2
    vertices = columns.array_of([rois[i] for i in listed])
    counts[listed] = columns.numbers(vertices, _POINTS, SIZE)
    points = columns.members(vertices, _POINTS)
    owners = np.concatenate((np.repeat(listed, counts[listed]), np.repeat(ellipses, 2))).astype(np.int64)
    coordinates = np.concatenate(
        (np.column_stack([columns.numbers(points, one) for one in _XY]), _corners([rois[i] for i in ellipses]))
    )
    others = set(range(len(kinds))).difference(listed, ellipses)
    return positions, Shapes(
        kinds=kinds,
        planes=np.column_stack([columns.numbers(rois, one) for one in _PLANE]).astype(np.int64),
        counts=counts,
        points=coordinates[np.argsort(owners, kind="stable")],
        wkb={i: _wkb(rois[i]) for i in sorted(others)},
    )


def _corners(rois: list[Any]) -> Numbers:
    """Return two opposite corners of the bounds of each shape, one after the other."""
    x, y, width, height = (columns.numbers(columns.array_of(rois), one) for one in _BOUNDS)
    return np.column_stack((x, y, x + width, y + height)).reshape(-1, 2)


def _wkb(roi: Any) -> bytes:
    from paquo.java import WKBWriter

    return bytes(WKBWriter(2).write(roi.getGeometry()))
