"""Held against what QuPath 0.5.1, 0.6.0 and 0.7.0 made of 103 features and twelve files."""

import gzip
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import Point, Polygon, box
from shapely.affinity import rotate

from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.qupath.geojson import containers, feature_lines
from qpbridge.qupath.geojson.acceptance import DESCRIPTION, QupathVersion, Taken, judge, judge_feature, judge_file

ACCOUNTS = {
    QupathVersion.V0_5_1: {"cases.json": "result-0.5.1.txt", "cases2.json": "i2-0.5.1.txt"},
    QupathVersion.V0_6_0: {"cases.json": "result-0.6.0.txt"},
    QupathVersion.V0_7_0: {"cases.json": "result-0.7.0.txt", "cases2.json": "i2-0.7.0.txt"},
}
JAVA = {
    ObjectKind.ANNOTATION: "PathAnnotationObject",
    ObjectKind.DETECTION: "PathDetectionObject",
    ObjectKind.CELL: "PathCellObject",
    ObjectKind.TILE: "PathTileObject",
    ObjectKind.TMA_CORE: "TMACoreObject",
    None: "PathRootObject",
}
ACCOUNT = re.compile(
    r"\[\[(?P<java>\w+), (?P<roi>\w+)(#(?P<points>\w+))?( b=\[.*?\])?( A=(?P<area>[\w.]+))?( czt=\[(?P<plane>.*?)\])?, "
    r"cls=(?P<cls>.*?)/(?P<cls_color>\w+), name=(?P<name>.*?), col=(?P<col>\w+), lock=(?P<lock>\w+), "
    r"meas=\[(?P<meas>.*?)\], md=\[(?P<md>.*?)\], id=UUID, (nuc=(?P<nuc>.*?\)?))?, (desc=(?P<desc>.*?))?,? prob=NaN"
    r"(, kids=\[(?P<kids>.*?)\])?"
)
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]}


def measured(folder: Path) -> Iterator[tuple[QupathVersion, str, str, str]]:
    """Yield version, name, text and account of each case that a version was shown."""
    for version, files in ACCOUNTS.items():
        for cases, results in files.items():
            lines = (folder / results).read_text(encoding="utf-8")
            accounts = dict(re.findall(r"^CASE\|(.*?)\|(.*)$", lines, re.MULTILINE))
            for name, text in json.loads((folder / cases).read_text(encoding="utf-8")):
                yield version, name, text, accounts[name]


def told(taken: Taken, theirs: dict[str, str | None]) -> dict[str, str | None]:
    """Return of an object what an account tells, where both know it."""
    known = {
        "java": JAVA[taken.kind],
        "roi": "noROI" if taken.shape is None else taken.shape.roi,
        "cls": taken.class_name or "null",
        "name": taken.name or "null",
        "col": hexadecimal(taken.color_rgb),
        "lock": str(taken.is_locked).lower(),
    }
    if taken.class_color_rgb is not None:
        known["cls_color"] = hexadecimal(taken.class_color_rgb)
    if theirs["kids"] is not None:
        known["kids"] = ", ".join(child.name or "" for child in taken.children)
    if theirs["desc"] is not None:
        known["desc"] = taken.metadata.get(DESCRIPTION, "null")
    if theirs["plane"] is not None and taken.shape is not None:
        plane = taken.shape.plane
        known["plane"] = f"{plane.c}, {plane.z}, {plane.t}"
    return known


def hexadecimal(rgb: tuple[int, int, int] | None) -> str:
    return "null" if rgb is None else "ff" + bytes(rgb).hex()


def numbers(text: str) -> dict[str, float]:
    pairs = (part.rsplit(":", 1) for part in text.split(", ") if part not in {"", ":"})
    return {name: float(value) for name, value in pairs}


def texts(text: str) -> dict[str, str]:
    return dict(part.split(":", 1) for part in text.split(", ") if part not in {"", ":"})


def test_every_case_is_judged_as_each_version_did(data_dir: Path) -> None:
    compared = refused = 0
    for version, name, text, account in measured(data_dir / "made" / "geojson-import"):
        where = f"{name} ({version})"
        verdict = judge(text.encode(), version)
        compared += 1
        assert verdict.is_accepted == (not account.startswith("EXC")), where
        if not verdict.is_accepted:
            refused += 1
            continue
        match = ACCOUNT.search(account)
        assert match is not None, where
        theirs = match.groupdict()
        (ours,) = verdict.objects
        known = told(ours, theirs)
        assert known == {key: theirs[key] for key in known}, where
        assert repr(dict(ours.measurements)) == repr(numbers(theirs["meas"])), where
        assert dict(ours.metadata) == texts(theirs["md"]), where
        assert (ours.nucleus is not None) == ((theirs["nuc"] or "null") != "null"), where
        check_outline(ours, theirs, version, where)
    assert (compared, refused) == (103 + 77 + 103, 55)


def check_outline(ours: Taken, theirs: dict[str, Any], version: QupathVersion, where: str) -> None:
    if ours.shape is None or theirs["points"] == "EMPTY":
        return
    outline = ours.shape.geometry
    if ours.shape.roi != "EllipseROI" and outline.is_valid:
        assert outline.area == pytest.approx(float(theirs["area"]), abs=1e-3), where
    if theirs["points"] is not None and version.rounds and outline.area and ours.shape.roi != "GeometryROI":
        assert len(outline.exterior.coords) - 1 in {int(theirs["points"]), int(theirs["points"]) - 1}, where


