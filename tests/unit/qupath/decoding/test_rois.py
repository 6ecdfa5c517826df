from __future__ import annotations

import io
import struct
from typing import Any, NamedTuple

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import Plane
from qpbridge.errors import DamagedDataError
from qpbridge.qupath.decoding.rois import ELLIPSE_VERTICES, ellipse, is_plain_wkb
from qpbridge.qupath.decoding.rois import read_rois as read_columns
from qpbridge.qupath.java.columns import Columns
from qpbridge.qupath.java.stream import JavaStream
from qpbridge.qupath.java.writer import ClassDescriptor, JavaWriter

coordinate = st.floats(-1e5, 1e5, width=32)


class Proxy(NamedTuple):
    """A serialized ROI to be written."""

    kind: str
    fields: dict[str, Any]


class Shape(NamedTuple):
    geometry: BaseGeometry
    plane: Plane
    is_ellipse: bool


def proxy(kind: str, **fields: Any) -> Proxy:
    return Proxy(kind, {"c": -1, "z": 0, "t": 0} | fields)


def read_rois(proxies: list[Proxy]) -> list[Shape]:
    """Write ROIs to a stream and read them from it."""
    out = io.BytesIO()
    with JavaWriter(out) as java:
        for kind, fields in proxies:
            write(java, kind, fields)
    stream = JavaStream(out.getvalue())
    nodes = np.array(list(stream.contents()), dtype=np.int64)
    rois = read_columns(Columns(stream), nodes)
    return [Shape(*row) for row in zip(rois.geometries, rois.planes, rois.is_ellipse, strict=True)]


def write(java: JavaWriter, kind: str, fields: dict[str, Any]) -> None:
    numbers = {name: value for name, value in fields.items() if isinstance(value, int | float)}
    others = {name: value for name, value in fields.items() if name not in numbers}
    codes = {name: "D" if isinstance(value, float) else "I" for name, value in numbers.items()}
    described = (*codes.items(), *((name, "Lany;") for name in others))
    # A class of a stream is described once; here each proxy has one of its own, since their fields differ
    name = f"qupath.lib.roi.{kind}"
    java._handles.pop(("described", name), None)
    java.begin(ClassDescriptor(name, described))
    for field, value in numbers.items():
        java.fields(codes[field].lower(), value)
    for value in others.values():
        write_value(java, value)


def write_value(java: JavaWriter, value: Any) -> None:
    if value is None:
        java.null()
    elif isinstance(value, str):
        java.string(value)
    elif isinstance(value, list):
        java.array(ClassDescriptor("[Ljava.lang.Object;"), len(value))
        for item in value:
            write_value(java, item)
    else:
        code = {"u1": "[B", "f4": "[F", "f8": "[D"}[value.dtype.str[1:]]
        java.array(ClassDescriptor(code), len(value), value.tobytes())


def polygon(points: list[tuple[float, float]]) -> Proxy:
    x, y = np.array(points, dtype=">f4").reshape(-1, 2).T
    return proxy("PolygonROI$SerializationProxy", x=x, y=y)


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(coordinate, coordinate), max_size=12), max_size=6))
def test_polygons_keep_every_vertex_and_are_closed(rings):
    rois = read_rois([polygon(points) for points in rings])

    for points, roi in zip(rings, rois, strict=True):
        vertices = list(roi.geometry.exterior.coords)
        assert vertices[: len(points)] == points
        assert vertices[:1] == vertices[-1:]


def test_rois_come_in_the_order_asked_for():
    line = proxy("LineROI$SerializationProxy", x=1.0, y=2.0, x2=3.0, y2=4.0)
    square = polygon([(0, 0), (4, 0), (4, 4), (0, 4)])
    point = proxy("PointsROI$SerializationProxy", x=np.array([5], ">f4"), y=np.array([6], ">f4"))

    rois = read_rois([line, square, point, square])

    assert [roi.geometry.wkt for roi in rois] == [
        "LINESTRING (1 2, 3 4)",
        "POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))",
        "POINT (5 6)",
        "POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))",
    ]
    assert read_rois([]) == []


def test_float32_is_widened_exactly():
    (roi,) = read_rois([polygon([(0.12, 0), (1, 0), (1, 1)])])

    assert roi.geometry.exterior.coords[0][0] == 0.11999999731779099


@given(x=coordinate, y=coordinate, width=st.floats(1, 1e4), height=st.floats(1, 1e4))
def test_an_ellipse_fills_its_bounds_on_the_grid(x, y, width, height):
    shape = ellipse(x, y, x + width, y + height)

    assert len(shape.exterior.coords) == ELLIPSE_VERTICES + 1
    assert shape.bounds == pytest.approx((x, y, x + width, y + height), abs=0.0051)
    points = shapely.get_coordinates(shape) * 100
    assert points == pytest.approx(points.round(), abs=1e-6)


def test_polylines_and_points_of_every_number():
    def made(kind: str, *points: tuple[float, float]) -> str:
        x, y = np.array(points, dtype=">f4").reshape(-1, 2).T
        return read_rois([proxy(f"{kind}$SerializationProxy", x=x, y=y)])[0].geometry.wkt

    assert made("PolylineROI", (0, 0), (1, 1), (2, 0)) == "LINESTRING (0 0, 1 1, 2 0)"
    assert made("PolylineROI", (3, 4)) == "LINESTRING (3 4, 3 4)"
    assert made("PolylineROI") == "LINESTRING EMPTY"
    assert made("PointsROI", (0, 0), (1, 1)) == "MULTIPOINT ((0 0), (1 1))"
    assert made("PointsROI") == "MULTIPOINT EMPTY"


