import io
import struct
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box

from qpbridge.core.objects import ObjectKind, PathObject, Plane
from qpbridge.errors import InvalidValueError
from qpbridge.qupath.encoding import shapes
from qpbridge.qupath.encoding.shapes import shapes_of, write_shape
from qpbridge.qupath.java.writer import JavaWriter

TRIANGLE = Polygon([(0.25, 0), (9, 1.5), (3, 8)])
WITH_HOLE = box(0, 0, 9, 9) - box(1.1, 1.1, 2.3, 2.3)


def an_object(geometry, **fields):
    return PathObject(
        **{"id": str(uuid.UUID(int=1, version=4)), "kind": ObjectKind.CELL, "geometry": geometry, **fields}
    )


def kinds(*objects):
    """Return the short names of the ROIs that objects become."""
    return [shape.described.name.removeprefix("qupath.lib.roi.").partition("$")[0] for shape in shapes_of(objects)]


@pytest.mark.parametrize(
    ("geometry", "kind"),
    [
        (TRIANGLE, "PolygonROI"),
        (box(0, 0.1, 7, 8.7), "RectangleROI"),
        (Polygon([(0, 0), (4, 4), (0, 8), (-4, 4)]), "PolygonROI"),
        (Polygon([(0, 0), (4, 0), (8, 0), (8, 4)]), "PolygonROI"),
        (WITH_HOLE, "GeometryROI"),
        (MultiPolygon([box(0, 0, 1, 1), box(3, 3, 4, 4)]), "GeometryROI"),
        (MultiPolygon([TRIANGLE]), "PolygonROI"),
        (LineString([(0, 0), (1, 1)]), "LineROI"),
        (LineString([(0, 0), (1, 1), (2, 0)]), "PolylineROI"),
        (Point(1, 2), "PointsROI"),
    ],
)
def test_each_geometry_has_its_kind_of_roi(geometry, kind):
    assert kinds(an_object(geometry)) == [kind]


def test_a_nucleus_follows_its_cell():
    assert kinds(an_object(TRIANGLE, nucleus=box(1, 1, 2, 2)), an_object(WITH_HOLE)) == [
        "PolygonROI",
        "RectangleROI",
        "GeometryROI",
    ]


def test_only_the_outline_of_an_ellipse_is_one():
    assert kinds(an_object(TRIANGLE, nucleus=TRIANGLE.buffer(-1), is_ellipse=True)) == ["EllipseROI", "PolygonROI"]


def test_many_shapes_stay_in_their_order(monkeypatch):
    monkeypatch.setattr(shapes, "_AT_ONCE", 3)
    objects = [an_object(box(number, 0, number + 1, 1) if number % 3 else TRIANGLE) for number in range(10)]

    found = list(shapes_of(objects))

    assert [shape.corners[:1] for shape in found] == [(float(n),) if n % 3 else () for n in range(10)]


@given(st.lists(st.integers(3, 8), min_size=1, max_size=20))
def test_polygons_made_together_are_those_made_one_by_one(counts):
    outlines = []
    for index, count in enumerate(counts):
        angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
        outlines.append(Polygon(np.c_[100 * index + 9 * np.cos(angles), 9 * np.sin(angles)]))

    together = list(shapes_of(map(an_object, outlines)))

    assert together == [shape for outline in outlines for shape in shapes_of([an_object(outline)])]


def test_a_shape_is_written_with_its_plane():
    out = io.BytesIO()
    (shape,) = shapes_of([an_object(box(1, 2, 4, 8), plane=Plane(c=1, z=2, t=3))])

    with JavaWriter(out) as java:
        write_shape(java, shape)

    assert out.getvalue().endswith(struct.pack(">iiddddi", 1, 3, 1, 4, 2, 8, 2) + b"p")


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        (Polygon(), "is empty"),
        (MultiPolygon(), "is empty"),
        (GeometryCollection([TRIANGLE, Point(1, 1)]), "is a GeometryCollection"),
    ],
)
def test_what_is_no_shape_of_qupath_is_refused(geometry, said):
    with pytest.raises(InvalidValueError, match=said):
        kinds(an_object(TRIANGLE), an_object(geometry))
