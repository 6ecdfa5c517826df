"""Files of results as downloads."""

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from qpbridge.v1 import prediction_pb2

Behind = Callable[..., None]
TEXT = b'{"type":"FeatureCollection","features":[]}' * 1000
PACKED = gzip.compress(TEXT)


def add(door: Any, entry: str, content: bytes, *, is_gzipped: bool) -> None:
    name = "1-a.geojson.gz" if is_gzipped else "1-a.geojson"
    file = prediction_pb2.ResultsFile(name=name, size_bytes=len(content), is_gzipped=is_gzipped)
    door.answers.files[entry] = file, [content[:1000], content[1000:]]


@pytest.mark.parametrize("is_gzipped", [True, False])
def test_a_file_comes_packed_or_not_however_it_lies_there(behind: Behind, is_gzipped: bool) -> None:
    async def work(door: Any) -> None:
        add(door, "1", PACKED if is_gzipped else TEXT, is_gzipped=is_gzipped)
        packed = await door.ask("/v1/jobs/j1/results/1.geojson.gz", None, verb="GET")
        plain = await door.ask("/v1/jobs/j1/results/1.geojson", None, verb="GET")

        assert gzip.decompress(packed.content) == plain.content == TEXT
        assert (packed.headers["content-type"], plain.headers["content-type"]) == (
            "application/gzip",
            "application/geo+json",
        )
        assert packed.headers["content-disposition"].endswith("1-a.geojson.gz")
        assert plain.headers["content-disposition"].endswith("1-a.geojson")
        assert door.answers.asked == [("j1", "1")] * 2

    behind(work)


def test_an_entry_may_have_any_name(behind: Behind) -> None:
    async def work(door: Any) -> None:
        name = "a b/ä.geojson?"
        add(door, name, TEXT, is_gzipped=False)
        reply = await door.ask("/v1/jobs/j1/results/a%20b/%C3%A4.geojson%3F.geojson", None, verb="GET")
        assert reply.content == TEXT

    behind(work)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/v1/jobs/j1/results/other.geojson", "JOB_NOT_FOUND"),
        ("/v1/jobs/j1/results/1.png", "PREDICTION_NOT_FOUND"),
        ("/v1/jobs/../results/1.geojson.gz", "JOB_NOT_FOUND"),
        ("/v1/jobs/", "PREDICTION_NOT_FOUND"),
    ],
)
def test_what_is_not_there_is_told_as_everywhere(behind: Behind, path: str, reason: str) -> None:
    async def work(door: Any) -> None:
        reply = await door.ask(path, None, verb="GET")
        assert (reply.status, reply.reason) == (404, reason)

    behind(work)


def test_downloads_count_as_streams(behind: Behind) -> None:
    async def work(door: Any) -> None:
        add(door, "1", TEXT, is_gzipped=False)
        door.server.streams._open = 2
        refused = await door.ask("/v1/jobs/j1/results/1.geojson", None, verb="GET")
        door.server.streams._open = 1
        taken = await door.ask("/v1/jobs/j1/results/1.geojson", None, verb="GET")
        assert (refused.status, refused.reason, taken.status) == (429, "TOO_MANY_STREAMS", 200)
        assert door.server.streams._open == 1

    behind(work, limits={"streams_max": 2})
