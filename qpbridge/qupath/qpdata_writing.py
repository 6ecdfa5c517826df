"""Objects to a ``data.qpdata`` as QuPath 0.6 writes it, for images that have none yet; geometries in level-0 px."""

from __future__ import annotations

import struct
from collections.abc import Hashable, Mapping, Sequence
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.errors import InvalidValueError
from qpbridge.qupath.geojson.writing import uuid_of
from qpbridge.qupath.java.writer import ENUM, EXTERNALIZABLE, ClassDescriptor, JavaWriter, utf
from qpbridge.qupath.java.writer import SERIALIZABLE_WITH_METHOD as WITH_METHOD

_TEXT: Final = "Ljava/lang/String;"
_OBJECTS: Final = "qupath.lib.objects."
_MEASUREMENTS: Final = "qupath.lib.measurements."

_NUMBER: Final = ClassDescriptor("java.lang.Number", uid=-8742448824652078965)
_INTEGER: Final = ClassDescriptor("java.lang.Integer", (("value", "I"),), 1360826667806852920, parent=_NUMBER)
_BOOLEAN: Final = ClassDescriptor("java.lang.Boolean", (("value", "Z"),), -3665804199014368530)
_FLOATS: Final = ClassDescriptor("[F", uid=836686056779680834)
_DOUBLES: Final = ClassDescriptor("[D", uid=4514449696888150558)
_BYTES: Final = ClassDescriptor("[B", uid=-5984413125824719648)
_OBJECT_ARRAY: Final = ClassDescriptor("[Ljava.lang.Object;", uid=-8012369246846506644)
_ARRAY_LIST: Final = ClassDescriptor("java.util.ArrayList", (("size", "I"),), 8683452581122892189, WITH_METHOD)
_HASH_MAP: Final = ClassDescriptor(
    "java.util.HashMap", (("loadFactor", "F"), ("threshold", "I")), 362498820763181265, WITH_METHOD
)
_LOCALE: Final = ClassDescriptor(
    "java.util.Locale",
    (("hashcode", "I"), *((name, _TEXT) for name in ("country", "extensions", "language", "script", "variant"))),
    9149081749638150636,
    WITH_METHOD,
)
_IMAGE_TYPE: Final = ClassDescriptor(
    "qupath.lib.images.ImageData$ImageType",
    uid=0,
    flags=ENUM,
    parent=ClassDescriptor("java.lang.Enum", uid=0, flags=ENUM),
)
_WORKFLOW: Final = ClassDescriptor("qupath.lib.plugins.workflow.Workflow", flags=EXTERNALIZABLE)
_HIERARCHY: Final = ClassDescriptor(
    f"{_OBJECTS}hierarchy.PathObjectHierarchy",
    (("rootObject", "Lqupath/lib/objects/PathObject;"), ("tmaGrid", "Lqupath/lib/objects/hierarchy/TMAGrid;")),
)
_METADATA: Final = ClassDescriptor(f"{_OBJECTS}MetadataMap", flags=EXTERNALIZABLE)
_PATH_CLASS: Final = ClassDescriptor(
    f"{_OBJECTS}classes.PathClass",
    (("colorRGB", "Ljava/lang/Integer;"), ("name", _TEXT), ("parentClass", "Lqupath/lib/objects/classes/PathClass;")),
)


def _path_object(name: str, parent: ClassDescriptor | None) -> ClassDescriptor:
    return ClassDescriptor(f"{_OBJECTS}{name}", flags=EXTERNALIZABLE, parent=parent)


_PATH_OBJECT: Final = _path_object("PathObject", None)
_ROI_OBJECT: Final = _path_object("PathROIObject", _PATH_OBJECT)
_ROOT: Final = _path_object("PathRootObject", _PATH_OBJECT)
_DETECTION: Final = _path_object("PathDetectionObject", _ROI_OBJECT)
_KINDS: Final = {
    ObjectKind.ANNOTATION: _path_object("PathAnnotationObject", _ROI_OBJECT),
    ObjectKind.DETECTION: _DETECTION,
    ObjectKind.CELL: _path_object("PathCellObject", _DETECTION),
    ObjectKind.TILE: _path_object("PathTileObject", _DETECTION),
    ObjectKind.TMA_CORE: _path_object("TMACoreObject", _ROI_OBJECT),
}
_COMPACT: Final = (ObjectKind.DETECTION, ObjectKind.CELL, ObjectKind.TILE)

