"""Files of results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import InvalidValueError, PathRefusedError, PredictionNotFoundError
from qpbridge.jobs.records import Job, JobState, utc_now
from qpbridge.service.places import AllowedPlaces
from qpbridge.service.servicers.results import PART_BYTES, find_file, parts_of

SLIDES = [
    {"key": "1", "name": "a.svs", "file": "/r/1.geojson"},
    {"key": "2", "name": "1", "file": "/r/2.geojson"},
    {"key": "3", "name": "twice", "file": "/r/3.geojson"},
    {"key": "4", "name": "twice", "file": "/r/4.geojson"},
]
ENTRIES = [{"id": "1", "name": "a.svs", "geojson": "/r/1.geojson.gz"}, {"id": "2", "name": "b", "geojson": None}]


def job(kind: str, **result: Any) -> Job:
    state = JobState.SUCCEEDED if result else JobState.RUNNING
    return Job(id="j", kind=kind, title="", client="", device="", state=state, created=utc_now(), result=result or None)


def test_a_file_is_found_by_key_before_name() -> None:
    predicted, exported = job("predict", slides=SLIDES), job("export", entries=ENTRIES)

    assert find_file(predicted, "1") == "/r/1.geojson"
    assert find_file(predicted, "a.svs") == "/r/1.geojson"
    assert find_file(exported, "1") == "/r/1.geojson.gz"
    assert find_file(predicted, "4") == "/r/4.geojson"


def test_what_has_no_file_says_what_has() -> None:
    with pytest.raises(PredictionNotFoundError, match="it has those of 1, 2, 3, 4"):
        find_file(job("predict", slides=SLIDES), "9")
    with pytest.raises(PredictionNotFoundError, match=r"it has those of 1$"):
        find_file(job("export", entries=ENTRIES), "2")
    with pytest.raises(InvalidValueError, match="2 entries of job 'j' are called 'twice'"):
        find_file(job("predict", slides=SLIDES), "twice")
    with pytest.raises(PredictionNotFoundError, match="is running"):
        find_file(job("predict"), "1")
    with pytest.raises(InvalidValueError, match="kind train has no files"):
        find_file(job("train", digest="f00d"), "1")


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 2 * PART_BYTES + 1])
def test_the_parts_are_the_file(size: int, places: AllowedPlaces, root: Path, finish: Callable[..., Any]) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    (root / "a.geojson.gz").write_bytes(content[:size])

    async def read() -> list[Any]:
        return [part async for part in parts_of(str(root / "a.geojson.gz"), places)]

    first, *rest = finish(read())
    assert (first.file.name, first.file.size_bytes, first.file.is_gzipped) == ("a.geojson.gz", size, True)
    assert b"".join(part.data for part in rest) == content[:size]
    assert all(0 < len(part.data) <= PART_BYTES for part in rest)


def test_a_file_that_is_gone_or_leads_elsewhere_is_not_sent(
    places: AllowedPlaces, root: Path, finish: Callable[..., Any]
) -> None:
    (root / "link.geojson").symlink_to("/etc/passwd")

    async def read(name: str) -> None:
        async for _ in parts_of(str(root / name), places):
            raise AssertionError("it was sent")

    with pytest.raises(PathRefusedError):
        finish(read("link.geojson"))
    with pytest.raises(PredictionNotFoundError, match="predict again"):
        finish(read("gone.geojson"))
