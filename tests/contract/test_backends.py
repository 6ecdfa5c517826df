"""What both backends must read alike: a real QuPath through paquo, and this package itself."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from qpbridge.core.backend import Backend
from qpbridge.core.objects import PathObject
from qpbridge.errors import DamagedDataError, DamagedProjectError
from qpbridge.qupath.paquo_backend.process import QuPathProcess
from qpbridge.qupath.paquo_backend.project import open_by_paquo
from qpbridge.qupath.project import Project, open_project

PROJECTS = ["made/qp-0.5.1/project", "made/qp-0.6.0/project", "made/qp-0.7.0/project", "real/skin"]
PAQUO = Backend(name="paquo")


@pytest.fixture(params=["native", pytest.param("paquo", marks=pytest.mark.qupath)])
def opened(request: pytest.FixtureRequest) -> Any:
    """Open projects with one of the backends."""
    if request.param == "native":
        return open_project
    process: QuPathProcess = request.getfixturevalue("qupath")
    return lambda path: open_by_paquo(path, process, PAQUO)


def told(item: PathObject) -> dict[str, Any]:
    """Return all that an object says, so that not-a-number equals itself."""
    values = {field.name: getattr(item, field.name) for field in fields(item)}
    measured = [(name, None if math.isnan(value) else value) for name, value in item.measurements.items()]
    return {**values, "measurements": measured, "metadata": dict(item.metadata)}


@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_is_the_same_for_both(opened: Any, name: str, data_dir: Path) -> None:
    project, native = opened(data_dir / name), open_project(data_dir / name)

    assert project == native
    assert [entry.server for entry in project.entries] == [entry.server for entry in native.entries]


@pytest.mark.parametrize("name", PROJECTS)
def test_objects_are_the_same_for_both(opened: Any, name: str, data_dir: Path) -> None:
    project, native = opened(data_dir / name), open_project(data_dir / name)

    for entry in native.entries:
        data, other = project.read_data(project.entry(entry.id)), native.read_data(entry)
        assert list(map(told, data.objects)) == list(map(told, other.objects))
        assert (data.image_type, dict(data.properties)) == (other.image_type, dict(other.properties))


@pytest.mark.parametrize("version", ["0.5.1", "0.6.0", "0.7.0"])
def test_objects_are_as_many_and_as_large_as_qupath_said(opened: Any, version: str, data_dir: Path) -> None:
    folder = data_dir / "made" / f"qp-{version}"
    project: Project = opened(folder / "project")

    for entry in project.entries:
        truth = folder / "exports" / f"{Path(entry.name).stem}.truth.json"
        if not truth.is_file():
            continue
        objects = {item.id: item for item in project.read_objects(entry)}
        said = {one["id"]: one for one in json.loads(truth.read_text("utf-8"))["objects"]}
        assert objects.keys() == said.keys()
        for key, one in said.items():
            area = (one.get("roi") or {}).get("area")
            if area is not None and not objects[key].is_ellipse:
                assert objects[key].geometry.area == pytest.approx(area, rel=1e-5, abs=0.01)


def test_damaged_data_are_told_and_the_rest_is_read(opened: Any, data_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data_dir / "made" / "qp-0.7.0" / "project", tmp_path / "project"))
    data = folder / "data" / "1" / "data.qpdata"
    data.write_bytes(data.read_bytes()[:5000])
    project = opened(folder)

    with pytest.raises(DamagedDataError, match=r"entry 1 'slide_a.tif': .*data.qpdata"):
        project.read_objects(project.entry("1"))
    assert len(project.read_objects(project.entry("2"))) == 14


def test_a_damaged_project_is_told(opened: Any, tmp_path: Path) -> None:
    (tmp_path / "project.qpproj").write_text('{"version": "0.6.0",')

    with pytest.raises(DamagedProjectError, match=r"project.qpproj"):
        opened(tmp_path)


def test_reading_leaves_a_project_as_it_was(opened: Any, data_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data_dir / "made" / "qp-0.6.0" / "project", tmp_path / "project"))
    shutil.rmtree(folder / "classifiers")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    project = opened(folder)
    objects = [item for entry in project.entries for item in project.read_objects(entry)]

    assert len(objects) == 116
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
