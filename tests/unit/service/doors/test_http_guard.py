"""Attempts to come in at the door of HTTP: each is refused, in the words of the other door."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from qpbridge.service.configuration import ServerConfiguration
from qpbridge.service.doors.http_guard import host_names, split_host
from qpbridge.wire.metadata import BEARER

Behind = Callable[..., None]
RIGHT = f"{BEARER}s3cret"


@pytest.mark.parametrize(
    "shown", [None, "", "s3cret", f"{RIGHT}x", RIGHT[:-1], RIGHT.lower(), "Basic s3cret", f"{RIGHT},{RIGHT}", "é"]
)
@pytest.mark.parametrize("path", ["/qpbridge.v1.JobService/GetJob", "/v1/jobs/j/results/e.geojson.gz", "/", "/secret"])
def test_nobody_comes_in_without_exactly_the_token(behind: Behind, shown: str | None, path: str) -> None:
    async def work(door: Any) -> None:
        for verb in ("POST", "GET"):
            reply = await door.ask(path, verb=verb, authorization=shown)
            assert (reply.status, reply.reason) == (401, "TOKEN_REFUSED")
            assert "s3cret" not in reply.content.decode()
        assert not door.answers.callers + door.answers.asked

    behind(work)


@pytest.mark.parametrize(
    "header",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-mode": "no-cors"},
    ],
)
def test_no_web_page_comes_in_even_with_the_token(behind: Behind, header: dict[str, str]) -> None:
    async def work(door: Any) -> None:
        for verb in ("POST", "OPTIONS", "GET"):
            reply = await door.ask("/qpbridge.v1.JobService/GetJob", verb=verb, **header)
            assert (reply.status, reply.reason) == (403, "ORIGIN_REFUSED")
            assert not [name for name in reply.headers if name.startswith("access-control")]
        assert not door.answers.callers

    behind(work)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:{port}", "127.0.0.1:1", "10.1.2.3", "", "[::1"]
)
def test_a_name_that_was_made_to_point_here_is_refused(behind: Behind, host: str) -> None:
    async def work(door: Any) -> None:
        port = door.address.rpartition(":")[2]
        reply = await door.job("j1", host=host.format(port=port))
        assert reply.status in {400, 403}
        assert not door.answers.callers

    behind(work)


@pytest.mark.parametrize(
    "host", ["localhost:{port}", "LocalHost.:{port}", "127.0.0.1:{port}", "localhost", "[::1]:{port}"]
)
def test_the_names_of_this_machine_are_taken(behind: Behind, host: str) -> None:
    async def work(door: Any) -> None:
        reply = await door.job("j1", host=host.format(port=door.address.rpartition(":")[2]))
        assert reply.status == 200

    behind(work)


def test_other_names_are_taken_where_the_configuration_says_so(behind: Behind) -> None:
    async def work(door: Any) -> None:
        assert (await door.job("j1", host="GPU.lab")).status == 200
        assert "gpu.lab" in (await door.job("j1", host="other.lab")).json["message"]

    behind(work, http_hosts=("gpu.lab",))


@pytest.mark.parametrize(
    ("path", "verb", "kind", "status"),
    [
        ("/qpbridge.v1.JobService/GetJob", "POST", "text/plain", 400),
        ("/qpbridge.v1.JobService/GetJob", "POST", None, 400),
        ("/qpbridge.v1.JobService/GetJob", "POST", "application/grpc-web", 400),
        ("/qpbridge.v1.JobService/GetJob", "POST", "application/connect+json", 400),
        ("/qpbridge.v1.JobService/WatchJob", "POST", "application/json", 400),
        ("/qpbridge.v1.JobService/GetJob", "GET", "application/json", 400),
        ("/qpbridge.v1.JobService/GetJob", "DELETE", "application/json", 400),
        ("/v1/jobs/j/results/e.geojson", "POST", "application/json", 400),
        ("/qpbridge.v1.JobService/Nothing", "POST", "application/json", 501),
        ("/qpbridge.v1.JobService/GetJob/", "POST", "application/json", 501),
        ("/favicon.ico", "GET", None, 501),
    ],
)
def test_what_is_asked_in_another_way_is_told_how(
    behind: Behind, path: str, verb: str, kind: str | None, status: int
) -> None:
    async def work(door: Any) -> None:
        reply = await door.ask(path, verb=verb, content_type=kind)
        assert reply.status == status
        assert reply.reason == {400: "INVALID_VALUE", 501: "SERVER_VERSION"}[status]
        assert path in reply.json["message"]

    behind(work)


def said(door: Any, *lines: str, body: bytes = b"") -> bytes:
    """Say something over a socket, and return the whole answer, up to the end of the connection."""
    host, _, port = door.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        told = b""
        with contextlib.suppress(ConnectionError):
            line.sendall("\r\n".join((*lines, "connection: close", "", "")).format(host=door.address).encode() + body)
            while part := line.recv(65536):
                told += part
        return told


KNOWN = ("authorization: " + RIGHT, "content-type: application/json")
ASK = "POST /qpbridge.v1.JobService/GetJob HTTP/1.1"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ((ASK, "host: {host}", "host: evil.example", "content-length: 2"), b"{}"),
        ((ASK, "content-length: 2"), b"{}"),
        (
            ("POST http://evil.example/qpbridge.v1.JobService/GetJob HTTP/1.1", "host: {host}", "content-length: 2"),
            b"{}",
        ),
        ((ASK, "host: {host}", "content-length: 2", "content-length: 3"), b"{}"),
        ((ASK, "host: {host}", "content-length: -1"), b"{}"),
        ((ASK, "host: {host}", "transfer-encoding: gzip, chunked"), b"2\r\n{}\r\n0\r\n\r\n"),
        ((ASK, "host: {host}", "transfer-encoding : chunked"), b"2\r\n{}\r\n0\r\n\r\n"),
        ((ASK, "host: {host}", "transfer-encoding: chunked"), b"zz\r\n{}\r\n0\r\n\r\n"),
        ((ASK, "host: {host}", "x: " + "x" * 1_000_000), b""),
        (("OPTIONS * HTTP/1.1", "host: {host}", "origin: null", "access-control-request-method: POST"), b""),
        (("CONNECT evil.example:80 HTTP/1.1", "host: {host}"), b""),
        (("TRACE /v1/jobs/ HTTP/1.1", "host: {host}"), b""),
        (("GET /v1/jobs/%2e%2e/%2e%2e/etc/passwd HTTP/1.1", "host: {host}"), b""),
    ],
)
def test_what_is_framed_or_addressed_oddly_reaches_nobody(behind: Behind, lines: tuple[str, ...], body: bytes) -> None:
    async def work(door: Any) -> None:
        told = await asyncio.to_thread(said, door, *lines, *KNOWN, body=body)
        assert told == b"" or told.split(b" ", 2)[1][:1] in {b"4", b"5"}, told
        assert b"access-control" not in told
        assert not door.answers.callers + door.answers.asked

    behind(work)


def test_a_call_hidden_in_the_body_of_another_needs_the_token_too(behind: Behind) -> None:
    hidden = f"{ASK}\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"

    async def work(door: Any) -> None:
        lines = (ASK, "host: {host}", *KNOWN, "content-length: 3", "transfer-encoding: chunked")
        told = await asyncio.to_thread(said, door, *lines, body=b"2\r\n{}\r\n0\r\n\r\n" + hidden.encode())
        assert told.count(b"HTTP/1.1 200") <= 1
        assert len(door.answers.callers) <= 1

    behind(work)


def test_a_body_of_unknown_length_is_broken_off_where_it_is_too_large(behind: Behind) -> None:
    async def work(door: Any) -> None:
        lines = (ASK, "host: {host}", *KNOWN, "transfer-encoding: chunked")
        told = await asyncio.to_thread(said, door, *lines, body=b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n")
        assert told == b"" or told.split(b" ", 2)[1] in {b"413", b"429"}
        assert not door.answers.callers

    behind(work, limits={"message_bytes_max": 100_000})


def test_a_body_that_is_far_too_large_is_refused_before_it_is_read(behind: Behind) -> None:
    async def work(door: Any) -> None:
        reply = await door.ask("/qpbridge.v1.JobService/GetJob", b"", content_length=str(2**40))
        assert (reply.status, reply.reason) == (413, "TOO_LARGE")

    behind(work)


def test_every_answer_says_that_it_is_no_page_and_is_not_to_be_kept(behind: Behind) -> None:
    async def work(door: Any) -> None:
        for reply in (await door.job("j1"), await door.job("none"), await door.ask("/")):
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["cache-control"] == "no-store"
            assert "server" not in reply.headers

    behind(work)


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("a.b:80", ("a.b", 80)),
        ("a", ("a", None)),
        ("[::1]:5", ("::1", 5)),
        ("[::1]", ("::1", None)),
        ("a:", ("a", None)),
        ("a:x", ("a", -1)),
        ("a:1:2", ("a", -1)),
        ("", ("", None)),
    ],
)
def test_a_host_is_taken_apart(host: str, parts: tuple[str, int | None]) -> None:
    assert split_host(host) == parts


def test_names_are_told_in_lower_case(tmp_path: Any) -> None:
    names = host_names(ServerConfiguration.load(None, state=tmp_path, host="127.0.0.1", http_hosts=("GPU.Lab.",)))

    assert {"localhost", "127.0.0.1", "gpu.lab"} <= names
