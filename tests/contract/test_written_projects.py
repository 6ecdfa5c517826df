"""What the native writer writes, read by a parser that knows nothing of it (javaobj-py3), and by our own reader."""

import io
import json
import math
import struct
import uuid
from dataclasses import dataclass, replace

import javaobj.v2
import numpy as np
import pytest
import shapely
from javaobj.v2.api import ObjectTransformer
from javaobj.v2.beans import JavaInstance
from shapely import LineString, MultiLineString, MultiPoint, MultiPolygon, Point, Polygon, box

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.qupath.encoding.entry import NewEntry
from qpbridge.qupath.java.writer import EXTERNALIZABLE, SERIALIZABLE_WITH_METHOD, utf
from qpbridge.qupath.project import open_project
from qpbridge.qupath.writing import create_project

TUMOR = PathClass("Tumor", (200, 0, 0))
POSITIVE = PathClass("Tumor: Positive", (250, 62, 62))
DEEP = PathClass("CD3: CD8: PD1", (1, 2, 3))
TRIANGLE = Polygon([(0.25, 0), (9, 1.5), (3, 8)])
WITH_HOLE = box(0, 0, 9, 9) - box(1.25, 1.25, 2.5, 2.5)
NUMBERS = {"Area µm²": 1.25, "Mean": -1e300, "None": math.nan, "All": math.inf}
ANGLES = np.linspace(0, 2 * np.pi, 100, endpoint=False)
OVAL = Polygon(np.c_[10 + 8 * np.cos(ANGLES), 6 + 4 * np.sin(ANGLES)])

ANNOTATION, DETECTION, CELL = ObjectKind.ANNOTATION, ObjectKind.DETECTION, ObjectKind.CELL
FORMS = [
    {
        "kind": ANNOTATION,
        "name": "Nécrose/坏死 \U0001f600",
        "metadata": {"k": "v", "ANNOTATION_DESCRIPTION": "two\nlines"},
    },
    {
        "kind": ANNOTATION,
        "geometry": WITH_HOLE,
        "path_class": POSITIVE,
        "color_rgb": (1, 2, 3),
        "measurements": NUMBERS,
    },
    {"kind": ANNOTATION, "geometry": box(0, 0.1, 7, 8.7), "path_class": TUMOR, "plane": Plane(c=1, z=2, t=3)},
    {"kind": ANNOTATION, "geometry": MultiPolygon([box(0, 0, 1, 1), box(3, 3, 4.4, 4.4)]), "class_probability": 0.5},
    {"kind": ANNOTATION, "geometry": OVAL, "is_ellipse": True, "is_locked": True},
    {"kind": ANNOTATION, "geometry": LineString([(0.1, 0.2), (5, 6)])},
    {"kind": ANNOTATION, "geometry": LineString([(0.5, 0.25), (5, 6), (7, 0)])},
    {"kind": ANNOTATION, "geometry": MultiLineString([[(0.1, 0), (1, 1)], [(2, 2), (3, 3.3)]])},
    {"kind": ANNOTATION, "geometry": MultiPoint([(0.5, 1), (2, 3)])},
    {"kind": ANNOTATION, "geometry": Point(4, 2)},
    {"kind": DETECTION, "path_class": DEEP, "measurements": NUMBERS, "parent": 3},
    {"kind": DETECTION, "path_class": POSITIVE, "measurements": NUMBERS},
    {"kind": CELL, "nucleus": box(2, 2, 3, 3), "measurements": {"Mean": 2.0}, "parent": 11, "metadata": {"k": "w"}},
    {"kind": CELL, "nucleus": WITH_HOLE, "plane": Plane(z=1)},
    {"kind": CELL, "path_class": TUMOR},
    {"kind": ObjectKind.TILE, "geometry": box(0, 0, 256, 256), "measurements": NUMBERS, "is_locked": True},
    {"kind": ObjectKind.TMA_CORE, "name": "A-1", "is_missing": True},
    {"kind": ObjectKind.TMA_CORE, "name": "A-2", "measurements": NUMBERS, "metadata": {"Case ID": "7"}},
]
KINDS = {
    "PathAnnotationObject": ANNOTATION,
    "PathDetectionObject": DETECTION,
    "PathCellObject": CELL,
    "PathTileObject": ObjectKind.TILE,
    "TMACoreObject": ObjectKind.TMA_CORE,
}


