from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from qpbridge.core.objects import PathClass
from qpbridge.errors import (
    DamagedDataError,
    DamagedProjectError,
    InvalidValueError,
    ProjectNotFoundError,
    UnknownNameError,
    UnsupportedImageError,
)
from qpbridge.qupath.project import open_project

VERSIONS = ("0.5.1", "0.6.0", "0.7.0")


def write(folder: Path, content: Any) -> Path:
    path = folder / "project.qpproj"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def image(entry_id: int | str = 1, name: str | None = "a.tif", **changes: Any) -> dict[str, Any]:
    builder = {"builderType": "uri", "uri": "file:/x/a.tif", "metadata": {"width": 9, "height": 8, "isRGB": True}}
    return {"serverBuilder": builder, "entryID": entry_id, "imageName": name, "metadata": {}} | changes


@pytest.mark.parametrize("version", VERSIONS)
def test_a_project_is_what_qupath_wrote(version, data_dir):
    project = open_project(data_dir / "made" / f"qp-{version}" / "project" / "project.qpproj")

    assert project.version == version
    assert project.uri == f"file:/data/histology/made/qp-{version}/project/project.qpproj"
    assert [entry.id for entry in project.entries] == ["1", "2", "3", "4", "5"]
    first = project.entry("1")
    assert first.name == "slide_a.tif"
    assert first.label == "entry 1 'slide_a.tif'"
    assert first.description == "Fixture slide A\nsecond line"
    assert first.metadata == {"split": "train", "patient": "P-01"}
    assert first.tags == (() if version == "0.5.1" else ("reviewed", "fold 1"))
    assert first.server.width_px == 4096
    assert project.entry("plain.png").server.calibration is None
    assert not project.entry("stack_z3c2.tif").server.is_rgb


@pytest.mark.parametrize("version", VERSIONS)
def test_classes_have_their_order_names_and_colors(version, data_dir):
    project = open_project(data_dir / "made" / f"qp-{version}" / "project")

    assert project.classes[0] == PathClass("Tumor", (200, 0, 0))
    assert [item.name for item in project.classes[2:]] == [
        "Tumor: Positive",
        "Tumor: Negative",
        "Immune cells",
        "Ignore*",
        'Nécrose/坏死 "q"',
        "CD3: CD8: PD1",
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_entries_that_qupath_never_saved_have_no_objects(version, data_dir):
    project = open_project(data_dir / "made" / f"qp-{version}" / "project")

    counts = [len(project.read_objects(entry)) for entry in project.entries]

    assert counts == [97, 14, 0, 1, 4]
    assert [entry.has_data for entry in project.entries] == [True, True, False, True, True]


def test_public_projects_open(fixtures_dir):
    public = fixtures_dir / "public" / "qupath"

    old = open_project(public / "stardist_example" / "qupath_example_project")
    large = open_project(public / "nedaghohabi" / "project.qpproj")

    assert old.version == "0.2.0-m12"
    assert [len(old.read_objects(entry)) for entry in old.entries] == [19, 32]
    assert large.version == "0.3.2"
    assert len(large.entries) == 434
    assert large.classes == ()
    assert all(entry.server.is_rgb for entry in large.entries)
    assert not any(entry.has_data for entry in large.entries)


def test_a_real_project_has_its_calibration(data_dir):
    (entry,) = open_project(data_dir / "real" / "skin").entries

    assert entry.server.calibration is not None
    assert entry.server.calibration.mpp_x == 0.499


def test_an_entry_is_found_by_id_before_name(tmp_path):
    project = open_project(write(tmp_path, {"images": [image(1, "2"), image(2, "b.tif"), image(3, "b.tif")]}))

    assert project.entry("2").name == "b.tif"
    assert project.entry("1").name == "2"
    with pytest.raises(InvalidValueError, match=r"2 entries of .* are called 'b.tif'; give one of the ids 2, 3"):
        project.entry("b.tif")
    with pytest.raises(UnknownNameError, match=r"unknown entry 'c.tif' in .*; there are: 1 \(2\), 2 \(b.tif\)"):
        project.entry("c.tif")


def test_a_folder_gives_its_only_project_or_the_one_of_the_usual_name(tmp_path):
    other = write(tmp_path, {"images": []}).rename(tmp_path / "other.qpproj")
    assert open_project(tmp_path).path == other

    usual = write(tmp_path, {"images": []})
    assert open_project(tmp_path).path == usual

    usual.rename(tmp_path / "third.qpproj")
    with pytest.raises(ProjectNotFoundError, match=r"holds other.qpproj, third.qpproj"):
        open_project(tmp_path)


def test_a_missing_project_is_told(tmp_path):
    slide = tmp_path / "slide.svs"
    slide.touch()

    with pytest.raises(ProjectNotFoundError, match=r"does not exist"):
        open_project(tmp_path / "gone.qpproj")
    with pytest.raises(ProjectNotFoundError, match=r"holds no .qpproj file"):
        open_project(tmp_path)
    with pytest.raises(ProjectNotFoundError, match=r"slide.svs is no .qpproj file"):
        open_project(slide)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1, column 1"),
        ('{"version": "0.5.1",\n "images": [}', "line 2, column 13"),
        ("[" * 100_000, "is no JSON"),
        ('{"lastID": ' + "9" * 5000 + "}", "is no JSON"),
        ([], "Expected `object`"),
        ({"a": 1}, "neither images nor a version"),
        ({"images": {}}, "images"),
        ({"images": [image(entry_id=None)]}, r"\$.images\[0\].entryID"),
        ({"images": [image(), {}]}, r"\$.images\[1\]"),
        ({"images": [image(1), image("1")]}, "several images of entryID 1"),
        ({"images": [image("../../secret")]}, "cannot be the name of a folder"),
        ({"images": [image("..")]}, "cannot be the name of a folder"),
    ],
)
def test_a_damaged_project_file_is_told_with_the_place(tmp_path, content, message):
    with pytest.raises(DamagedProjectError, match=message) as caught:
        open_project(write(tmp_path, content))

    assert "project.qpproj" in str(caught.value)


