import gzip
import json
import re
import uuid
from collections import Counter

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon, box

from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.errors import DamagedGeoJsonError
from qpbridge.qupath.geojson import read_objects, write_objects

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]}
BOWTIE = {"type": "Polygon", "coordinates": [[[0, 0], [9, 9], [9, 0], [0, 9], [0, 0]]]}
VERSIONS = ("qp-0.5.1", "qp-0.6.0", "qp-0.7.0")
JAVA_KINDS = {
    "PathAnnotationObject": ObjectKind.ANNOTATION,
    "PathDetectionObject": ObjectKind.DETECTION,
    "PathCellObject": ObjectKind.CELL,
    "PathTileObject": ObjectKind.TILE,
    "TMACoreObject": ObjectKind.TMA_CORE,
}


def read_text(tmp_path, text):
    path = tmp_path / "given.geojson"
    path.write_text(text, encoding="utf-8")
    return read_objects(path)


def read_feature(tmp_path, geometry=SQUARE, properties=None, **members):
    feature = {"type": "Feature", "geometry": geometry, "properties": properties or {}, **members}
    return read_text(tmp_path, json.dumps(feature))


def cases(folder):
    """Return (name, text, QuPath's account of the object) of all cases with one object that QuPath 0.7.0 took."""
    found = []
    for file, result in (("cases.json", "result-0.7.0.txt"), ("cases2.json", "i2-0.7.0.txt")):
        accounts = dict(re.findall(r"^CASE\|(.*?)\|1\|(.*)$", (folder / result).read_text(encoding="utf-8"), re.M))
        texts = json.loads((folder / file).read_text(encoding="utf-8"))
        found += [(name, text, accounts[name]) for name, text in texts if name in accounts]
    return found


def channels(argb):
    return None if argb == "null" else tuple(bytes.fromhex(argb)[1:])


def test_what_qupath_takes_is_read_as_qupath_reads_it(tmp_path, data_dir):
    compared = 0
    for name, text, account in cases(data_dir / "made" / "geojson-import"):
        if "EMPTY" in account or "PathRootObject" in account:
            continue
        item = read_text(tmp_path, text).objects[0]
        java, area, class_name, color, label, own_color, lock = re.search(
            r"\[\[(\w+),.*? A=([\d.]+).*?cls=(.*?)/(\w+), name=(.*?), col=(\w+), lock=(\w+)", account
        ).groups()

        assert item.kind is JAVA_KINDS[java], name
        if "EllipseROI" not in account:
            assert item.geometry.area == pytest.approx(float(area), abs=0.5), name
        assert (item.path_class.name if item.path_class else "null") == class_name, name
        if '"color": [' in text or "colorRGB" in text:
            assert (item.path_class.color_rgb if item.path_class else None) == channels(color), name
        assert (item.name or "null") == label, name
        assert item.color_rgb == channels(own_color), name
        assert item.is_locked == (lock == "true"), name
        compared += 1
    assert compared > 70


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("fc.geojson", 2),
        ("fc.geojson.gz", 2),
        ("fc_typelast.geojson", 2),
        ("fc_extra.geojson", 2),
        ("fc_empty.geojson", 0),
        ("list.geojson", 2),
        ("single.geojson", 1),
        ("single.json", 1),
        ("fc.zip", 2),
        ("ndjson.geojson", 2),
    ],
)
def test_every_container_is_read(data_dir, file, count):
    found = read_objects(data_dir / "made" / "geojson-import" / file)

    assert len(found.objects) == count


@pytest.mark.parametrize(
    ("file", "kinds", "mended"),
    [
        ("dlup_qupath05.geojson", {"annotation": 3}, {}),
        ("wsih_TCGA-EJ-5519_qupath02.json", {"annotation": 3}, {"id given": 3}),
    ],
)
def test_public_files_are_read(fixtures_dir, file, kinds, mended):
    found = read_objects(fixtures_dir / "public" / "geojson" / file)

    assert Counter(item.kind.value for item in found.objects) == kinds
    assert shapely.is_valid([item.geometry for item in found.objects]).all()
    assert found.mended == mended


def test_a_class_without_a_color_gets_one_and_is_counted_once(tmp_path):
    feature = {"type": "Feature", "geometry": SQUARE, "properties": {"classification": {"name": "Tumor"}}}

    found = read_text(tmp_path, json.dumps([feature, feature]))

    assert found.mended["color given to a class"] == 1
    assert len({item.path_class for item in found.objects}) == 1


