from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from qpbridge.core.objects import ObjectKind, PathClass, Plane
from qpbridge.qupath.paquo_backend.objects import data_of, geometries_of
from qpbridge.qupath.paquo_backend.records import DataContent, Hierarchy, Shapes

HOLED = shapely.Polygon([(0, 0), (9, 0), (9, 9)], [[(5, 2), (7, 2), (7, 4)]])


def shapes(*parts: tuple[str, list[tuple[float, float]]], wkb: dict[int, bytes] | None = None) -> Shapes:
    points = [point for _, some in parts for point in some]
    return Shapes(
        kinds=[kind for kind, _ in parts],
        planes=np.array([(-1, i, 0) for i in range(len(parts))], dtype=np.int64).reshape(-1, 3),
        counts=np.array([len(some) for _, some in parts], dtype=np.int64),
        points=np.array(points, dtype=np.float64).reshape(-1, 2),
        wkb=wkb or {},
    )


def hierarchy() -> Hierarchy:
    """An annotation that holds a cell with a nucleus."""
    flags = np.zeros((2, 6), dtype=np.bool_)
    flags[0, 4] = True
    flags[1, [0, 3]] = True
    return Hierarchy(
        ids=["a", "b"],
        parents=[-1, 0],
        flags=flags,
        names=["outer", None],
        colors=[-16776961, None],
        probabilities=np.array([np.nan, 0.25]),
        classes=[-1, 0],
        class_table=[("Tumor: Positive", -3670016)],
        measured=np.array([0, 2]),
        measurement_names=["x", "y"],
        measurement_values=np.array([1.0, np.inf]),
        metadata={0: {"k": "v"}},
        with_shape=np.array([1]),
        shapes=shapes(("RectangleROI", [(1, 1), (3, 1), (3, 4), (1, 4)])),
        with_nucleus=np.array([1]),
        nuclei=shapes(("EllipseROI", [(1, 1), (3, 3)])),
    )


def test_shapes_of_every_kind_become_geometries_in_their_order():
    found = geometries_of(
        shapes(
            ("PolygonROI", [(0, 0), (4, 0), (4, 4), (0, 4)]),
            ("GeometryROI", []),
            ("PolygonROI", [(0, 0), (2, 0), (2, 2)]),
            ("EllipseROI", [(0, 0), (10, 20)]),
            ("LineROI", [(0, 0), (1, 1)]),
            ("PolylineROI", [(5, 5)]),
            ("PointsROI", [(7, 8)]),
            ("PointsROI", [(7, 8), (9, 9)]),
            ("PolygonROI", []),
            ("PolygonROI", [(0, 0), (2, 0), (2, 2), (0, 0)]),
            wkb={1: HOLED.wkb},
        )
    )

    assert found[0] == shapely.box(0, 0, 4, 4).normalize() or found[0].area == 16
    assert found[1] == HOLED
    assert [geometry.area for geometry in (found[2], found[9])] == [2, 2]
    assert found[3].bounds == (0, 0, 10, 20)
    assert [geometry.geom_type for geometry in found[4:8]] == ["LineString", "LineString", "Point", "MultiPoint"]
    assert found[8].is_empty
    assert shapely.get_num_coordinates(found[9]) == 4


def test_columns_become_objects(tmp_path):
    path = tmp_path / "data.qpdata"
    path.write_bytes(b'{"dataVersion":3,"qupathVersion":"0.6.0"')

    data = data_of(DataContent(hierarchy(), "FLUORESCENCE", {"p": "1"}), path)
    outer, cell = data.objects

    assert (data.image_type, data.properties) == ("FLUORESCENCE", {"p": "1"})
    assert (outer.kind, outer.name, outer.is_locked, outer.color_rgb) == (
        ObjectKind.ANNOTATION,
        "outer",
        True,
        (0, 0, 255),
    )
    assert outer.geometry.is_empty
    assert (outer.path_class, outer.class_probability, outer.parent_id) == (None, None, None)
    assert outer.metadata == {"k": "v"}
    assert (cell.kind, cell.id, cell.parent_id) == (ObjectKind.CELL, "b", "a")
    assert cell.path_class == PathClass("Tumor: Positive", (200, 0, 0))
    assert cell.measurements == {"x": 1.0, "y": np.inf}
    assert cell.class_probability == 0.25
    assert cell.geometry.area == 6
    assert cell.plane == Plane(c=-1, z=0, t=0)
    assert cell.nucleus is not None
    assert cell.nucleus.bounds == (1, 1, 3, 3)


@pytest.mark.parametrize(
    "header", [b'{"qupathVersion":"0.3.2"', b"Image path: a.tif", b'{"qupathVersion":"v0.2.0-m12"']
)
def test_objects_of_old_files_get_ids_by_their_place(tmp_path: Path, header: bytes):
    path = tmp_path / "data.qpdata"
    path.write_bytes(header)
    content = DataContent(hierarchy(), None, {})

    first, second = (data_of(content, path).objects for _ in range(2))

    assert [item.id for item in first] == [item.id for item in second] != ["a", "b"]
    assert first[1].parent_id == first[0].id