def test_a_project_file_that_is_no_text_is_damaged(tmp_path):
    (tmp_path / "project.qpproj").write_bytes(b'{"version": "\xff\xfe"}')

    with pytest.raises(DamagedProjectError, match=r"is no JSON"):
        open_project(tmp_path)


def test_damaged_classes_are_told_with_their_file(tmp_path):
    write(tmp_path, {"images": []})
    (tmp_path / "classifiers").mkdir()
    (tmp_path / "classifiers" / "classes.json").write_text('{"pathClasses": [{"color": 1}]}')

    with pytest.raises(DamagedProjectError, match=r"classes.json .*name.*\$.pathClasses\[0\]"):
        open_project(tmp_path)


def test_nan_in_metadata_and_values_that_are_no_text_are_read(tmp_path):
    content = json.dumps({"images": [image(metadata={"n": 3, "none": None})]}).replace(
        '"width": 9', '"x": NaN, "width": 9'
    )

    (entry,) = open_project(write(tmp_path, content)).entries

    assert entry.metadata == {"n": "3"}
    assert entry.server.width_px == 9


def test_an_entry_without_a_name_is_called_as_in_qupath(tmp_path):
    (entry,) = open_project(write(tmp_path, {"images": [image("7", None)]})).entries

    assert entry.name == "Image 7"
    assert entry.data_folder == tmp_path / "data" / "7"


def test_an_unsupported_image_leaves_the_rest_of_the_project(tmp_path):
    odd = image(1, "fused.tif", serverBuilder={"builderType": "channels", "builder": image()["serverBuilder"]})
    project = open_project(write(tmp_path, {"images": [odd, image(2)]}))

    with pytest.raises(UnsupportedImageError, match=r"entry 1 'fused.tif' .*'channels'"):
        _ = project.entries[0].server
    assert project.entries[1].server.uri == "file:/x/a.tif"
    assert project.read_objects(project.entries[0]) == ()


def test_the_project_file_wins_over_the_copy_beside_the_data(tmp_path):
    """QuPath writes ``server.json`` but reads only ``project.qpproj``; the copy is for entries that lost theirs."""
    lost = image(2)
    del lost["serverBuilder"]
    project = open_project(write(tmp_path, {"images": [image(1), lost, lost | {"entryID": 3}]}))
    for number in "12":
        (tmp_path / "data" / number).mkdir(parents=True)
        stored = {"builderType": "uri", "uri": "file:/copy.tif"}
        (tmp_path / "data" / number / "server.json").write_text(json.dumps(stored))

    first, second, third = project.entries

    assert first.server.uri == "file:/x/a.tif"
    assert second.server.uri == "file:/copy.tif"
    with pytest.raises(DamagedProjectError, match=r"entry 3 'a.tif' has no serverBuilder"):
        _ = third.server


@pytest.fixture
def copied(data_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data_dir / "made" / "qp-0.7.0" / "project", tmp_path / "project"))


def test_damaged_data_names_entry_file_and_byte_and_the_rest_is_read(copied):
    data = copied / "data" / "1" / "data.qpdata"
    data.write_bytes(data.read_bytes()[:5000])
    project = open_project(copied)

    with pytest.raises(DamagedDataError, match=r"entry 1 'slide_a.tif': .*data.qpdata: .* at byte \d+"):
        project.read_objects(project.entry("1"))
    assert len(project.read_objects(project.entry("2"))) == 14


def test_the_backup_of_qupath_stands_in_for_lost_data_and_is_named_for_damaged(copied):
    data = copied / "data" / "1" / "data.qpdata"
    backup = data.with_name("data.qpdata.bkp")
    data.rename(backup)
    project = open_project(copied)

    assert project.entry("1").has_data
    assert len(project.read_objects(project.entry("1"))) == 97

    data.write_bytes(b"")
    with pytest.raises(DamagedDataError, match=r"data.qpdata.bkp may be whole"):
        project.read_objects(project.entry("1"))


def test_data_that_cannot_be_opened_is_told(copied):
    data = copied / "data" / "1" / "data.qpdata"
    data.unlink()
    data.mkdir()
    project = open_project(copied)

    with pytest.raises(DamagedDataError, match=r"entry 1 .* cannot be read"):
        project.read_objects(project.entry("1"))
