from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely

from qpbridge.core.backend import Backend
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.qupath.backends import NO_QUPATH
from qpbridge.qupath.paquo_backend.project import PaquoReader, open_by_paquo
from qpbridge.qupath.paquo_backend.records import JavaFailure, QuPathFacts
from qpbridge.qupath.project import Project, open_project
from qpbridge.qupath.write_back import DataFingerprint, WriteBack, write_back

PAQUO = Backend(name="paquo")
NEW = PathObject(
    id="9d2f6f6e-58b5-4bd1-9e4f-3f54e1a5b0c1",
    kind=ObjectKind.ANNOTATION,
    geometry=shapely.Point(2000, 1500).buffer(200, quad_segs=16).difference(shapely.box(1990, 1490, 2010, 1510)),
    path_class=PathClass("Tumor", (1, 2, 3)),
    name="found",
    measurements={"Area": 12.5},
)


@pytest.fixture
def folder(data_dir: Path, tmp_path: Path) -> Path:
    """A copy of a project that finds its slides."""
    made = data_dir / "made"
    folder = Path(shutil.copytree(made / "qp-0.5.1" / "project", tmp_path / "project"))
    file = folder / "project.qpproj"
    file.write_text(file.read_text("utf-8").replace("file:/data/histology/made", f"file:{made}"), "utf-8")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Starting:
    """In the place of QuPath's process."""

    version = "0.5.1"

    def start(self) -> QuPathFacts:
        return QuPathFacts(version=self.version, folder="/q", java_version="17", java_folder="/j", area_kept=1.0)


class Failing(Starting):
    """One that cannot do anything."""

    def ask_for_image(self, *_: Any) -> Any:
        raise JavaFailure("QuPath cannot open its slide")


def opened_by(process: Any, folder: Path) -> Project:
    project = open_project(folder)
    return replace(project, reader=PaquoReader(project.path, process, PAQUO))


def test_without_a_qupath_the_objects_are_left_and_the_reason_says_how_to_get_one(folder):
    project = open_project(folder, Backend(detail=NO_QUPATH))
    entry = project.entry("1")
    before = files(folder)

    done = write_back(project, entry, DataFingerprint.of(entry), [], [NEW])

    assert not done.is_written
    assert done.reason is not None
    assert NO_QUPATH in done.reason
    assert "get_qupath" in done.reason
    assert "import the GeoJSON" in done.reason
    assert files(folder) == before


def test_data_that_changed_since_they_were_read_are_left(folder):
    project = opened_by(Failing(), folder)
    entry = project.entry("1")
    seen = DataFingerprint.of(entry)
    with entry.data_path.open("ab") as data:
        data.write(b"x")
    before = files(folder)

    done = write_back(project, entry, seen, [], [NEW])

    assert done.reason is not None
    assert "entry 1 'slide_a.tif' have changed since they were read (saved at 20" in done.reason
    assert files(folder) == before


def test_data_that_came_or_went_since_they_were_read_are_left(folder):
    project = opened_by(Failing(), folder)
    seen = DataFingerprint.of(project.entry("1"))
    project.entry("1").data_path.unlink()

    assert "(gone)" in (write_back(project, project.entry("1"), seen, [], []).reason or "")
    assert "have changed" in (write_back(project, project.entry("2"), None, [], []).reason or "")


def test_data_that_only_have_another_date_are_unchanged(folder):
    project = opened_by(Failing(), folder)
    entry = project.entry("1")
    seen = DataFingerprint.of(entry)
    os.utime(entry.data_path)

    assert write_back(project, entry, seen, [], []).reason == "QuPath cannot open its slide"


def test_what_qupath_cannot_do_leaves_everything_as_it_was(folder):
    project = opened_by(Failing(), folder)
    before = files(folder)

    done = write_back(project, project.entry("1"), DataFingerprint.of(project.entry("1")), [], [NEW])

    assert done == WriteBack(is_written=False, reason="QuPath cannot open its slide")
    assert files(folder) == before


def test_an_older_qupath_than_the_projects_changes_nothing(data_dir, tmp_path):
    folder = Path(shutil.copytree(data_dir / "made" / "qp-0.7.0" / "project", tmp_path / "newer"))
    project = opened_by(Failing(), folder)

    done = write_back(project, project.entry("1"), DataFingerprint.of(project.entry("1")), [], [NEW])

    assert "saved by QuPath 0.7.0, and the one here is 0.5.1" in (done.reason or "")