def test_a_bare_geometry_is_an_annotation(tmp_path):
    (item,) = read_text(tmp_path, json.dumps(SQUARE)).objects

    assert item.kind is ObjectKind.ANNOTATION
    assert item.geometry.equals(box(0, 0, 9, 9))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"properties": {"type": "detection"}}, ObjectKind.DETECTION),
        ({"properties": {"type": "polygon"}}, ObjectKind.ANNOTATION),
        ({"properties": {"objectType": ["cell"]}}, ObjectKind.ANNOTATION),
        ({"id": "PathTileObject"}, ObjectKind.TILE),
    ],
)
def test_the_kind_is_told_in_several_ways(tmp_path, members, expected):
    (item,) = read_feature(tmp_path, **members).objects

    assert item.kind is expected


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    assert len(read_text(tmp_path, "\ufeff" + json.dumps(SQUARE)).objects) == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("slide", ["slide_a", "slide_b", "plain", "stack_z3c2"])
def test_all_forms_of_an_export_hold_the_same_objects(tmp_path, data_dir, version, slide):
    exports = data_dir / "made" / version / "exports"

    def rewritten(file, kinds):
        found = read_objects(exports / file)
        write_objects(tmp_path / "again.geojson", [item for item in found.objects if item.kind in kinds])
        return found.mended, (tmp_path / "again.geojson").read_bytes()

    whole = f"{slide}.fc.geojson"

    assert rewritten(whole, ObjectKind) == rewritten(f"{slide}.list.geojson", ObjectKind)
    annotations = rewritten(f"{slide}.annotations.fc.geojson.gz", ObjectKind)
    assert rewritten(whole, [ObjectKind.ANNOTATION]) == annotations
    assert annotations[0] == {}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("slide", ["slide_a", "slide_b", "plain", "stack_z3c2"])
def test_an_export_of_qupath_is_written_as_it_was(tmp_path, data_dir, version, slide):
    source = data_dir / "made" / version / "exports" / f"{slide}.fc.geojson"

    result = write_objects(tmp_path / "again.geojson", read_objects(source).objects)

    theirs = json.loads(source.read_text(encoding="utf-8"))["features"]
    ours = json.loads((tmp_path / "again.geojson").read_text(encoding="utf-8"))["features"]
    assert (result.mended, result.dropped) == (0, 0)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == other


def test_nested_objects_know_their_parent(tmp_path):
    child = {"type": "Feature", "geometry": SQUARE, "properties": {"name": "child"}}
    parent = {"type": "Feature", "geometry": SQUARE, "properties": {"childObjects": [child]}}

    top, middle, bottom = read_feature(tmp_path, properties={"name": "top", "childObjects": [parent]}).objects

    assert (top.parent_id, middle.parent_id, bottom.parent_id) == (None, top.id, middle.id)
    assert bottom.name == "child"


def test_children_of_what_is_left_out_move_up(tmp_path):
    child = {"type": "Feature", "geometry": SQUARE, "properties": {"name": "child"}}
    gone = {"type": "Feature", "geometry": None, "properties": {"childObjects": [child]}}

    top, bottom = read_feature(tmp_path, properties={"childObjects": [gone]}).objects

    assert bottom.parent_id == top.id


def test_an_id_is_made_of_the_content_alone(tmp_path):
    first = read_feature(tmp_path, properties={"name": "a"})
    pretty = read_text(tmp_path, json.dumps({"geometry": SQUARE, "properties": {"name": "a"}, "type": "Feature"}))
    other = read_feature(tmp_path, properties={"name": "b"})

    assert first.objects[0].id == pretty.objects[0].id != other.objects[0].id
    assert first.mended == {"id given": 1}
    assert uuid.UUID(first.objects[0].id).version == 5


def test_equal_objects_without_id_get_different_ids(tmp_path):
    feature = {"type": "Feature", "geometry": SQUARE}

    found = read_text(tmp_path, json.dumps([feature, feature, feature])).objects

    assert len({item.id for item in found}) == 3


def test_repairs_are_counted_by_kind(tmp_path):
    unclosed = {"type": "Polygon", "coordinates": [SQUARE["coordinates"][0][:4]]}
    geometries = [SQUARE, BOWTIE, BOWTIE, unclosed, None, {"type": "Point", "coordinates": [None, 1]}]
    features = [
        {"type": "Feature", "id": str(uuid.UUID(int=number, version=4)), "geometry": geometry}
        for number, geometry in enumerate(geometries)
    ]

    found = read_text(tmp_path, json.dumps(features))

    assert found.mended == {
        "outline mended": 2,
        "ring closed": 1,
        "empty object left out": 1,
        "object with a coordinate that is no number left out": 1,
    }
    assert len(found.objects) == 4
    assert all(item.geometry.is_valid for item in found.objects)


def test_a_nucleus_that_cannot_be_had_leaves_the_cell(tmp_path):
    found = read_feature(
        tmp_path, properties={"objectType": "cell"}, nucleusGeometry={"type": "Polygon", "coordinates": []}
    )

    assert found.objects[0].nucleus is None
    assert found.mended == {"id given": 1, "nucleus left out": 1}


def test_a_cell_has_its_nucleus(tmp_path):
    nucleus = {"type": "Polygon", "coordinates": [[[2, 2], [4, 2], [4, 4], [2, 4], [2, 2]]]}

    (item,) = read_feature(tmp_path, properties={"objectType": "cell"}, nucleusGeometry=nucleus).objects

    assert item.nucleus.equals(box(2, 2, 4, 4))


