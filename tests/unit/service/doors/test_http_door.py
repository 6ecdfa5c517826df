"""The servicers by the Connect protocol."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest

from qpbridge.service.servicers.caller import Caller
from qpbridge.v1 import job_pb2

Behind = Callable[..., None]
LIMITS = {"message_bytes_max": 100_000, "streams_max": 2}
WATCH = "/qpbridge.v1.JobService/WatchJob"


def test_messages_go_in_and_out_as_json_and_as_protobuf(behind: Behind) -> None:
    async def work(door: Any) -> None:
        reply = await door.job("j1", qpbridge_client="anna")
        assert (reply.status, reply.json) == (200, {"job": {"id": "j1", "progress": {"done": str(2**60)}}})
        assert door.answers.callers == [Caller(client="anna")]

        content = job_pb2.GetJobRequest(job_id="j2").SerializeToString()
        reply = await door.ask("/qpbridge.v1.JobService/GetJob", content, content_type="application/proto")
        assert job_pb2.GetJobResponse.FromString(reply.content).job.id == "j2"
        assert door.answers.callers[-1] == Caller(client="127.0.0.1")

    behind(work)


def test_a_body_may_be_empty_where_all_fields_may(behind: Behind) -> None:
    async def work(door: Any) -> None:
        assert (await door.ask("/qpbridge.v1.JobService/ListJobs", b"")).json == {}

    behind(work)


def test_errors_keep_status_code_words_and_reason_and_traces_of_defects_stay_inside(
    behind: Behind, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(door: Any) -> None:
        missing = await door.job("none")
        assert (missing.status, missing.json["code"], missing.reason) == (404, "not_found", "JOB_NOT_FOUND")
        assert missing.json["message"] == "no job 'none'; µ"

        defect = await door.job("defect")
        assert (defect.status, defect.reason) == (500, "INTERNAL")
        assert "Traceback" not in defect.json["message"]

    with caplog.at_level(logging.ERROR, logger="qpbridge"):
        behind(work)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[1]", "qpbridge.v1.GetJobRequest"),
        (b"{", "qpbridge.v1.GetJobRequest"),
        (b'{"jobbId": "x"}', 'no field named "jobbId"'),
        (b'{"jobId": 5}', "jobId"),
        (b'{"jobId": "\xff"}', "qpbridge.v1.GetJobRequest"),
        (b"[" * 90_000, "qpbridge.v1.GetJobRequest"),
    ],
)
def test_what_is_no_message_is_refused_in_our_words(behind: Behind, content: bytes, told: str) -> None:
    async def work(door: Any) -> None:
        reply = await door.ask("/qpbridge.v1.JobService/GetJob", content)
        assert (reply.status, reply.reason) == (400, "INVALID_VALUE")
        assert told in reply.json["message"]

    behind(work, limits=LIMITS)


def test_a_broken_protobuf_message_is_refused_too(behind: Behind) -> None:
    async def work(door: Any) -> None:
        reply = await door.ask("/qpbridge.v1.JobService/GetJob", b"\xff\xff\xff", content_type="application/proto")
        assert (reply.status, reply.reason) == (400, "INVALID_VALUE")

    behind(work)


@pytest.mark.parametrize("kind", ["json", "proto"])
def test_what_is_too_large_is_refused_with_what_would_fit(behind: Behind, kind: str) -> None:
    async def work(door: Any) -> None:
        content = {
            "json": json.dumps({"jobId": "x" * 100_000}).encode(),
            "proto": job_pb2.GetJobRequest(job_id="x" * 100_000).SerializeToString(),
        }[kind]
        reply = await door.ask("/qpbridge.v1.JobService/GetJob", content, content_type=f"application/{kind}")
        assert (reply.status, reply.reason) == (413, "TOO_LARGE")
        assert "this server takes 100,000 at once" in reply.json["message"]

    behind(work, limits=LIMITS)


def test_a_stream_comes_as_frames_and_ends_with_one_that_says_so(behind: Behind) -> None:
    async def work(door: Any) -> None:
        reply, found = await door.watch("j1")
        assert reply.status == 200
        assert found == [{"job": {"id": "0"}}, {"job": {"id": "1"}}, {"job": {"id": "2"}}, {}]

        _, found = await door.watch("fails")
        assert [frame["job"]["id"] for frame in found[:-1]] == ["0", "1", "2"]
        assert found[-1]["error"]["message"] == "not that"
        assert found[-1]["error"]["details"][0]["debug"] == {"reason": "INVALID_VALUE", "domain": "qpbridge"}

    behind(work)


def begin_stream(door: Any) -> socket.socket:
    """Begin to watch, and read what comes first."""
    host, _, port = door.address.rpartition(":")
    line = socket.create_connection((host, int(port)), timeout=30)
    content = b'\0\0\0\0\x13{"jobId":"endless"}'
    head = f"POST {WATCH} HTTP/1.1\r\nhost: {door.address}\r\ncontent-type: application/connect+json\r\n"
    token = f"authorization: {door.own['authorization']}\r\ncontent-length: {len(content)}\r\n\r\n"
    line.sendall((head + token).encode() + content)
    assert line.recv(100).startswith(b"HTTP/1.1 200")
    return line


def test_a_stream_is_closed_at_once_when_its_client_goes_away(behind: Behind) -> None:
    async def work(door: Any) -> None:
        line = await asyncio.to_thread(begin_stream, door)
        line.close()
        await door.answers.closed.wait()

    behind(work)


def test_streams_beyond_the_limit_are_refused_until_one_ends(behind: Behind) -> None:
    async def work(door: Any) -> None:
        lines = [await asyncio.to_thread(begin_stream, door) for _ in range(2)]
        _, refusal = await door.watch("j1")
        lines[0].close()
        await door.answers.closed.wait()
        _, taken = await door.watch("j1")
        lines[1].close()

        assert refusal[0]["error"]["details"][0]["debug"]["reason"] == "TOO_MANY_STREAMS"
        assert len(taken) == 4

    behind(work, limits=LIMITS)


def test_nothing_that_is_compressed_is_unpacked(behind: Behind) -> None:
    async def work(door: Any) -> None:
        reply = await door.ask("/qpbridge.v1.JobService/GetJob", b"\x1f\x8b", content_encoding="gzip")
        assert reply.status == 501
        assert "compression is not supported" in reply.json["message"]

    behind(work)
