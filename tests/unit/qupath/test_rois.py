from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.core.objects import Plane
from qpbridge.errors import DamagedDataError
from qpbridge.qupath.java.objects import JavaClass, JavaObject
from qpbridge.qupath.rois import ELLIPSE_VERTICES, count_points, ellipse, read_rois

coordinate = st.floats(-1e5, 1e5, width=32)


def proxy(kind: str, **fields: Any) -> JavaObject:
    item = JavaObject(JavaClass(f"qupath.lib.roi.{kind}"), 77)
    item.fields = {"c": -1, "z": 0, "t": 0} | fields
    return item


def polygon(points: list[tuple[float, float]]) -> JavaObject:
    x, y = np.array(points, dtype=">f4").reshape(-1, 2).T
    return proxy("PolygonROI$SerializationProxy", x=x, y=y)


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
    item = proxy("RectangleROI$SerializationProxy", x=0.0, y=0.0, x2=1.0, y2=2.0)
    item.fields |= {"c": 1, "z": 2, "t": 3}

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
    with pytest.raises(DamagedDataError, match="at byte 77"):
        read_rois([polygon([(0, 0), (1, 0), (1, 1), (0, 1)]), broken])


def test_points_are_counted_before_they_are_made():
    assert count_points(polygon([(0, 0), (1, 0), (1, 1)])) == 3
    assert count_points(proxy("RectangleROI$SerializationProxy", x=1.0)) == 0