@pytest.mark.parametrize(
    "wkt",
    [
        "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (2 2, 3 2, 3 3, 2 2))",
        "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))",
        "MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))",
    ],
)
def test_shapes_of_several_parts_are_read_from_their_wkb(wkt):
    wkb = np.frombuffer(shapely.to_wkb(shapely.from_wkt(wkt), byte_order=0), dtype=np.uint8)

    (roi,) = read_rois([proxy("GeometryROI$WKBSerializationProxy", wkb=wkb)])

    assert roi.geometry.wkt == wkt


def test_an_area_of_old_files_has_holes_islands_in_them_and_parts():
    def square(x: float, y: float, size: float) -> tuple[Any, Any]:
        xs = np.array([x, x + size, x + size, x], ">f4")
        return xs, np.array([y, y, y + size, y + size], ">f4")

    rings = [square(0, 0, 10), square(2, 2, 6), square(4, 4, 2), square(20, 0, 5)]
    area = proxy("AreaROI$SerializationProxy", x=[x for x, _ in rings], y=[y for _, y in rings])

    (roi,) = read_rois([area])

    assert roi.geometry.geom_type == "MultiPolygon"
    assert roi.geometry.area == 100 - 36 + 4 + 25
    assert roi.geometry.is_valid


def test_each_roi_has_its_plane():
    item = proxy("RectangleROI$SerializationProxy", x=0.0, y=0.0, x2=1.0, y2=2.0, c=1, z=2, t=3)

    (roi,) = read_rois([item])

    assert roi.plane == Plane(c=1, z=2, t=3)
    assert not roi.is_ellipse


@pytest.mark.parametrize(
    "broken",
    [
        polygon([(0, 0), (1, 0), (1, float("nan"))]),
        polygon([(0, 0), (1, 0), (1, float("inf"))]),
        proxy("PolygonROI$SerializationProxy", x=np.zeros(3, ">f4"), y=np.zeros(2, ">f4")),
        proxy("PolygonROI$SerializationProxy", x=None, y=None),
        proxy("PolygonROI$SerializationProxy", x=np.zeros(3, ">f4"), y=np.zeros(3, ">f4"), z=None),
        proxy("RectangleROI$SerializationProxy", x=0.0, y=0.0, x2=float("nan"), y2=0.0),
        proxy("EllipseROI$SerializationProxy", x=0.0, y=0.0, x2="wide", y2=0.0),
        proxy("EllipseROI$SerializationProxy", x=0.0, y=0.0, x2=1e308, y2=0.0),
        polygon([(0, 0), (1, 0), (1, 3e9), (0, 1)]),
        proxy("PolygonROI$SerializationProxy", x=np.full(4, 0x7FA00000, ">u4").view(">f4"), y=np.zeros(4, ">f4")),
        proxy("PointsROI$SerializationProxy", x=np.array([np.inf], ">f4"), y=np.zeros(1, ">f4")),
        proxy("AreaROI$SerializationProxy", x=[np.zeros(3, ">f4")], y=[]),
        proxy("AreaROI$SerializationProxy", x=["a"], y=["b"]),
        proxy("GeometryROI$WKBSerializationProxy", wkb=np.zeros(4, np.uint8)),
        proxy("GeometryROI$WKBSerializationProxy", wkb=None),
        proxy("GeometryROI$SerializationProxy"),
    ],
)
def test_what_is_no_shape_is_refused_with_its_place(broken):
    with pytest.raises(DamagedDataError, match=r"at byte \d+"):
        read_rois([polygon([(0, 0), (1, 0), (1, 1), (0, 1)]), broken])


@pytest.mark.parametrize("kind", [4, 5, 6, 7])
def test_wkb_nested_without_end_is_refused_before_geos_follows_it(kind):
    point = struct.pack(">bIdd", 0, 1, 1.0, 2.0)

    def nested(levels: int) -> bytes:
        return struct.pack(">bII", 0, kind, 1) * levels + point

    assert is_plain_wkb(nested(3))
    assert not is_plain_wkb(nested(200_000))
    with pytest.raises(DamagedDataError, match="nested without end"):
        read_rois([proxy("GeometryROI$WKBSerializationProxy", wkb=np.frombuffer(nested(200_000), np.uint8))])


@pytest.mark.parametrize(
    "wkt",
    [
        "POINT (1 2)",
        "POLYGON ((0 0, 9 0, 9 9, 0 0), (2 2, 3 2, 3 3, 2 2))",
        "GEOMETRYCOLLECTION (MULTIPOINT (1 1, 2 2))",
    ],
)
@pytest.mark.parametrize("byte_order", [0, 1])
def test_wkb_is_measured_to_its_end(wkt, byte_order):
    whole = shapely.to_wkb(shapely.from_wkt(wkt), byte_order=byte_order)

    assert is_plain_wkb(whole)
    assert not any(is_plain_wkb(whole[:length]) for length in range(len(whole)))
    assert not is_plain_wkb(shapely.to_wkb(shapely.force_3d(shapely.from_wkt(wkt)), byte_order=byte_order))


def test_an_array_shared_by_many_rings_is_not_multiplied():
    out = io.BytesIO()
    with JavaWriter(out) as java:
        java.begin(
            ClassDescriptor(
                "qupath.lib.roi.AreaROI$SerializationProxy",
                (("c", "I"), ("t", "I"), ("z", "I"), ("x", "[[F"), ("y", "[[F")),
            )
        )
        java.fields("iii", -1, 0, 0)
        for _ in "xy":
            java.array(ClassDescriptor("[[F"), 5000)
            handle = java._next_handle()
            java.array(ClassDescriptor("[F"), 5000, bytes(20000))
            java._buffer += handle * 4999
    stream = JavaStream(out.getvalue())

    with pytest.raises(DamagedDataError, match="by sharing"):
        read_columns(Columns(stream), np.array(list(stream.contents())))
