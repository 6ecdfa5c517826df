import io
import re
import struct
import uuid
from collections import Counter
from dataclasses import replace

import javaobj.v2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from javaobj.v2.api import ObjectTransformer
from javaobj.v2.beans import JavaInstance
from shapely import (
    GeometryCollection,
    LinearRing,
    LineString,
    MultiLineString,
    MultiPoint,
    MultiPolygon,
    Point,
    Polygon,
    box,
)

from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.errors import InvalidValueError
from qpbridge.qupath import qpdata_writing
from qpbridge.qupath.java.writer import EXTERNALIZABLE, SERIALIZABLE_WITH_METHOD, ClassDescriptor, JavaWriter, utf
from qpbridge.qupath.qpdata import read_qpdata
from qpbridge.qupath.qpdata_writing import argb, write_qpdata

ROOT_ID = str(uuid.UUID(int=99, version=4))
TUMOR = PathClass("Tumor", (200, 0, 0))
POSITIVE = PathClass("Tumor: Positive", (250, 62, 62))
TRIANGLE = Polygon([(0.25, 0), (9, 1.5), (3, 8)])
WITH_HOLE = box(0, 0, 9, 9) - box(1.1, 1.1, 2.3, 2.3)
VERSIONS = ("qp-0.5.1", "qp-0.6.0", "qp-0.7.0")


def an_object(number=1, **fields):
    fields = {"kind": ObjectKind.ANNOTATION, "geometry": TRIANGLE, **fields}
    return PathObject(id=str(uuid.UUID(int=number, version=4)), **fields)


def encoded(*objects, classes=()):
    out = io.BytesIO()
    write_qpdata(out, "{}", objects, classes, ROOT_ID)
    return out.getvalue()


def again(*objects, classes=()):
    return read_qpdata(encoded(*objects, classes=classes)).objects


def some_objects():
    """Return one object of every kind and shape, nested two deep."""
    annotation, detection, cell = ObjectKind.ANNOTATION, ObjectKind.DETECTION, ObjectKind.CELL
    numbers = {"Area µm²": 1.25, "Mean": -1e300}
    forms = [
        {
            "kind": annotation,
            "name": "Nécrose/坏死 \U0001f600",
            "metadata": {"k": "v", "version": "1"},
            "is_locked": True,
        },
        {
            "kind": annotation,
            "geometry": WITH_HOLE,
            "path_class": POSITIVE,
            "color_rgb": (1, 2, 3),
            "measurements": numbers,
        },
        {"kind": annotation, "geometry": box(0, 0.1, 7, 8.7), "path_class": TUMOR, "plane": Plane(c=1, z=2, t=3)},
        {
            "kind": annotation,
            "geometry": MultiPolygon([box(0, 0, 1, 1), box(3, 3, 4.4, 4.4)]),
            "class_probability": 0.5,
        },
        {"kind": annotation, "geometry": LineString([(0.1, 0.2), (5, 6)])},
        {"kind": annotation, "geometry": LineString([(0.5, 0.25), (5, 6), (7, 0)])},
        {"kind": annotation, "geometry": MultiLineString([[(0.1, 0), (1, 1)], [(2, 2), (3, 3.3)]])},
        {"kind": annotation, "geometry": MultiPoint([(0.5, 1), (2, 3)])},
        {"kind": detection, "path_class": POSITIVE, "measurements": numbers},
        {"kind": cell, "nucleus": box(2, 2, 3, 3), "measurements": numbers},
        {"kind": cell},
        {"kind": ObjectKind.TILE, "geometry": box(0, 0, 256, 256)},
        {"kind": ObjectKind.TMA_CORE, "name": "A-1", "is_missing": True},
    ]
    objects = [an_object(number, **form) for number, form in enumerate(forms, start=1)]
    objects[8] = replace(objects[8], parent_id=objects[2].id)
    objects[9] = replace(objects[9], parent_id=objects[8].id)
    return objects


def canonical(item):
    """Return an object whose rings begin at a fixed corner, since a rectangle does not keep its first one."""
    nucleus = None if item.nucleus is None else item.nucleus.normalize()
    return replace(item, geometry=item.geometry.normalize(), nucleus=nucleus)


def test_what_is_written_is_read_again():
    objects = some_objects()

    found = {item.id: canonical(item) for item in again(*objects)}

    assert found == {item.id: canonical(item) for item in objects}


def test_parents_come_before_their_children_in_order():
    objects = some_objects()

    found = [item.id for item in again(*reversed(objects))]

    above = {item.id: item.parent_id for item in objects}
    assert all(parent is None or found.index(parent) < found.index(child) for child, parent in above.items())


def test_an_ellipse_stays_one():
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    outline = Polygon(np.c_[10 + 8 * np.cos(angles), 6 + 4 * np.sin(angles)])

    (item,) = again(an_object(geometry=outline, is_ellipse=True))

    assert item.is_ellipse
    assert item.geometry.bounds == pytest.approx((2, 2, 18, 10), abs=0.03)
    assert item.geometry.area == pytest.approx(np.pi * 8 * 4, rel=0.005)