_MEASUREMENT_LIST: Final = ClassDescriptor(
    f"{_MEASUREMENTS}DefaultMeasurementList", (("list", "Ljava/util/ArrayList;"),)
)
_MEASUREMENT: Final = ClassDescriptor(f"{_MEASUREMENTS}DoubleMeasurement", (("value", "D"), ("name", _TEXT)))
_NUMERIC_LIST: Final = ClassDescriptor(
    f"{_MEASUREMENTS}NumericMeasurementList$DoubleList",
    (("values", "[D"),),
    parent=ClassDescriptor(
        f"{_MEASUREMENTS}NumericMeasurementList$AbstractNumericMeasurementList",
        (("isClosed", "Z"), ("map", "Ljava/util/Map;"), ("names", "Ljava/util/List;")),
    ),
)


def _roi(name: str, *objects: tuple[str, str], numbers: str = "c t z") -> ClassDescriptor:
    primitives = ((field, "D" if field[0] in "xy" else "I") for field in numbers.split())
    return ClassDescriptor(f"qupath.lib.roi.{name}", (*primitives, *objects))


_CORNERS: Final = "c t x x2 y y2 z"
_STATS: Final = "Lqupath/lib/roi/ClosedShapeStatistics;"
_GEOMETRY_STATS: Final = "Lqupath/lib/roi/GeometryROI$GeometryStats;"
_RECTANGLE: Final = _roi("RectangleROI$SerializationProxy", ("name", _TEXT), numbers=_CORNERS)
_ELLIPSE: Final = _roi("EllipseROI$SerializationProxy", ("name", _TEXT), numbers=_CORNERS)
_LINE: Final = _roi("LineROI$SerializationProxy", ("name", _TEXT), numbers=_CORNERS)
_POLYGON: Final = _roi("PolygonROI$SerializationProxy", ("name", _TEXT), ("stats", _STATS), ("x", "[F"), ("y", "[F"))
_POLYLINE: Final = _roi("PolylineROI$SerializationProxy", ("x", "[F"), ("y", "[F"))
_POINTS: Final = _roi("PointsROI$SerializationProxy", ("name", _TEXT), ("x", "[F"), ("y", "[F"))
_GEOMETRY: Final = _roi("GeometryROI$WKBSerializationProxy", ("stats", _GEOMETRY_STATS), ("wkb", "[B"))

Positions = npt.NDArray[np.float64]


def write_qpdata(
    out: BinaryIO, server_json: str, objects: Sequence[PathObject], classes: Sequence[PathClass], root_id: str
) -> None:
    """Write the image data of one image.

    Outlines without holes are stored in float32, as QuPath stores them (0.12 becomes 0.1199999973); rectangles,
    ellipses, and outlines with holes or several parts in double precision.

    Parameters
    ----------
    out : binary file
        Receives the stream in pieces.
    server_json : str
        What QuPath keeps about the image: ``dataVersion``, ``qupathVersion`` and the server's builder.
    objects : sequence of PathObject
        Nested by ``parent_id``; an object whose parent is not among them stands directly below the root.
    classes : sequence of PathClass
        Their colors precede those of the objects' classes.
    root_id : str
        UUID text of the root object.

    Raises
    ------
    InvalidValueError
        If two objects have one id, parents form a circle, or an outline is empty or of several kinds.
    """
    with JavaWriter(out) as java:
        java.block(utf("Data file version 3"))
        java.string(server_json)
        _write_locale(java)
        java.enum(_IMAGE_TYPE, "UNSET")
        java.null()  # no stains
        java.begin(_WORKFLOW)
        java.block(struct.pack(">ii", 1, 0))
        java.end()
        java.begin(_HIERARCHY)
        _ObjectWriter(java, _colors(objects, classes)).write(objects, root_id)
        java.null()  # no TMA grid
        _write_map(java, {})
        java.string("EOF")


def _write_locale(java: JavaWriter) -> None:
    java.begin(_LOCALE)
    java.fields("i", -1)
    for text in ("US", "", "en", "", ""):
        java.shared_string(text)
    java.end()


