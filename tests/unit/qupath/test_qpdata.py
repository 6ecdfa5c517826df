from __future__ import annotations

import contextlib
import gzip
import json
import struct
import tracemalloc
import uuid
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.errors import DamagedDataError
from qpbridge.qupath.qpdata import DEFAULT_COLOR_RGB, read_qpdata, rgb_of

VERSIONS = ("0.5.1", "0.6.0", "0.7.0")
IMAGES = {"slide_a": 1, "slide_b": 2, "plain": 4, "stack_z3c2": 5}
MADE = [(version, image) for version in VERSIONS for image in IMAGES]
ROUNDING_PX = 0.0051
"""QuPath writes WKT and GeoJSON on a grid of 0.01 px."""
KINDS = {
    "PathAnnotationObject": ObjectKind.ANNOTATION,
    "PathDetectionObject": ObjectKind.DETECTION,
    "PathCellObject": ObjectKind.CELL,
    "PathTileObject": ObjectKind.TILE,
    "TMACoreObject": ObjectKind.TMA_CORE,
}


def data_of(data_dir: Path, version: str, image: str) -> bytes:
    return (data_dir / "made" / f"qp-{version}" / "project" / "data" / str(IMAGES[image]) / "data.qpdata").read_bytes()


def is_cut_by_java(version: str, item: PathObject) -> bool:
    """Tell whether QuPath's own geometry lost a part, a fault of JDK 25; see the README of the fixtures."""
    return item.name == "brush" and version != "0.5.1"


def assert_same_shape(ours: BaseGeometry, theirs: BaseGeometry) -> None:
    assert ours.geom_type == theirs.geom_type
    if ours.area == 0:
        assert shapely.equals_exact(ours, theirs, ROUNDING_PX)
        return
    assert shapely.hausdorff_distance(ours, theirs) < 3 * ROUNDING_PX
    assert ours.symmetric_difference(theirs).area <= ours.length * ROUNDING_PX