def identity(number):
    return str(uuid.UUID(int=number, version=4))


def all_kinds():
    objects = []
    for number, form in enumerate(FORMS, start=1):
        given = {"geometry": TRIANGLE, **form}
        parent = given.pop("parent", None)
        objects.append(PathObject(id=identity(number), parent_id=parent and identity(parent), **given))
    return objects


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    entry = NewEntry(
        slide_path=folder / "a.tif",
        name="a",
        width_px=512,
        height_px=512,
        downsamples=(1.0,),
        calibration=PixelCalibration.square(0.5),
        objects=all_kinds(),
        image_type="BRIGHTFIELD_H_E",
        stains='{"Name" : "mine"}',
        tma_grid=(1, 2),
    )
    create_project(folder, [entry], [TUMOR])
    return folder


class External(JavaInstance):
    """An object that writes itself; what it wrote is read as a list, without knowing its class."""

    def load_from_blockdata(self, *_):
        return True


class Externals(ObjectTransformer):
    def create_instance(self, classdesc):
        if not classdesc.desc_flags & EXTERNALIZABLE & ~SERIALIZABLE_WITH_METHOD:
            return None
        classdesc.super_class = None  # such an object writes once, not once a base class
        return External()


def short(item):
    return item.classdesc.name.rpartition(".")[2].partition("$")[0]


def content(item):
    return next(iter(item.annotations.values()))


def fields(item):
    return {field.name: value for values in item.field_data.values() for field, value in values.items()}


def text(value):
    return None if value is None else str(value)


def color(number):
    packed = fields(number)["value"]
    return packed >> 16 & 255, packed >> 8 & 255, packed & 255


@dataclass
class Read:
    """One object as the independent parser tells it."""

    values: dict
    shape: tuple
    nucleus: tuple | None


class Reader:
    """Takes the objects out of a parsed stream, depth first."""

    def __init__(self, root):
        self.objects = []
        self._names = {}
        for child in self._children(root):
            self._read(child, None)

    @staticmethod
    def _children(item):
        items = content(item)
        (count,) = struct.unpack(">i", items[4].data)
        return items[5 : 5 + count]

    def _read(self, item, parent_id):
        items = content(item)
        children = self._children(item)
        locked, path_class, roi, tail, *nucleus = items[5 + len(children) :]
        kind = KINDS[short(item)]
        metadata = dict(zip(*(map(str, array) for array in content(items[2])[1:]), strict=True))
        values = {
            "id": metadata.pop("Object ID"),
            "kind": kind,
            "name": text(items[0]),
            "color_rgb": None if items[1] is None else color(items[1]),
            "metadata": metadata,
            "measurements": self._measurements(items[3]),
            "is_locked": bool(fields(locked)["value"]),
            "path_class": self._path_class(path_class),
            "class_probability": struct.unpack(">d", tail.data[:8])[0],
            "is_missing": kind is ObjectKind.TMA_CORE and tail.data[8:] == b"\x01",
            "parent_id": parent_id,
        }
        assert (len(nucleus) == 1) == (kind is CELL)
        self.objects.append(Read(values, shape(roi), shape(nucleus[0]) if nucleus and nucleus[0] is not None else None))
        for child in children:
            self._read(child, values["id"])

    @staticmethod
    def _measurements(item):
        if item is None:
            return {}
        values = fields(item)
        if "list" in values:
            pairs = map(fields, values["list"])
            return {str(pair["name"]): pair["value"] for pair in pairs}
        names = [str(name) for name in content(values["names"])[1:]]
        places = {str(name): fields(place)["value"] for name, place in values["map"].items()}
        assert places == {name: place for place, name in enumerate(names)}
        return dict(zip(names, values["values"], strict=True))

    def _path_class(self, item):
        if item is None:
            return None
        values = fields(item)
        base = self._path_class(values["parentClass"])
        name = str(values["name"])
        return PathClass(name if base is None else f"{base.name}: {name}", color(values["colorRGB"]))


