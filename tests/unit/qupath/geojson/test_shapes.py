import math
from typing import Any

import pytest

from qpbridge.core.objects import Plane
from qpbridge.qupath.geojson.shapes import QupathVersion, RefusedError, take_shape

OLD, NEW = QupathVersion.V0_5_1, QupathVersion.V0_7_0
RING = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]


def test_versions_round_since_0_6() -> None:
    assert [version.rounds for version in QupathVersion] == [False, True, True]


def test_coordinates_are_rounded_as_the_version_does() -> None:
    ring = [[0.123456, 0], [9, 0], [9, 9], [0.123456, 0]]
    tree = {"type": "Polygon", "coordinates": [ring]}

    assert take_shape(tree, OLD).geometry.bounds[0] == 0.123456
    assert take_shape(tree, NEW).geometry.bounds[0] == 0.12


def test_a_core_and_what_says_so_are_ellipses() -> None:
    tree = {"type": "Polygon", "coordinates": [RING]}

    assert take_shape(tree, NEW).roi == "RectangleROI"
    assert take_shape(tree, NEW, is_core=True).roi == "EllipseROI"
    assert take_shape(tree | {"isEllipse": True}, NEW).roi == "EllipseROI"


def test_a_plane_may_be_told_in_part() -> None:
    tree = {"type": "Point", "coordinates": [1, 2], "plane": {"z": 3}}

    assert take_shape(tree, NEW).plane == Plane(z=3)


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        (None, "no JSON object"),
        ({"type": "Circle"}, "'Circle' is no kind of geometry"),
        ({"type": ["Point"]}, "is no kind of geometry"),
        ({"type": "Polygon"}, "Polygon without coordinates"),
        ({"type": "Polygon", "coordinates": [RING[:-1]]}, "do not form a closed line"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [0, 0]]]}, "do not form a closed line"),
        ({"type": "LineString", "coordinates": [[0, 0]]}, "fewer than two positions"),
        ({"type": "MultiLineString", "coordinates": []}, "fewer than two positions"),
        ({"type": "Point", "coordinates": [1, None]}, "a coordinate is None"),
        ({"type": "Point", "coordinates": [1, True]}, "a coordinate is True"),
        ({"type": "Point", "coordinates": [1]}, "stands where coordinates should"),
        ({"type": "Point", "coordinates": [1, math.inf]}, "a coordinate is inf"),
        ({"type": "Point", "coordinates": [1, 2], "plane": 3}, "the plane is 3"),
        ({"type": "Point", "coordinates": [1, 2], "plane": {"z": 1.5}}, "something else than whole numbers"),
        ({"type": "GeometryCollection", "geometries": []}, "has no coordinates"),
        (
            {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]}]},
            "GeometryCollection",
        ),
    ],
)
@pytest.mark.parametrize("version", QupathVersion)
def test_what_was_refused_or_not_measured_is_refused(tree: Any, reason: str, version: QupathVersion) -> None:
    with pytest.raises(RefusedError, match=reason):
        take_shape(tree, version)