@pytest.mark.parametrize(("version", "image"), MADE)
class TestEqualsQuPathsOwnAccount:
    @pytest.fixture
    def truth(self, data_dir: Path, version: str, image: str) -> dict[str, Any]:
        path = data_dir / "made" / f"qp-{version}" / "exports" / f"{image}.truth.json"
        return json.loads(path.read_text())

    @pytest.fixture
    def pairs(self, data_dir: Path, version: str, image: str, truth: Any) -> list[tuple[PathObject, dict[str, Any]]]:
        objects = {item.id: item for item in read_qpdata(data_of(data_dir, version, image)).objects}
        assert set(objects) == {item["id"] for item in truth["objects"]}
        return [(objects[item["id"]], item) for item in truth["objects"]]

    def test_image_type_and_properties(self, data_dir, version, image, truth):
        data = read_qpdata(data_of(data_dir, version, image))

        assert data.image_type == truth["imageType"]
        assert data.properties == truth["properties"]
        assert len(data.objects) == truth["n"]

    def test_cores_lie_in_a_grid(self, data_dir, version, image, pairs):
        grid = read_qpdata(data_of(data_dir, version, image)).tma_grid
        cores = [ours for ours, _ in pairs if ours.kind is ObjectKind.TMA_CORE]

        assert (grid is None) == (not cores)
        if grid is not None:
            assert grid.core_ids == tuple(core.id for core in cores)
            assert len({round(core.geometry.centroid.y, 2) for core in cores}) == grid.rows
            assert len({round(core.geometry.centroid.x, 2) for core in cores}) == grid.columns

    def test_kind_parent_name_and_lock(self, pairs):
        for ours, theirs in pairs:
            assert ours.kind is KINDS[theirs["type"]]
            assert ours.parent_id == theirs["parent"]
            assert ours.name == theirs["name"]
            assert ours.is_locked == theirs["locked"]
            assert ours.is_missing == bool(theirs["missing"])

    def test_parents_come_before_their_children(self, data_dir, version, image):
        seen: set[str | None] = {None}
        for item in read_qpdata(data_of(data_dir, version, image)).objects:
            assert item.parent_id in seen
            seen.add(item.id)

    def test_class_and_colors(self, pairs):
        for ours, theirs in pairs:
            assert (ours.path_class.name if ours.path_class else None) == theirs["pathClass"]
            assert ours.class_probability == theirs["classProbability"]
            if ours.path_class:
                assert ours.path_class.color_rgb == rgb_of(theirs["pathClassColor"])
            assert ours.color_rgb == (None if theirs["color"] is None else rgb_of(theirs["color"]))

    def test_metadata_and_measurements(self, pairs):
        for ours, theirs in pairs:
            assert ours.metadata == theirs["metadata"]
            assert ours.metadata.get("ANNOTATION_DESCRIPTION") == theirs["description"]
            assert list(ours.measurements) == list(theirs["measurements"])
            for name, value in theirs["measurements"].items():
                assert ours.measurements[name] == pytest.approx(float(value), rel=0, abs=0, nan_ok=True)

    def test_shape_and_plane(self, pairs, version):
        for ours, theirs in pairs:
            roi = theirs["roi"]
            assert ours.plane == Plane(c=roi["c"], z=roi["z"], t=roi["t"])
            assert ours.is_ellipse == (roi["cls"] == "EllipseROI")
            x, y, width, height = roi["bounds"]
            bounds_tolerance = ROUNDING_PX if ours.is_ellipse else 1e-9
            assert ours.geometry.bounds == pytest.approx((x, y, x + width, y + height), abs=bounds_tolerance)
            area_tolerance = 1e-3 if ours.is_ellipse else 1e-9
            assert ours.geometry.area == pytest.approx(roi["area"], rel=area_tolerance, abs=1e-9)
            if roi["cls"] == "PolygonROI":
                assert len(ours.geometry.exterior.coords) in (roi["nPoints"], roi["nPoints"] + 1)
            exported = shapely.from_wkt(roi["wkt"])
            if is_cut_by_java(version, ours):
                assert exported.difference(ours.geometry).area <= ours.geometry.length * ROUNDING_PX
            else:
                assert_same_shape(ours.geometry, exported)

    def test_nuclei(self, pairs):
        for ours, theirs in pairs:
            assert (ours.nucleus is None) == (theirs["nucleus"] is None)
            if ours.nucleus is not None:
                assert_same_shape(ours.nucleus, shapely.from_wkt(theirs["nucleus"]["wkt"]))

    def test_annotations_of_the_geojson_export(self, data_dir, version, image):
        packed = data_dir / "made" / f"qp-{version}" / "exports" / f"{image}.annotations.fc.geojson.gz"
        features = {item["id"]: item for item in json.loads(gzip.decompress(packed.read_bytes()))["features"]}
        objects = read_qpdata(data_of(data_dir, version, image)).objects
        annotations = {item.id: item for item in objects if item.kind is ObjectKind.ANNOTATION}

        assert set(annotations) == set(features)
        for object_id, ours in annotations.items():
            theirs = features[object_id]
            exported = shapely.geometry.shape(theirs["geometry"])
            if not is_cut_by_java(version, ours):
                assert_same_shape(ours.geometry, exported)
            properties = theirs["properties"]
            classification = properties.get("classification", {})
            name = classification.get("name") or ": ".join(classification.get("names", [])) or None
            assert (ours.path_class.name if ours.path_class else None) == name
            assert ours.name == properties.get("name")
            assert ours.is_locked == properties.get("isLocked", False)
            assert ours.is_ellipse == theirs["geometry"].get("isEllipse", False)

    def test_ellipses_have_exactly_the_vertices_that_qupath_exports(self, data_dir, version, image):
        exported = json.loads((data_dir / "made" / f"qp-{version}" / "exports" / f"{image}.fc.geojson").read_text())
        shapes = {item["id"]: shapely.geometry.shape(item["geometry"]) for item in exported["features"]}

        for item in read_qpdata(data_of(data_dir, version, image)).objects:
            if item.is_ellipse:
                assert shapely.equals_exact(item.geometry, shapes[item.id], 1e-9, normalize=True)


def test_coordinates_are_those_of_the_file(data_dir):
    (rectangle,) = read_qpdata(data_of(data_dir, "0.7.0", "plain")).objects

    assert list(rectangle.geometry.exterior.coords) == [(10, 20), (40, 20), (40, 60), (10, 60), (10, 20)]


def test_real_annotations_are_those_that_were_drawn(data_dir):
    skin = data_dir / "real" / "skin"
    drawn = json.loads((skin / "skin_train.geojson").read_text())["features"]

    objects = {item.id: item for item in read_qpdata((skin / "data" / "1" / "data.qpdata").read_bytes()).objects}

    assert set(objects) == {item["id"] for item in drawn}
    for item in drawn:
        ours = objects[item["id"]]
        assert ours.path_class is not None
        assert ours.path_class.name == item["properties"]["classification"]["name"]
        assert list(ours.path_class.color_rgb) == item["properties"]["classification"]["color"]
        assert_same_shape(ours.geometry, shapely.geometry.shape(item["geometry"]))


