import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from qpbridge.cli.app import app


@pytest.fixture
def project(data_dir: Path) -> str:
    return str(data_dir / "made" / "qp-0.7.0" / "project")


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_inspection_shows_slides_areas_troubles_and_what_training_would_use(project: str) -> None:
    result = invoke("inspect", project)

    rows = [line.split() for line in result.stdout.splitlines()]
    assert result.exit_code == 3
    seen = ["2", "slide_b.tif", "moved", "with", "the", "project", "4096", "x", "3072", "0.25", "(project)"]
    assert seen in [row[: len(seen)] for row in rows]
    assert ["Ignore*", "1", "1", "1", "-", "-", "ignored"] in rows
    assert ["Stroma", "2", "3", "0.04544", "9"] in rows
    assert "PIXEL_SIZE_MISSING" in result.stdout
    assert "reaches beyond the image" in result.stdout


def test_inspection_of_sound_entries_is_done(project: str) -> None:
    assert invoke("inspect", project, "--entries", "1,slide_b.tif").exit_code == 0


def test_inspection_of_nothing_but_broken_entries_fails(project: str) -> None:
    assert invoke("inspect", project, "--entries", "stack_z3c2.tif").exit_code == 1


def test_inspection_is_one_json_document(project: str) -> None:
    document = json.loads(invoke("inspect", project, "--entries", "4", "--mpp", "0.5", "--json").stdout)

    assert document["qupath_version"] == "0.7.0"
    assert document["entries"][0]["image"]["calibration"] == {"mpp_x": 0.5, "mpp_y": 0.5}


def test_a_project_that_cannot_train_says_why(project: str) -> None:
    assert (
        "Training of tissue would refuse: the project has no classified annotation"
        in invoke("inspect", project, "--entries", "3").stdout
    )


def test_similar_class_names_are_asked_about(project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpbridge.workflows.inspect.similar_names", lambda _: (("Tumor", "tumor [x]"),))

    assert "'Tumor', 'tumor [x]'; are they one class?" in " ".join(invoke("inspect", project).stdout.split())


def test_export_writes_a_file_an_entry(project: str, tmp_path: Path) -> None:
    result = invoke("export", project, "--out", str(tmp_path), "--annotations-only", "--gzip", "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [one["objects"] for one in document["entries"]] == [13, 2, 0, 1, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "1-slide_a.tif.geojson.gz",
        "2-slide_b.tif.geojson.gz",
        "4-plain.png.geojson.gz",
        "5-stack_z3c2.tif.geojson.gz",
    ]


def test_export_that_fails_in_part_is_partly_done(project: str, tmp_path: Path) -> None:
    result = invoke("export", project, "--out", str(tmp_path), "--label-maps", "--mpp", "2")

    assert result.exit_code == 3
    assert (tmp_path / "1-slide_a.tif.labels.png").is_file()
    assert "PIXEL_SIZE_MISSING" in result.stdout


def test_requests_carry_all_options(project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[Any] = []

    def refuse(request: Any, progress: Any, *_: Any) -> None:
        requests.append(request)
        raise KeyboardInterrupt

    monkeypatch.setattr("qpbridge.workflows.inspect.inspect", refuse)
    monkeypatch.setattr("qpbridge.workflows.export.export", refuse)

    invoke("inspect", "p", "--entries", "1", "--mpp", "0.5", "--path-map", "a=b", "--path-map", "c=d")
    invoke("export", "p", "--out", "o", "--gzip", "--annotations-only", "--label-maps", "--mpp", "2")

    inspection, export = requests
    assert (inspection.project, inspection.entries, inspection.mpp) == (Path("p"), ("1",), 0.5)
    assert inspection.path_map == ("a=b", "c=d")
    assert (export.project, export.out, export.entries, export.mpp) == (Path("p"), Path("o"), None, 2.0)
    assert export.gzip
    assert export.annotations_only
    assert export.label_maps


def test_a_missing_project_fails_with_its_reason(tmp_path: Path) -> None:
    result = invoke("inspect", str(tmp_path / "none"), "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["reason"] == "PROJECT_NOT_FOUND"