@pytest.mark.parametrize("version", QupathVersion)
def test_every_file_is_judged_as_each_version_did(data_dir: Path, version: QupathVersion) -> None:
    folder = data_dir / "made" / "geojson-import"
    accounts = re.findall(
        r"^FILE\|(.*?)\|(\w+)\|(.*)$", (folder / ACCOUNTS[version]["cases.json"]).read_text(), re.MULTILINE
    )

    assert len(accounts) == 12
    for name, count, account in accounts:
        verdict = judge_file(folder / name, version)

        assert verdict.is_accepted == (count != "EXC"), name
        if verdict.is_accepted:
            listed = [f"{JAVA[item.kind]}:{item.name or 'null'}:ID" for item in verdict.objects]
            assert account == f"[{', '.join(listed)}]", name
    assert judge_file(folder / "fc_onebad.geojson", version).place == "1"


@pytest.mark.parametrize("version", QupathVersion)
def test_an_id_is_kept_only_where_it_is_a_uuid(version: QupathVersion) -> None:
    uuid = "11111111-1111-4111-8111-111111111111"

    for given_, kept in ((uuid, uuid), ("obj_7", None), (5, None)):
        (taken,) = judge_feature({"type": "Feature", "geometry": SQUARE, "id": given_}, version).objects
        assert taken.id == kept


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"classification": {"name": "A"}}, "the classification {'name': 'A'} has no color"),
        ({"measurements": {"a": "x"}}, "the measurement 'a' is 'x', no number"),
        ({"name": None}, "the name is None"),
        ({"color": "#ff0000"}, "the color is '#ff0000'"),
        ({"isLocked": None}, "isLocked is None"),
        ({"metadata": []}, "the metadata are"),
    ],
)
def test_a_refusal_says_what_for(properties: dict[str, Any], reason: str) -> None:
    for version in QupathVersion:
        verdict = judge_feature({"type": "Feature", "geometry": SQUARE, "properties": properties}, version)

        assert verdict.reason is not None
        assert reason in verdict.reason


def test_the_place_of_a_refusal_leads_to_the_child() -> None:
    child = {"type": "Feature", "geometry": None, "properties": {}}
    parent = {"type": "Feature", "geometry": SQUARE, "properties": {"childObjects": [SQUARE | {"type": "Feature"}]}}
    nested = {"type": "Feature", "geometry": SQUARE, "properties": {"childObjects": [SQUARE, child]}}

    verdict = judge(json.dumps([SQUARE, nested, parent]).encode(), QupathVersion.V0_7_0)

    assert (verdict.place, verdict.reason) == ("1.1", "the geometry is no JSON object")
    assert verdict.objects == ()


def test_what_is_no_geojson_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    for content in (b"", b"{}", b"5", b"\xff", b'{"type":"FeatureCollection"}', b"[[]]", deep):
        assert not judge(content, QupathVersion.V0_7_0).is_accepted
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(b"[]")[:-4])
    assert not judge_file(tmp_path / "a.geojson.gz", QupathVersion.V0_7_0).is_accepted
    (tmp_path / "b.geojson.gz").write_bytes(gzip.compress(b" " * 200_000))
    monkeypatch.setattr(containers, "_ALWAYS_BYTES", 0)
    assert "unpacks to more than" in str(judge_file(tmp_path / "b.geojson.gz", QupathVersion.V0_7_0).reason)
    assert not judge_file(tmp_path / "none.geojson", QupathVersion.V0_7_0).is_accepted


def test_of_an_archive_the_files_that_are_refused_are_passed_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.geojson", json.dumps(SQUARE))
        archive.writestr("bad.geojson", "{}")
        archive.writestr("readme.txt", "hello")

    verdict = judge_file(tmp_path / "a.zip", QupathVersion.V0_7_0)

    assert verdict.is_accepted
    assert len(verdict.objects) == 1


OUTLINES = st.one_of(
    st.builds(
        lambda x, y, side: box(x, y, x + side, y + side), st.floats(-9, 1e6), st.floats(-9, 1e6), st.floats(0, 9)
    ),
    st.builds(lambda x, turn: rotate(box(x, 0, x + 9, 9), turn), st.floats(-9, 1e6), st.floats(0, 90)),
    st.builds(lambda n: Point(n, n).buffer(9).difference(Point(n, n).buffer(3)), st.integers(0, 1000)),
    st.builds(lambda n: Polygon([(0, 0), (n, 9), (n, 0), (0, 9)]), st.integers(1, 99)),
    st.builds(lambda n: box(0, 0, 5, 5) | box(n, 0, n + 5, 5), st.integers(6, 9)),
    st.builds(Point, st.integers(0, 9), st.integers(0, 9)),
)
OBJECTS = st.builds(
    PathObject,
    id=st.uuids().map(str) | st.text(),
    kind=st.sampled_from(ObjectKind),
    geometry=OUTLINES,
    path_class=st.none() | st.builds(PathClass, st.text(), st.just((1, 2, 3))),
    name=st.none() | st.text(),
    color_rgb=st.none() | st.just((4, 5, 6)),
    measurements=st.dictionaries(st.text(), st.floats()),
    metadata=st.dictionaries(st.text(), st.text()),
    is_locked=st.booleans(),
    is_ellipse=st.booleans(),
    nucleus=st.none() | OUTLINES,
    plane=st.builds(Plane, z=st.integers(0, 9), t=st.integers(0, 9)),
)


@given(st.lists(OBJECTS, max_size=4))
def test_what_we_write_every_version_accepts(objects: list[PathObject]) -> None:
    lines = list(feature_lines(objects))

    for version in QupathVersion:
        verdict = judge(b'{"type":"FeatureCollection","features":[' + b",".join(lines) + b"]}", version)

        assert verdict.reason is None
        assert len(verdict.objects) == len(lines)
