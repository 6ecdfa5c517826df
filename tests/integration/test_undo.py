"""A run, edits, a second run and its undoing, from the shell, in this process and on a server."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from qpbridge.cli.app import app
from qpbridge.client import started_server
from qpbridge.core.objects import PathObject
from qpbridge.qupath.geojson import read_objects, write_objects

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undo")


@pytest.fixture(scope="module")
def state(folder: Path, data_dir: Path, model: Path) -> Iterator[None]:
    with (
        started_server(folder / "state", [folder, data_dir, model.parent], device="cpu"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("QPBRIDGE_STATE", str(folder / "state"))
        yield


@pytest.fixture(scope="module")
def slide(folder: Path, data_dir: Path) -> Path:
    with Image.open(data_dir / "made" / "images" / "slide_b.tif") as image:
        image.crop((1000, 1000, 1500, 1400)).save(folder / "slide.png")
    return folder / "slide.png"


def document(*words: Any, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def by_id(file: Path) -> dict[str, PathObject]:
    objects = read_objects(file).objects
    assert len({item.id for item in objects}) == len(objects)
    return {item.id: item for item in objects}


def largest(objects: dict[str, PathObject]) -> list[PathObject]:
    return sorted(objects.values(), key=lambda item: -item.geometry.area)


@pytest.mark.parametrize("place", [[], ["--server"]], ids=["here", "on a server"])
def test_a_run_edits_a_second_run_and_undo(
    place: list[str], state: None, slide: Path, model: Path, folder: Path, tmp_path: Path
) -> None:
    out = folder / f"out{len(place)}"
    predict = ["predict", slide, "--model", model, "--out", out, "--mpp", "1", "--device", "cpu", *place]

    first_run = document(*predict, "--min-area-um2", "0")
    file = out / "slide.geojson"
    first = by_id(file)
    cut, locked, deleted = largest(first)[-3:]
    edited = {**first, cut.id: replace(cut, geometry=cut.geometry.buffer(-1) or cut.geometry, name="mine")}
    edited[locked.id] = replace(locked, is_locked=True)
    del edited[deleted.id]
    write_objects(file, edited.values())
    shutil.copy(file, tmp_path / "edited.geojson")
    edited = by_id(file)

    second_run = document(*predict, "--min-area-um2", "300")
    second = by_id(file)
    undone = document("jobs", "undo", second_run["job_id"], *place)
    after = by_id(file)

    (told,) = second_run["slides"]
    assert second[cut.id] == edited[cut.id]
    assert second[locked.id].is_locked
    assert deleted.id not in second
    assert (told["kept"], told["replaced"]) == (2, len(first) - 3)
    assert told["objects"] == len(second) == told["added"] + 2 < len(first)
    assert after == edited
    assert undone["slides"] == [
        {"stem": "slide", "removed": told["added"], "restored": len(first) - 3, "kept": 2, "dropped": 0}
    ]

    undone = document("jobs", "undo", first_run["job_id"], *place)
    assert set(by_id(file)) == {cut.id, locked.id}
    assert undone["slides"][0]["removed"] == len(first) - 3
    assert document("jobs", "undo", first_run["job_id"], *place, code=1)["error"]["reason"] == "NOTHING_TO_UNDO"


def test_an_unknown_job_cannot_be_undone(state: None) -> None:
    for place in ([], ["--server"]):
        assert document("jobs", "undo", "none", *place, code=1)["error"]["reason"] == "JOB_NOT_FOUND"