def test_numbers_that_are_not_finite_are_kept():
    for kind in (ObjectKind.ANNOTATION, ObjectKind.DETECTION):
        (item,) = again(an_object(kind=kind, measurements={"a": np.nan, "b": np.inf, "c": -np.inf}))

        assert np.isnan(item.measurements["a"])
        assert list(item.measurements) == ["a", "b", "c"]
        assert (item.measurements["b"], item.measurements["c"]) == (np.inf, -np.inf)


def test_an_object_whose_parent_is_missing_stands_below_the_root():
    (item,) = again(an_object(parent_id=str(uuid.uuid4())))

    assert item.parent_id is None


def test_the_list_of_classes_gives_the_colors():
    (item,) = again(an_object(path_class=PathClass("Tumor", (1, 1, 1))), classes=[TUMOR])

    assert item.path_class == TUMOR


@pytest.mark.parametrize(
    ("given_geometry", "expected"),
    [
        (MultiPolygon([TRIANGLE]), TRIANGLE),
        (MultiPoint([(1, 2)]), Point(1, 2)),
        (LinearRing([(0, 0), (1, 0), (1, 1)]), LineString([(0, 0), (1, 0), (1, 1), (0, 0)])),
        (shapely.force_3d(WITH_HOLE), WITH_HOLE),
    ],
)
def test_other_forms_of_a_shape_are_stored_as_the_simple_one(given_geometry, expected):
    (item,) = again(an_object(geometry=given_geometry))

    assert item.geometry.equals(expected)
    assert item.geometry.geom_type == expected.geom_type
    assert not item.geometry.has_z


@st.composite
def rings(draw):
    x, y = draw(st.floats(0, 2e5)), draw(st.floats(0, 2e5))
    radius = draw(st.floats(1, 3000))
    angles = np.linspace(0, 2 * np.pi, draw(st.integers(3, 30)), endpoint=False)
    return Polygon(np.c_[x + radius * np.cos(angles), y + radius * np.sin(angles)])


@given(rings())
@settings(deadline=None)
def test_an_outline_without_hole_is_kept_in_float32(outline):
    (item,) = again(an_object(geometry=outline))

    expected = shapely.transform(outline, lambda positions: positions.astype(np.float32).astype(np.float64))
    assert item.geometry.normalize().equals_exact(expected.normalize())


@given(rings())
@settings(deadline=None)
def test_an_outline_with_hole_is_kept_exactly(outline):
    outline = Polygon(outline.exterior, [shapely.affinity.scale(outline, 0.5, 0.5).exterior])

    (item,) = again(an_object(geometry=outline))

    assert item.geometry.equals_exact(outline)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.01, 1e5), st.floats(0.01, 1e5))
@settings(deadline=None)
def test_a_rectangle_is_kept_exactly(x, y, width, height):
    (item,) = again(an_object(geometry=box(x, y, x + width, y + height)))

    assert item.geometry.bounds == (x, y, x + width, y + height)


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ([an_object(1), an_object(1)], "have the id of another"),
        ([an_object(1, parent_id=an_object(2).id), an_object(2, parent_id=an_object(1).id)], "form a circle"),
        ([an_object(1, geometry=Polygon())], "is empty"),
        ([an_object(1, geometry=GeometryCollection([TRIANGLE, Point(1, 1)]))], "is a GeometryCollection"),
        ([an_object(1, kind=ObjectKind.CELL, nucleus=Polygon())], "is empty"),
    ],
)
def test_what_qupath_cannot_hold_is_refused(objects, said):
    with pytest.raises(InvalidValueError, match=said):
        encoded(*objects)


def test_a_deep_hierarchy_needs_no_deep_stack():
    objects = [
        an_object(number, parent_id=an_object(number - 1).id if number > 1 else None) for number in range(1, 3000)
    ]

    assert len(encoded(*objects)) > 3000 * 100


def test_names_of_measurements_are_stored_once():
    numbers = {f"Nucleus: measurement {index}": 1.0 for index in range(40)}
    objects = [an_object(number, kind=ObjectKind.DETECTION, measurements=numbers) for number in range(1, 4)]

    one, two, three = (len(encoded(*objects[:count])) for count in (1, 2, 3))

    assert three - two == two - one < 40 * 8 + 400


class External(JavaInstance):
    """An object that writes itself; what it wrote is read as a list, without knowing its class."""

    def load_from_blockdata(self, *_):
        return True


class Externals(ObjectTransformer):
    def __init__(self):
        self.made = []

    def create_instance(self, classdesc):
        if not classdesc.desc_flags & EXTERNALIZABLE & ~SERIALIZABLE_WITH_METHOD:
            return None
        classdesc.super_class = None  # such an object writes once, not once a base class
        self.made.append(External())
        return self.made[-1]