class Writing(Starting):
    """One that writes what it is told, instead of what it is asked."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def ask_for_image(self, _: Any, task: Any) -> None:
        Path(task.out).write_bytes(self.content)


@pytest.mark.parametrize(
    ("source", "added", "reason"),
    [
        ("data/2/data.qpdata", [], "lost or doubled"),
        ("data/1/data.qpdata", [NEW], "lost or doubled"),
        ("changed", [], "would have changed the object"),
        ("cut", [], "at byte"),
    ],
)
def test_what_qupath_wrote_is_refused_where_it_is_not_what_was_asked_for(folder, source, added, reason):
    whole = (folder / "data/1/data.qpdata").read_bytes()
    odd = {"changed": whole.replace(b"rectangle", b"rectangel"), "cut": whole[:5000]}
    content = odd.get(source) or (folder / source).read_bytes()
    project = opened_by(Writing(content), folder)
    before = files(folder)
    if source == "changed":
        assert content != whole

    done = write_back(project, project.entry("1"), DataFingerprint.of(project.entry("1")), [], added)

    assert not done.is_written
    assert reason in (done.reason or "")
    assert files(folder) == before


@pytest.mark.qupath
def test_objects_come_and_go_and_all_others_stay_as_they_were(qupath, folder):
    project = open_by_paquo(folder, qupath, PAQUO)
    entry = project.entry("1")
    objects = open_project(folder).read_objects(entry)
    old = entry.data_path.read_bytes()
    gone = [item for item in objects if item.kind is ObjectKind.DETECTION][:3]
    before = files(folder)

    done = write_back(project, entry, DataFingerprint.of(entry), gone, [NEW])

    assert done.reason is None
    assert (done.is_written, done.added, done.removed, done.kept) == (True, 1, 3, 94)
    assert done.backup is not None
    assert done.backup.read_bytes() == old
    assert done.backup.name.startswith("data.qpdata.qpbridge-")
    after = {item.id: item for item in open_project(folder).read_objects(entry)}
    assert after.keys() == {item.id for item in objects} - {item.id for item in gone} | {NEW.id}
    new = after[NEW.id]
    assert (new.name, dict(new.measurements), new.kind) == ("found", {"Area": 12.5}, ObjectKind.ANNOTATION)
    assert new.path_class == PathClass("Tumor", (200, 0, 0))  # as the project has it
    assert new.geometry.symmetric_difference(NEW.geometry).area < 10
    changed = {name for name, content in files(folder).items() if before.get(name) != content}
    assert changed == {
        "data/1/data.qpdata",
        "data/1/summary.json",
        f"data/1/{done.backup.name}",
    }
    counts = json.loads((folder / "data/1/summary.json").read_text())["hierarchy"]
    assert counts["nObjects"] in (95, 96)  # with or without the root, as this QuPath counts
    assert qupath_reads(project, entry.id) == len(after)


def qupath_reads(project: Project, entry: str) -> int:
    return len(project.read_objects(project.entry(entry)))


@pytest.mark.qupath
def test_a_second_change_has_a_backup_of_its_own(qupath, folder):
    project = open_by_paquo(folder, qupath, PAQUO)
    entry = project.entry("2")

    first = write_back(project, entry, DataFingerprint.of(entry), [], [NEW])
    second = write_back(project, entry, DataFingerprint.of(entry), [NEW], [])

    assert first.is_written
    assert second.is_written
    assert first.backup != second.backup
    assert [item.id for item in open_project(folder).read_objects(entry)] == [
        item.id for item in open_project(folder).read_objects(replace(entry)) if item.id != NEW.id
    ]


@pytest.mark.qupath
def test_an_entry_without_data_gets_some(qupath, folder):
    project = open_by_paquo(folder, qupath, PAQUO)
    entry = project.entry("3")
    assert not entry.has_data

    done = write_back(project, entry, None, [], [NEW])

    assert done.reason is None
    assert (done.is_written, done.added, done.kept, done.backup) == (True, 1, 0, None)
    assert [item.name for item in open_project(folder).read_objects(entry)] == ["found"]


@pytest.mark.qupath
def test_a_slide_that_qupath_does_not_find_is_no_harm(qupath, data_dir, tmp_path):
    """QuPath 0.5 needs the slide to save its objects, QuPath 0.7 does not."""
    folder = Path(shutil.copytree(data_dir / "made" / "qp-0.5.1" / "project", tmp_path / "lost"))
    project = open_by_paquo(folder, qupath, PAQUO)
    before = files(folder)

    done = write_back(project, project.entry("1"), DataFingerprint.of(project.entry("1")), [], [NEW])

    if done.is_written:
        assert done.kept == 97
    else:
        assert (done.reason or "").startswith("QuPath cannot")
        assert files(folder) == before