@pytest.mark.parametrize(
    ("value", "expected", "dropped"),
    [
        ({"a": 1, "b": "-Infinity"}, {"a": 1.0, "b": -np.inf}, 0),
        ([{"name": "a", "value": 1}, {"name": "b", "value": "x"}], {"a": 1.0}, 1),
        ({"a": None, "b": True, "c": [1]}, {}, 3),
    ],
)
def test_measurements_come_as_mapping_or_list(tmp_path, value, expected, dropped):
    found = read_feature(tmp_path, properties={"measurements": value})

    assert found.objects[0].measurements == expected
    assert found.mended.get("measurement that is no number left out", 0) == dropped


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no GeoJSON"),
        ("{}", "neither a FeatureCollection nor a feature nor a geometry"),
        ('{"type":"FeatureCollection","features":[', "no GeoJSON"),
        (json.dumps([{"type": "Feature", "geometry": SQUARE}, 5]), "feature 1 (counted from 0)"),
        (json.dumps([{"type": "Feature", "geometry": {"type": "Circle"}}]), "'Circle' is no kind of geometry"),
        (json.dumps([{"type": "Feature", "geometry": SQUARE, "properties": []}]), "feature 0 (counted from 0)"),
        (json.dumps([{"type": "Feature", "geometry": SQUARE, "properties": {"metadata": 5}}]), "'int'"),
        (json.dumps([{"type": "Feature", "geometry": SQUARE, "nucleusGeometry": 5}]), "feature 0 (nucleus)"),
        ("[" * 100_000, "no GeoJSON"),
    ],
)
def test_what_cannot_be_read_is_refused_with_place_and_reason(tmp_path, text, said):
    with pytest.raises(DamagedGeoJsonError) as refusal:
        read_text(tmp_path, text)

    assert said in str(refusal.value)
    assert "given.geojson" in str(refusal.value)


def test_a_damaged_or_missing_file_is_refused(tmp_path):
    cut = tmp_path / "cut.geojson.gz"
    cut.write_bytes(gzip.compress(json.dumps(SQUARE).encode())[:-10])

    for path in (cut, tmp_path / "missing.geojson", tmp_path):
        with pytest.raises(DamagedGeoJsonError):
            read_objects(path)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
COLORS = st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
CLASSES = st.builds(PathClass, st.sampled_from(["Tumor", "Tumor: Positive", "Nécrose/坏死"]), COLORS)
HUNDREDTHS = st.integers(-(10**7), 10**7).map(lambda number: number / 100)


@st.composite
def polygons(draw):
    x, y = draw(HUNDREDTHS), draw(HUNDREDTHS)
    radius = draw(st.floats(1, 300))
    angles = np.linspace(0, 2 * np.pi, draw(st.integers(3, 12)), endpoint=False)
    return Polygon(np.round(np.c_[x + radius * np.cos(angles), y + radius * np.sin(angles)], 2))


@st.composite
def path_objects(draw):
    kind = draw(st.sampled_from(list(ObjectKind)))
    return PathObject(
        id=str(draw(st.uuids())),
        kind=kind,
        geometry=draw(polygons()),
        path_class=draw(st.none() | CLASSES),
        name=draw(st.none() | TEXTS),
        color_rgb=draw(st.none() | COLORS),
        measurements=draw(st.dictionaries(TEXTS, st.floats(allow_nan=False), max_size=3)),
        metadata=draw(st.dictionaries(TEXTS, TEXTS, max_size=3)),
        is_locked=draw(st.booleans()),
        is_ellipse=draw(st.booleans()),
        is_missing=kind is ObjectKind.TMA_CORE and draw(st.booleans()),
        nucleus=draw(st.none() | polygons()) if kind is ObjectKind.CELL else None,
        plane=draw(st.builds(Plane, z=st.integers(0, 3), t=st.integers(0, 2))),
    )


@given(objects=st.lists(path_objects(), max_size=4))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_again(tmp_path_factory, objects):
    path = tmp_path_factory.mktemp("round") / "trip.geojson"

    write_objects(path, objects)

    found = read_objects(path)
    assert found.objects == tuple(objects)
    assert found.mended == {}


def test_nan_is_read_again(tmp_path):
    item = PathObject(id=str(uuid.uuid4()), kind=ObjectKind.TILE, geometry=box(0, 0, 1, 1), measurements={"a": np.nan})

    write_objects(tmp_path / "nan.geojson", [item])

    assert np.isnan(read_objects(tmp_path / "nan.geojson").objects[0].measurements["a"])


def test_third_coordinates_are_ignored(tmp_path):
    solid = {"type": "Polygon", "coordinates": [[[0, 0, 5], [9, 0, 5], [9, 9, 5], [0, 0, 5]]]}

    (item,) = read_feature(tmp_path, geometry=solid).objects

    assert not shapely.has_z(item.geometry)
