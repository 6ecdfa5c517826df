from pathlib import Path
from typing import Any

import pytest
from fake_server import job

from qpbridge.client.delivery import delivery, keys_of
from qpbridge.errors import InvalidValueError, ServerFaultError, UnknownNameError
from qpbridge.jobs.records import JobState
from qpbridge.v1.prediction_pb2 import GetResultsResponse

PREDICTED = {"slides": [{"key": "1", "name": "a.svs"}, {"key": "2", "name": "b.svs"}]}
EXPORTED = {
    "entries": [{"id": "1", "name": "a.svs", "geojson": "/o/1.geojson"}, {"id": "2", "name": "b.svs", "geojson": None}]
}


def named(name: str, size: int) -> GetResultsResponse:
    return GetResultsResponse(file={"name": name, "size_bytes": size})


def data(content: bytes) -> GetResultsResponse:
    return GetResultsResponse(data=content)


def deliver(folder: Path, *parts: Any) -> Path:
    with delivery(folder) as file:
        for part in parts:
            file.take(part)
    return file.path


def test_a_file_appears_under_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with delivery(tmp_path / "new") as file:
        for part in (named("1-a.geojson", 5), data(b"{  "), data(b" }")):
            file.take(part)
            assert not (tmp_path / "new" / "1-a.geojson").exists()

    assert file.path == tmp_path / "new" / "1-a.geojson"
    assert file.path.read_bytes() == b"{   }"


def test_an_empty_file_is_whole_too(tmp_path: Path) -> None:
    assert deliver(tmp_path, named("a.geojson", 0)).read_bytes() == b""


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [named("a.geojson", 3), data(b"{}")],
        [named("a.geojson", 1), data(b"{}")],
        [data(b"{}")],
        [named("a.geojson", 0), named("b.geojson", 0)],
        [named("../a.geojson", 0)],
        [named("/tmp/a.geojson", 0)],
        [named("..\\a.geojson", 0)],
        [named("..", 0)],
        [named("", 0)],
    ],
)
def test_what_is_not_whole_or_would_lie_elsewhere_leaves_nothing(parts: list[Any], tmp_path: Path) -> None:
    folder = tmp_path / "folder"

    with pytest.raises(ServerFaultError):
        deliver(folder, *parts)

    assert [path for path in tmp_path.rglob("*") if path != folder] == []


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_bytes(b"old")

    with pytest.raises(ServerFaultError):
        deliver(tmp_path, named("a.geojson", 9), data(b"new"))

    assert (tmp_path / "a.geojson").read_bytes() == b"old"
    assert deliver(tmp_path, named("a.geojson", 3), data(b"new")).read_bytes() == b"new"


@pytest.mark.parametrize(
    ("entries", "keys"), [(None, ["1", "2"]), (["2"], ["2"]), (["a.svs"], ["1"]), (["b.svs", "1"], ["1", "2"])]
)
def test_entries_are_named_by_key_or_image_name(entries: list[str] | None, keys: list[str]) -> None:
    assert keys_of(job(JobState.PARTLY_DONE, kind="predict", result=PREDICTED), entries) == keys


def test_an_export_has_files_where_there_was_something_to_write() -> None:
    assert keys_of(job(JobState.SUCCEEDED, kind="export", result=EXPORTED), None) == ["1"]


def test_an_unknown_entry_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"'c\.svs' in job 7; there are: a\.svs, b\.svs"):
        keys_of(job(JobState.SUCCEEDED, kind="predict", result=PREDICTED), ["c.svs"])


@pytest.mark.parametrize("ended", [job(kind="predict"), job(JobState.SUCCEEDED, kind="train", result={})])
def test_jobs_without_files_say_so(ended: Any) -> None:
    with pytest.raises(InvalidValueError, match="no files to fetch"):
        keys_of(ended, None)
