from collections import Counter

import numpy as np
import orjson
import pytest
import shapely
from hypothesis import given
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
from shapely.geometry import shape

from qpbridge.qupath.geojson.outlines import FaultyGeometry, from_members, mend, on_grid, to_members

BOWTIE = Polygon([(0, 0), (100, 100), (100, 0), (0, 100)])
POSITIONS = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))


def array_of(*geometries):
    array = np.empty(len(geometries), dtype=object)
    array[:] = geometries
    return array


def is_on_grid(geometry):
    coordinates = shapely.get_coordinates(geometry)
    return np.array_equal(coordinates, np.round(coordinates, 2))


@given(st.lists(POSITIONS, min_size=3, max_size=12))
def test_any_ring_becomes_a_sound_polygon_or_nothing(positions):
    (outline,), _ = on_grid([Polygon(positions)])

    if outline is not None:
        assert outline.geom_type in ("Polygon", "MultiPolygon")
        assert outline.is_valid
        assert outline.area > 0
        assert is_on_grid(outline)


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0.1, 500), st.integers(3, 40))
def test_a_valid_outline_moves_by_less_than_the_grid(x, y, radius, corners):
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    polygon = Polygon(np.c_[x + radius * np.cos(angles), y + radius * np.sin(angles)])

    (outline,), _ = on_grid([polygon])

    assert shapely.hausdorff_distance(outline, polygon) < 0.01


def test_a_bowtie_becomes_its_two_triangles():
    mended = mend(BOWTIE)

    assert mended.geom_type == "MultiPolygon"
    assert mended.area == 5000
    assert mended.is_valid


def test_overlapping_parts_become_one():
    assert mend(MultiPolygon([box(0, 0, 50, 50), box(25, 25, 75, 75)])).area == 50 * 50 * 2 - 25 * 25


def test_of_a_collection_only_the_polygons_stay():
    collection = GeometryCollection([Point(9, 9), GeometryCollection([box(0, 0, 1, 1), box(5, 5, 6, 6)])])

    mended = mend(collection)

    assert mended.equals(MultiPolygon([box(0, 0, 1, 1), box(5, 5, 6, 6)]))


def test_what_is_smaller_than_the_grid_vanishes():
    assert mend(box(0, 0, 0.004, 0.004)) is None
    assert mend(Polygon()) is None
    assert mend(None) is None


def test_a_hole_smaller_than_the_grid_is_closed_and_counted():
    polygon = Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], [[(2, 2), (2.001, 2), (2.001, 2.001)]])

    outlines, is_mended = on_grid([polygon, box(0, 0, 1, 1)])

    assert outlines[0].equals(box(0, 0, 9, 9))
    assert is_mended.tolist() == [True, False]


@pytest.mark.parametrize(
    ("given_geometry", "expected"),
    [
        (MultiPolygon([box(0, 0, 1, 1)]), "Polygon"),
        (MultiPoint([(1, 2)]), "Point"),
        (MultiLineString([[(0, 0), (1, 1)]]), "LineString"),
        (LinearRing([(0, 0), (1, 0), (1, 1)]), "LineString"),
        (MultiPolygon([box(0, 0, 1, 1), box(2, 2, 3, 3)]), "MultiPolygon"),
    ],
)
def test_a_lone_part_is_no_multiple(given_geometry, expected):
    (outline,), _ = on_grid([given_geometry])

    assert outline.geom_type == expected


@pytest.mark.parametrize(
    "geometry",
    [
        Point(1, 2.25),
        MultiPoint([(1, 2), (3, 4)]),
        LineString([(0, 0), (1, 1), (2, 0)]),
        MultiLineString([[(0, 0), (1, 1)], [(5, 5), (6, 7)]]),
        Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], [[(1, 1), (2, 1), (2, 2)], [(5, 5), (6, 5), (6, 6)]]),
        MultiPolygon([box(0, 0, 1, 1), box(2, 2, 9, 9) - box(3, 3, 4, 4)]),
    ],
)
def test_members_hold_the_geometry(geometry):
    before, members, after = to_members(array_of(box(0, 0, 1, 1), geometry, box(2, 2, 3, 3)))

    assert shape(orjson.loads(orjson.dumps(members, option=orjson.OPT_SERIALIZE_NUMPY))).equals_exact(geometry)
    assert members["type"] == geometry.geom_type
    assert before["coordinates"][0].tolist() == shapely.get_coordinates(box(0, 0, 1, 1)).tolist()
    assert after["coordinates"][0].tolist() == shapely.get_coordinates(box(2, 2, 3, 3)).tolist()


@pytest.mark.parametrize(
    ("text", "expected", "repair"),
    [
        (b'{"type":"Polygon","coordinates":[[[0,0],[9,0],[9,9],[0,9]]]}', box(0, 0, 9, 9), "ring closed"),
        (b'{"type":"Polygon","coordinates":[[[0,0],[9,9],[9,0],[0,9],[0,0]]]}', None, "outline mended"),
        (b'{"type":"Polygon","coordinates":[]}', None, "empty object left out"),
        (b"null", None, "empty object left out"),
        (b'{"type":"Point","coordinates":[null,1]}', None, "object with a coordinate that is no number left out"),
        (b'{"type":"Point","coordinates":["NaN",1]}', None, "object with a coordinate that is no number left out"),
    ],
)
def test_repairs_are_counted(text, expected, repair):
    repairs = Counter()

    (outline,) = from_members([text], repairs)

    assert +repairs == {repair: 1}
    if expected is not None:
        assert outline.equals(expected)
    assert (outline is None) == ("left out" in repair)


def test_an_unclosed_hole_is_closed_and_one_without_area_left_out():
    shell, hole, speck = "[[0,0],[9,0],[9,9],[0,9],[0,0]]", "[[1,1],[2,1],[2,2]]", "[[5,5],[6,6]]"

    (outline,) = from_members([f'{{"type":"Polygon","coordinates":[{shell},{hole},{speck}]}}'.encode()], Counter())

    assert outline.area == 81 - 0.5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"type":"Polygon","coordinates":"none"}', "could not convert"),
        (b'{"type":"Circle","coordinates":[1,2]}', "'Circle' is no kind of geometry"),
        (b'{"type":"Polygon"}', "Polygon without coordinates"),
        (b'{"type":[1],"coordinates":[1,2]}', "[1] is no kind of geometry"),
        (b'{"type":"GeometryCollection"}', "GeometryCollection without geometries"),
        (b'{"type":"GeometryCollection","geometries":[{"type":"Polygon","coordinates":[[[[]]]]}]}', "float()"),
        (b"[1, 2]", "'list' is no kind of geometry"),
    ],
)
def test_what_is_no_geometry_is_refused_with_its_position_and_reason(text, reason):
    with pytest.raises(FaultyGeometry) as refusal:
        from_members([b'{"type":"Point","coordinates":[1,2]}', text], Counter())

    index, said = refusal.value.args
    assert index == 1
    assert reason in said
