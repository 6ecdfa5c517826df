"""Java's and QuPath's classes as QuPath 0.6 describes them in a ``data.qpdata``."""

from __future__ import annotations

from typing import Final

from qpbridge.core.objects import ObjectKind
from qpbridge.qupath.java.writer import ENUM, EXTERNALIZABLE, ClassDescriptor
from qpbridge.qupath.java.writer import SERIALIZABLE_WITH_METHOD as WITH_METHOD

_TEXT: Final = "Ljava/lang/String;"
_LIST: Final = "Ljava/util/List;"
_OBJECTS: Final = "qupath.lib.objects."
_MEASUREMENTS: Final = "qupath.lib.measurements."

_NUMBER: Final = ClassDescriptor("java.lang.Number", uid=-8742448824652078965)
INTEGER: Final = ClassDescriptor("java.lang.Integer", (("value", "I"),), 1360826667806852920, parent=_NUMBER)
BOOLEAN: Final = ClassDescriptor("java.lang.Boolean", (("value", "Z"),), -3665804199014368530)
FLOATS: Final = ClassDescriptor("[F", uid=836686056779680834)
DOUBLES: Final = ClassDescriptor("[D", uid=4514449696888150558)
BYTES: Final = ClassDescriptor("[B", uid=-5984413125824719648)
OBJECT_ARRAY: Final = ClassDescriptor("[Ljava.lang.Object;", uid=-8012369246846506644)
ARRAY_LIST: Final = ClassDescriptor("java.util.ArrayList", (("size", "I"),), 8683452581122892189, WITH_METHOD)
IMMUTABLE_LIST: Final = ClassDescriptor("java.util.CollSer", (("tag", "I"),), 6309168927139932177, WITH_METHOD)
HASH_MAP: Final = ClassDescriptor(
    "java.util.HashMap", (("loadFactor", "F"), ("threshold", "I")), 362498820763181265, WITH_METHOD
)
LOCALE: Final = ClassDescriptor(
    "java.util.Locale",
    (("hashcode", "I"), *((name, _TEXT) for name in ("country", "extensions", "language", "script", "variant"))),
    9149081749638150636,
    WITH_METHOD,
)

IMAGE_TYPE: Final = ClassDescriptor(
    "qupath.lib.images.ImageData$ImageType",
    uid=0,
    flags=ENUM,
    parent=ClassDescriptor("java.lang.Enum", uid=0, flags=ENUM),
)
STAINS: Final = ClassDescriptor("qupath.lib.color.ColorDeconvolutionStains", flags=EXTERNALIZABLE)
WORKFLOW: Final = ClassDescriptor("qupath.lib.plugins.workflow.Workflow", flags=EXTERNALIZABLE)
HIERARCHY: Final = ClassDescriptor(
    f"{_OBJECTS}hierarchy.PathObjectHierarchy",
    (("rootObject", "Lqupath/lib/objects/PathObject;"), ("tmaGrid", "Lqupath/lib/objects/hierarchy/TMAGrid;")),
)
TMA_GRID: Final = ClassDescriptor(
    f"{_OBJECTS}hierarchy.DefaultTMAGrid", (("gridHeight", "I"), ("gridWidth", "I"), ("cores", _LIST))
)
METADATA: Final = ClassDescriptor(f"{_OBJECTS}MetadataMap", flags=EXTERNALIZABLE)
PATH_CLASS: Final = ClassDescriptor(
    f"{_OBJECTS}classes.PathClass",
    (("colorRGB", "Ljava/lang/Integer;"), ("name", _TEXT), ("parentClass", "Lqupath/lib/objects/classes/PathClass;")),
)


def _path_object(name: str, parent: ClassDescriptor | None) -> ClassDescriptor:
    return ClassDescriptor(f"{_OBJECTS}{name}", flags=EXTERNALIZABLE, parent=parent)


_PATH_OBJECT: Final = _path_object("PathObject", None)
_ROI_OBJECT: Final = _path_object("PathROIObject", _PATH_OBJECT)
_DETECTION: Final = _path_object("PathDetectionObject", _ROI_OBJECT)
ROOT: Final = _path_object("PathRootObject", _PATH_OBJECT)
KINDS: Final = {
    ObjectKind.ANNOTATION: _path_object("PathAnnotationObject", _ROI_OBJECT),
    ObjectKind.DETECTION: _DETECTION,
    ObjectKind.CELL: _path_object("PathCellObject", _DETECTION),
    ObjectKind.TILE: _path_object("PathTileObject", _DETECTION),
    ObjectKind.TMA_CORE: _path_object("TMACoreObject", _ROI_OBJECT),
}

MEASUREMENT_LIST: Final = ClassDescriptor(
    f"{_MEASUREMENTS}DefaultMeasurementList", (("list", "Ljava/util/ArrayList;"),)
)
MEASUREMENT: Final = ClassDescriptor(f"{_MEASUREMENTS}DoubleMeasurement", (("value", "D"), ("name", _TEXT)))
_NUMERIC_LIST: Final = ClassDescriptor(
    f"{_MEASUREMENTS}NumericMeasurementList$AbstractNumericMeasurementList",
    (("isClosed", "Z"), ("map", "Ljava/util/Map;"), ("names", _LIST)),
)
DOUBLE_LIST: Final = ClassDescriptor(
    f"{_MEASUREMENTS}NumericMeasurementList$DoubleList", (("values", "[D"),), parent=_NUMERIC_LIST
)


def _roi(name: str, *objects: tuple[str, str], numbers: str = "c t z") -> ClassDescriptor:
    primitives = ((field, "D" if field[0] in "xy" else "I") for field in numbers.split())
    return ClassDescriptor(f"qupath.lib.roi.{name}", (*primitives, *objects))


_CORNERS: Final = "c t x x2 y y2 z"
_STATS: Final = "Lqupath/lib/roi/ClosedShapeStatistics;"
_GEOMETRY_STATS: Final = "Lqupath/lib/roi/GeometryROI$GeometryStats;"
RECTANGLE: Final = _roi("RectangleROI$SerializationProxy", ("name", _TEXT), numbers=_CORNERS)
ELLIPSE: Final = _roi("EllipseROI$SerializationProxy", ("name", _TEXT), numbers=_CORNERS)
LINE: Final = _roi("LineROI$SerializationProxy", ("name", _TEXT), numbers=_CORNERS)
POLYGON: Final = _roi("PolygonROI$SerializationProxy", ("name", _TEXT), ("stats", _STATS), ("x", "[F"), ("y", "[F"))
POLYLINE: Final = _roi("PolylineROI$SerializationProxy", ("x", "[F"), ("y", "[F"))
POINTS: Final = _roi("PointsROI$SerializationProxy", ("name", _TEXT), ("x", "[F"), ("y", "[F"))
GEOMETRY: Final = _roi("GeometryROI$WKBSerializationProxy", ("stats", _GEOMETRY_STATS), ("wkb", "[B"))