def shape(roi):
    """Return kind, plane and coordinates of a ROI."""
    values = fields(roi)
    plane = Plane(c=values["c"], z=values["z"], t=values["t"])
    if "x2" in values:
        return short(roi), plane, [values[name] for name in ("x", "y", "x2", "y2")]
    if "wkb" in values:
        return short(roi), plane, shapely.from_wkb(bytes(byte & 255 for byte in values["wkb"]))
    return short(roi), plane, np.column_stack((values["x"], values["y"])).tolist()


def expected_shape(geometry, plane, is_ellipse=False):
    if is_ellipse or (geometry.geom_type == "Polygon" and geometry.equals(geometry.envelope)):
        return "EllipseROI" if is_ellipse else "RectangleROI", plane, list(geometry.bounds)
    if (geometry.geom_type.startswith("Multi") and geometry.geom_type != "MultiPoint") or geometry.equals(WITH_HOLE):
        return "GeometryROI", plane, geometry
    positions = shapely.get_coordinates(geometry)
    if geometry.geom_type == "LineString" and len(positions) == 2:
        return "LineROI", plane, positions.ravel().tolist()
    kinds = {"Polygon": "PolygonROI", "LineString": "PolylineROI", "Point": "PointsROI", "MultiPoint": "PointsROI"}
    kept = positions[:-1] if geometry.geom_type == "Polygon" else positions
    return kinds[geometry.geom_type], plane, kept.astype(np.float32).tolist()


@pytest.fixture(scope="module")
def parsed(folder):
    return javaobj.v2.load(io.BytesIO((folder / "data" / "1" / "data.qpdata").read_bytes()), Externals())


@pytest.fixture(scope="module")
def read(parsed):
    hierarchy = next(item for item in parsed if isinstance(item, JavaInstance) and short(item) == "PathObjectHierarchy")
    return Reader(fields(hierarchy)["rootObject"]).objects


def test_an_independent_parser_finds_every_object_with_all_that_it_has(read):
    found = {item.values["id"]: item.values for item in read}

    assert len(read) == len(FORMS)
    for item in all_kinds():
        probability = math.nan if item.class_probability is None else item.class_probability
        expected = {name: getattr(item, name) for name in found[item.id]} | {"class_probability": probability}
        assert repr(dict(found[item.id])) == repr(
            {**expected, **{k: dict(expected[k]) for k in ("metadata", "measurements")}}
        )


def test_an_independent_parser_finds_every_outline(read):
    found = {item.values["id"]: item for item in read}

    for item in all_kinds():
        assert found[item.id].shape == expected_shape(item.geometry, item.plane, item.is_ellipse)
        nucleus = None if item.nucleus is None else expected_shape(item.nucleus, item.plane)
        assert found[item.id].nucleus == nucleus


def test_an_independent_parser_finds_what_belongs_to_the_image(parsed, folder):
    first, server, *rest, properties, end = parsed
    by_name = {short(item): item for item in rest if isinstance(item, JavaInstance)}

    assert first.data == utf("Data file version 3")
    assert json.loads(str(server))["server"]["uri"] == f"file:{folder}/a.tif"
    assert str(end) == "EOF"
    assert str(content(by_name["ColorDeconvolutionStains"])[1]) == '{"Name" : "mine"}'
    grid = fields(fields(by_name["PathObjectHierarchy"])["tmaGrid"])
    assert (grid["gridHeight"], grid["gridWidth"]) == (1, 2)
    assert [str(content(core)[0]) for core in grid["cores"]] == ["A-1", "A-2"]
    assert {str(key): str(value) for key, value in properties.items()} == {
        "PROJECT_ENTRY_ID": f"{folder}/project.qpproj::1"
    }


def test_our_own_reader_finds_the_same(folder):
    project = open_project(folder)

    found = {item.id: canonical(item) for item in project.read_objects(project.entries[0])}

    for item in all_kinds():
        assert repr(found[item.id]) == repr(canonical(item))
    assert len(found) == len(FORMS)


def canonical(item):
    """Return an object whose rings begin at a fixed corner and lie on a grid that float32 and ellipses keep."""
    nucleus = None if item.nucleus is None else item.nucleus.normalize()
    outline = shapely.set_precision(item.geometry, 0.01).normalize()
    plain = {"metadata": dict(item.metadata), "measurements": dict(item.measurements)}
    return replace(item, geometry=outline, nucleus=nucleus, **plain)