def test_a_project_of_qupath_0_2_has_objects_with_ids_that_stay(fixtures_dir):
    folder = fixtures_dir / "public" / "qupath" / "stardist_example" / "qupath_example_project" / "data"

    for number in "12":
        data = (folder / number / "data.qpdata").read_bytes()
        objects = read_qpdata(data).objects
        summary = json.loads((folder / number / "summary.json").read_text())

        assert len(objects) == summary["hierarchy"]["nObjects"] - 1
        assert len({item.id for item in objects}) == len(objects)
        assert all(uuid.UUID(item.id).version == 5 for item in objects)
        assert [item.id for item in objects] == [item.id for item in read_qpdata(data).objects]
        assert all(item.geometry.area > 0 for item in objects)


def test_an_object_of_an_old_file_needs_neither_metadata_nor_lock(hierarchy):
    made = hierarchy(children=1)
    made.begin_annotation()
    made.writer.string("old")
    made.writer.null()
    made.writer.null()
    made.writer.block(struct.pack(">i", 0))
    made.writer.null()
    made.rectangle()
    made.writer.block(struct.pack(">d", float("nan")))
    made.writer.end()

    (item,) = read_qpdata(made.finish()).objects

    assert item.name == "old"
    assert not item.is_locked
    assert item.path_class is None
    assert item.class_probability is None
    assert item.geometry.equals(shapely.box(1, 2, 3, 5))


@pytest.mark.parametrize("version", [b"1", b"2", b"3", b"4"])
@pytest.mark.parametrize("image", [b"{}", b"Image path: C:\\slides\\a.svs"])
def test_headers_of_every_version_are_read(hierarchy, version, image):
    """Before 0.3 a path stood where now the server does."""
    made = hierarchy(children=1)
    made.annotation()
    made.no_class_and_shape()
    data = made.finish().replace(b"version 3", b"version " + version)

    renamed = data.replace(b"t\x00\x02{}", b"t" + struct.pack(">H", len(image)) + image)

    assert len(read_qpdata(renamed).objects) == 1


def test_version_4_keeps_the_id_in_a_field_of_its_own(hierarchy):
    made = hierarchy(children=1)
    made.begin_annotation()
    made.writer.null()
    made.writer.integer(-16711936)
    made.writer.object(("java.util.UUID",), 2, (("J", "leastSigBits"), ("J", "mostSigBits")))
    made.writer.data += struct.pack(">qq", -6004177704749005607, 516744645225232263)
    made.writer.block(struct.pack(">i", 1))
    measured = "qupath.lib.measurements.NumericMeasurementList$DoubleList"
    made.writer.object((measured,), 2, (("L", "names"), ("[", "values")))
    made.writer.objects(1)
    made.writer.string("area")
    made.writer.array("D", [2.5, 9.0])
    made.writer.block(struct.pack(">i", 0))
    made.no_class_and_shape()

    (item,) = read_qpdata(made.finish()).objects

    assert item.id == "072bd884-5a3c-3787-acac-e030641d84d9"
    assert item.color_rgb == (0, 255, 0)
    assert item.measurements == {"area": 2.5}


def test_lock_probability_and_a_class_without_a_color_are_read(hierarchy):
    made = hierarchy(children=1)
    made.annotation()
    made.writer.object(("java.lang.Boolean",), 2, (("Z", "value"),))
    made.writer.data += b"\x01"
    class_fields = tuple(("L", name) for name in ("colorRGB", "name", "parentClass"))
    made.writer.object(("qupath.lib.objects.classes.PathClass",), 2, class_fields)
    made.writer.null()
    made.writer.string("Tumor")
    made.writer.null()
    made.rectangle()
    made.writer.block(struct.pack(">d", 0.75))
    made.writer.end()

    (item,) = read_qpdata(made.finish()).objects

    assert item.is_locked
    assert item.path_class == PathClass("Tumor", DEFAULT_COLOR_RGB)
    assert item.class_probability == 0.75


