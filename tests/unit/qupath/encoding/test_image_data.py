import io
import uuid
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
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
from qpbridge.errors import DataExistsError, InvalidValueError
from qpbridge.qupath.encoding.image_data import ImageDetails, argb, create_qpdata, write_qpdata
from qpbridge.qupath.qpdata import read_qpdata

ROOT_ID = str(uuid.UUID(int=99, version=4))
TUMOR = PathClass("Tumor", (200, 0, 0))
POSITIVE = PathClass("Tumor: Positive", (250, 62, 62))
TRIANGLE = Polygon([(0.25, 0), (9, 1.5), (3, 8)])
WITH_HOLE = box(0, 0, 9, 9) - box(1.1, 1.1, 2.3, 2.3)


def an_object(number=1, **fields):
    fields = {"kind": ObjectKind.ANNOTATION, "geometry": TRIANGLE, **fields}
    return PathObject(id=str(uuid.UUID(int=number, version=4)), **fields)


def details(**fields):
    return ImageDetails(server_json="{}", root_id=ROOT_ID, **fields)


def encoded(*objects, classes=(), **fields):
    out = io.BytesIO()
    write_qpdata(out, details(**fields), objects, classes)
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


def test_image_type_and_properties_are_read_again():
    properties = {f"property {number}": str(number) for number in range(13)}

    found = read_qpdata(encoded(image_type="BRIGHTFIELD_H_E", properties={**properties, "a number": 42}))

    assert found.image_type == "BRIGHTFIELD_H_E"
    assert found.properties == {**properties, "a number": "42"}


def test_a_grid_must_have_a_place_for_each_core():
    cores = [an_object(number, kind=ObjectKind.TMA_CORE) for number in range(1, 6)]

    with pytest.raises(InvalidValueError, match="a TMA grid of 2 x 3 has no place for each of 5 cores"):
        encoded(*cores, tma_grid=(2, 3))


def test_objects_are_created_and_never_written_over(tmp_path):
    path = tmp_path / "data.qpdata"
    create_qpdata(path, details(), some_objects(), ())
    first = path.read_bytes()

    with pytest.raises(DataExistsError, match=f"{path} holds an image's objects already"):
        create_qpdata(path, details(), [], ())

    assert path.read_bytes() == first == encoded(*some_objects())


def test_no_half_a_file_is_left(tmp_path):
    path = tmp_path / "data.qpdata"

    with pytest.raises(InvalidValueError, match="is empty"):
        create_qpdata(path, details(), [an_object(1), an_object(2, geometry=Polygon())], ())

    assert not path.exists()


@pytest.mark.parametrize(("color", "number"), [((200, 0, 0), -3670016), ((0, 0, 0), -(1 << 24)), ((255, 255, 255), -1)])
def test_colors_are_opaque_signed_numbers(color, number):
    assert argb(color) == number