def _write_map(java: JavaWriter, numbers: Mapping[str, int], key: Hashable = None) -> None:
    buckets = max(16, 1 << (len(numbers) * 4 // 3).bit_length())
    java.begin(_HASH_MAP, key)
    java.fields("fi", 0.75, buckets * 3 // 4)
    java.block(struct.pack(">ii", buckets, len(numbers)))
    for name, number in numbers.items():
        java.shared_string(name)
        _write_integer(java, number)
    java.end()


def _write_integer(java: JavaWriter, number: int) -> None:
    java.begin(_INTEGER)
    java.fields("i", number)


class _ObjectWriter:
    def __init__(self, java: JavaWriter, colors: Mapping[str, tuple[int, int, int]]) -> None:
        self._java = java
        self._colors = colors

    def write(self, objects: Sequence[PathObject], root_id: str) -> None:
        children = _children(objects)
        self._java.begin(_ROOT)
        self._java.null()  # no name
        self._java.null()  # no color
        _write_metadata(self._java, {}, root_id)
        self._java.null()  # no measurements
        self._java.block(struct.pack(">i", len(children[None])))
        pending: list[tuple[PathObject, bool]] = [(item, False) for item in reversed(children[None])]
        written = 0
        while pending:
            item, is_open = pending.pop()
            if is_open:
                self._close(item)
                continue
            below = children.get(item.id, [])
            self._open(item, len(below))
            pending.append((item, True))
            pending.extend((child, False) for child in reversed(below))
            written += 1
        self._java.end()
        if written < len(objects):
            raise InvalidValueError(f"the parents of {len(objects) - written} objects form a circle; give them others")

    def _open(self, item: PathObject, children: int) -> None:
        java = self._java
        java.begin(_KINDS[item.kind])
        java.null() if item.name is None else java.string(item.name)
        java.null() if item.color_rgb is None else _write_integer(java, argb(item.color_rgb))
        _write_metadata(java, item.metadata, uuid_of(item.id))
        if not item.measurements:
            java.null()
        elif item.kind in _COMPACT:
            _write_numeric_list(java, item.measurements)
        else:
            _write_measurement_list(java, item.measurements)
        java.block(struct.pack(">i", children))

    def _close(self, item: PathObject) -> None:
        java = self._java
        _write_boolean(java, item.is_locked)
        self._write_class(item.path_class)
        _write_roi(java, item.geometry, item)
        probability = struct.pack(">d", np.nan if item.class_probability is None else item.class_probability)
        java.block(probability + bytes((item.is_missing,)) if item.kind is ObjectKind.TMA_CORE else probability)
        if item.kind is ObjectKind.CELL:
            java.null() if item.nucleus is None else _write_roi(java, item.nucleus, item)
        java.end()

    def _write_class(self, path_class: PathClass | None) -> None:
        if path_class is None:
            self._java.null()
            return
        *bases, name = path_class.parts
        key = ("class", path_class.name)
        if self._java.refer(key):
            return
        base = ": ".join(bases)
        self._java.begin(_PATH_CLASS, key)
        _write_integer(self._java, argb(self._colors.get(path_class.name, path_class.color_rgb)))
        self._java.string(name)
        self._write_class(PathClass(base, self._colors.get(base, path_class.color_rgb)) if base else None)


def _colors(objects: Sequence[PathObject], classes: Sequence[PathClass]) -> dict[str, tuple[int, int, int]]:
    used = [item.path_class for item in objects if item.path_class is not None]
    return {item.name: item.color_rgb for item in (*used, *classes)}


def _children(objects: Sequence[PathObject]) -> dict[str | None, list[PathObject]]:
    known = {item.id for item in objects}
    if len(known) < len(objects):
        raise InvalidValueError(f"{len(objects) - len(known)} objects have the id of another; give each its own")
    children: dict[str | None, list[PathObject]] = {None: []}
    for item in objects:
        children.setdefault(item.parent_id if item.parent_id in known else None, []).append(item)
    return children


def argb(color_rgb: tuple[int, int, int]) -> int:
    """Return an opaque color as Java's signed number."""
    red, green, blue = color_rgb
    return (red << 16 | green << 8 | blue) - (1 << 24)


def _write_boolean(java: JavaWriter, value: bool) -> None:
    if not java.refer(("boolean", value)):
        java.begin(_BOOLEAN, ("boolean", value))
        java.fields("?", value)


def _write_metadata(java: JavaWriter, metadata: Mapping[str, str], object_id: str) -> None:
    java.begin(_METADATA)
    if not java.refer(_METADATA):  # form 1
        java.begin(_INTEGER, _METADATA)
        java.fields("i", 1)
    java.array(_OBJECT_ARRAY, len(metadata) + 1)
    for name in (*metadata, "Object ID"):
        java.shared_string(name)
    java.array(_OBJECT_ARRAY, len(metadata) + 1)
    for text in (*metadata.values(), object_id):
        java.string(text)
    java.end()


def _write_measurement_list(java: JavaWriter, measurements: Mapping[str, float]) -> None:
    java.begin(_MEASUREMENT_LIST)
    java.begin(_ARRAY_LIST)
    java.fields("i", len(measurements))
    java.block(struct.pack(">i", len(measurements)))
    for name, value in measurements.items():
        java.begin(_MEASUREMENT)
        java.fields("d", value)
        java.shared_string(name)
    java.end()


def _write_numeric_list(java: JavaWriter, measurements: Mapping[str, float]) -> None:
    """Write the values as one array; objects with the same names share these."""
    names = tuple(measurements)
    java.begin(_NUMERIC_LIST)
    java.fields("?", True)  # closed: whoever adds a name copies the list first
    if not java.refer(("map", names)):
        _write_map(java, {name: index for index, name in enumerate(names)}, ("map", names))
    if not java.refer(("names", names)):
        java.begin(_ARRAY_LIST, ("names", names))
        java.fields("i", len(names))
        java.block(struct.pack(">i", len(names)))
        for name in names:
            java.shared_string(name)
        java.end()
    java.array(_DOUBLES, len(names), struct.pack(f">{len(names)}d", *measurements.values()))


def _write_roi(java: JavaWriter, geometry: BaseGeometry, item: PathObject) -> None:
    shape = geometry.geoms[0] if geometry.geom_type.startswith("Multi") and len(geometry.geoms) == 1 else geometry
    if shape.is_empty or shape.geom_type not in _WRITERS:
        what = "is empty" if shape.is_empty else f"is a {shape.geom_type}"
        raise InvalidValueError(f"the outline of object {item.id} {what}; QuPath has no such shape, leave it out")
    if item.is_ellipse and geometry is item.geometry and shape.geom_type == "Polygon":
        x, y, x2, y2 = shape.bounds
        _write_corners(java, _ELLIPSE, (x, x2, y, y2), item.plane)
    else:
        _WRITERS[shape.geom_type](java, shape, item.plane)


def _write_corners(
    java: JavaWriter, described: ClassDescriptor, x_x2_y_y2: tuple[float, float, float, float], plane: Plane
) -> None:
    java.begin(described)
    java.fields("iiddddi", plane.c, plane.t, *x_x2_y_y2, plane.z)
    java.null()  # no name


def _begin_shape(java: JavaWriter, described: ClassDescriptor, plane: Plane, nulls: int) -> None:
    java.begin(described)
    java.fields("iii", plane.c, plane.t, plane.z)
    for _ in range(nulls):
        java.null()


def _write_polygon(java: JavaWriter, shape: BaseGeometry, plane: Plane) -> None:
    if len(shape.interiors):
        _write_geometry(java, shape, plane)
        return
    ring = shapely.get_coordinates(shape)
    if _is_rectangle(ring):
        (x, y), (x2, y2) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
        _write_corners(java, _RECTANGLE, (x, x2, y, y2), plane)
        return
    _begin_shape(java, _POLYGON, plane, 2)  # neither name nor statistics
    _write_positions(java, ring[:-1])


def _is_rectangle(ring: Positions) -> bool:
    steps = np.diff(ring, axis=0) != 0
    return len(ring) == 5 and bool((steps[:, 0] != steps[:, 1]).all() and (steps[0] != steps[1]).all())


def _write_line(java: JavaWriter, shape: BaseGeometry, plane: Plane) -> None:
    positions = shapely.get_coordinates(shape)
    if len(positions) == 2:
        (x, y), (x2, y2) = positions.tolist()
        _write_corners(java, _LINE, (x, x2, y, y2), plane)
        return
    _begin_shape(java, _POLYLINE, plane, 0)
    _write_positions(java, positions)


def _write_points(java: JavaWriter, shape: BaseGeometry, plane: Plane) -> None:
    _begin_shape(java, _POINTS, plane, 1)  # no name
    _write_positions(java, shapely.get_coordinates(shape))


def _write_geometry(java: JavaWriter, shape: BaseGeometry, plane: Plane) -> None:
    content = shapely.to_wkb(shapely.force_2d(shape), byte_order=0)
    _begin_shape(java, _GEOMETRY, plane, 1)  # no statistics
    java.array(_BYTES, len(content), content)


def _write_positions(java: JavaWriter, positions: Positions) -> None:
    for column in positions.T.astype(">f4"):
        java.array(_FLOATS, len(column), column.tobytes())


_WRITERS: Final = {
    "Polygon": _write_polygon,
    "MultiPolygon": _write_geometry,
    "MultiLineString": _write_geometry,
    "LineString": _write_line,
    "LinearRing": _write_line,
    "Point": _write_points,
    "MultiPoint": _write_points,
}