def test_an_object_without_a_shape_has_an_empty_one(hierarchy):
    made = hierarchy(children=1)
    made.annotation()
    made.no_class_and_shape()

    (item,) = read_qpdata(made.finish()).objects

    assert item.geometry.is_empty


def test_an_unknown_kind_of_object_is_named(hierarchy):
    made = hierarchy(children=1)
    made.writer.external("qupath.lib.objects.PathCloud", "qupath.lib.objects.PathObject")
    for _ in range(3):
        made.writer.null()
    made.writer.block(struct.pack(">i", 0))
    made.no_class_and_shape()

    with pytest.raises(DamagedDataError, match=r"unknown kind of object: qupath.lib.objects.PathCloud at byte \d+"):
        read_qpdata(made.finish())


def test_a_hierarchy_that_holds_itself_is_refused(hierarchy):
    made = hierarchy(children=2)
    child = made.begin_annotation()
    for _ in range(3):
        made.writer.null()
    made.writer.block(struct.pack(">i", 1))
    made.writer.reference(child)
    made.no_class_and_shape()
    made.writer.reference(child)

    with pytest.raises(DamagedDataError, match="not those announced, each in one place"):
        read_qpdata(made.finish())


@pytest.mark.parametrize("shared", ["measurements", "metadata"])
def test_a_small_file_does_not_grow_by_sharing(hierarchy, shared):
    """Names and numbers of 5000 measurements, shared by 2000 objects, would be ten million values."""
    made = hierarchy(children=2000)
    writer = made.writer
    names = values = 0
    for number in range(2000):
        made.begin_annotation()
        writer.null()
        writer.null()
        if shared == "metadata":
            writer.external("qupath.lib.objects.MetadataMap")
            writer.null()
        else:
            writer.object(("qupath.lib.measurements.Numbers",), 2, (("L", "names"), ("[", "values")))
        names = _names(writer) if number == 0 else _again(writer, names)
        if shared == "metadata":
            _again(writer, names)
            writer.end()
            writer.null()
        else:
            values = writer.array("D", [0.0] * 5000) if number == 0 else _again(writer, values)
        writer.block(struct.pack(">i", 0))
        made.no_class_and_shape()
    data = made.finish()

    tracemalloc.start()
    with pytest.raises(DamagedDataError, match="more content than the file is long"):
        read_qpdata(data)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak_bytes < 100 * len(data)


def _names(writer: Any) -> int:
    handle: int = writer.objects(5000)
    for number in range(5000):
        writer.string(f"{number:04d}")
    return handle


def _again(writer: Any, handle: int) -> int:
    writer.reference(handle)
    return handle


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xac\xed\x00\x05", "is no image data of QuPath"),
        (b"\xac\xed\x00\x05w\x04\x00\x02ab", "is no image data of QuPath"),
        (b"\xac\xed\x00\x05t\x00\x13Data file version 3", "is no image data of QuPath"),
        (b"\xac\xed\x00\x05w\x15\x00\x13Data file version 3", "holds no object hierarchy"),
        (b"{}", "is no Java object stream"),
    ],
)
def test_other_streams_are_refused(data, message):
    with pytest.raises(DamagedDataError, match=message):
        read_qpdata(data)


def test_half_a_file_is_refused_with_its_end(data_dir):
    data = data_of(data_dir, "0.6.0", "slide_a")

    with pytest.raises(DamagedDataError, match=r"at byte \d+"):
        read_qpdata(data[: len(data) // 2])


def test_a_class_that_is_cut_short_behind_the_end_does_no_harm(hierarchy):
    made = hierarchy(children=1)
    made.annotation()
    made.no_class_and_shape()

    assert len(read_qpdata(made.finish() + b"sr\x7f\xffA").objects) == 1


@settings(deadline=None, max_examples=150)
@given(
    image=st.sampled_from(["slide_a", "slide_b", "stack_z3c2"]),
    version=st.sampled_from(VERSIONS),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    kept=st.floats(0.2, 1),
)
@example(image="slide_b", version="0.7.0", flips=[(0.0, 0)], kept=1.0)
def test_a_damaged_file_ends_in_one_error_or_a_result(data_dir, image, version, flips, kept):
    data = bytearray(data_of(data_dir, version, image))
    for place, value in flips:
        data[int(place * len(data))] = value
    del data[int(kept * len(data)) :]

    with contextlib.suppress(DamagedDataError):
        assert all(isinstance(item, PathObject) for item in read_qpdata(bytes(data)).objects)