def test_an_independent_reader_takes_the_whole_stream():
    objects = some_objects()
    externals = Externals()

    content = javaobj.v2.load(io.BytesIO(encoded(*objects, classes=[TUMOR])), externals)

    assert content[0].data == utf("Data file version 3")
    assert [str(content[1]), str(content[-1])] == ["{}", "EOF"]
    path_objects = [item for item in externals.made if "MetadataMap" not in item.classdesc.name][1:]
    written = [next(iter(item.annotations.values())) for item in path_objects if "Root" not in item.classdesc.name]
    assert len(written) == len(objects)
    names = Counter(None if items[0] is None else str(items[0]) for items in written)
    assert names == Counter(item.name for item in objects)
    children = sum(int.from_bytes(items[4].data, "big") for items in written)
    assert children == sum(item.parent_id is not None for item in objects)


def descriptors():
    """Return every class that is ever described, bases included."""
    found = {}
    pending = [*vars(qpdata_writing).values()]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(member for member in value.values() if isinstance(member, ClassDescriptor))
        if isinstance(value, ClassDescriptor):
            found[value.name] = value
            pending.append(value.parent)
    return found


def pattern(described):
    """Return a pattern of the bytes of a description, in which texts seen before may stand as references."""
    head = b"r" + utf(described.name) + struct.pack(">qBH", described.uid, described.flags, len(described.fields))
    found = re.escape(head)
    for name, kind in described.fields:
        found += re.escape(kind[:1].encode() + utf(name))
        if len(kind) > 1:
            found += b"(?:" + re.escape(b"t" + utf(kind)) + b"|q....)"
    base = b"p" if described.parent is None else b"(?:q....|" + pattern(described.parent) + b")"
    return found + b"x" + base


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(descriptors()))
def test_classes_are_described_byte_for_byte_as_qupath_does(data_dir, version, name):
    data = data_dir / "made" / version / "project" / "data"
    theirs = b"".join(path.read_bytes() for path in sorted(data.glob("*/data.qpdata")))

    assert re.search(pattern(descriptors()[name]), theirs, flags=re.DOTALL)


TEXT = "Ljava/lang/String;"
STEP = ClassDescriptor(
    "qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep",
    (("map", "Ljava/util/Map;"), ("name", TEXT), ("script", TEXT)),
)
ONE_PAIR = ClassDescriptor(
    "java.util.Collections$SingletonMap",
    (("k", "Ljava/lang/Object;"), ("v", "Ljava/lang/Object;")),
    uid=-6979724477215052911,
)


def texts_of(data):
    """Return the texts of an entry that no writer could know: server, script, root id, project."""
    server = re.search(rb'\{"dataVersion".*?\}(?=sr\x00\x10java\.util\.Locale)', data).group()
    script = re.search(rb"setImageType\('OTHER'\);?", data).group()
    root_id = re.search(rb"Object IDuq....\x00\x00\x00\x01t\x00\x24(.{36})", data, flags=re.DOTALL).group(1)
    project = re.search(rb"/data/histology/[^\"]*?::4(?=x)", data).group()
    return [text.decode() for text in (server, script, root_id, project)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_whole_entry_of_qupath_is_encoded_byte_for_byte(data_dir, version):
    theirs = (data_dir / "made" / version / "project" / "data" / "4" / "data.qpdata").read_bytes()
    server, script, root_id, project = texts_of(theirs)
    out = io.BytesIO()

    # Beside our own parts stands what only QuPath writes: one step of the workflow and one property.
    with JavaWriter(out) as java:
        java.block(utf("Data file version 3"))
        java.string(server)
        qpdata_writing._write_locale(java)
        java.enum(qpdata_writing._IMAGE_TYPE, "OTHER")
        java.null()
        java.begin(qpdata_writing._WORKFLOW)
        java.block(struct.pack(">ii", 1, 1))
        java.begin(STEP)
        java.begin(ONE_PAIR)
        java.string("Image type")
        java.fields("Bi", 0x71, 0x7E0009)  # the image type again
        java.string("Set image type")
        java.string(script)
        java.end()
        java.begin(qpdata_writing._HIERARCHY)
        qpdata_writing._ObjectWriter(java, {}).write(read_qpdata(theirs).objects, root_id)
        java.null()
        java.begin(qpdata_writing._HASH_MAP)
        java.fields("fi", 0.75, 12)
        java.block(struct.pack(">ii", 16, 1))
        java.string("PROJECT_ENTRY_ID")
        java.string(project)
        java.end()
        java.string("EOF")

    assert out.getvalue() == theirs


@pytest.mark.parametrize(("color", "number"), [((200, 0, 0), -3670016), ((0, 0, 0), -(1 << 24)), ((255, 255, 255), -1)])
def test_colors_are_opaque_signed_numbers(color, number):
    assert argb(color) == number
