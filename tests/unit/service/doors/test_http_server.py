"""Encryption, and the end of the server of HTTP."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from qpbridge.errors import InvalidValueError
from qpbridge.service.configuration import Tls
from qpbridge.service.doors import http_server
from qpbridge.service.doors.http_server import tls_context

Behind = Callable[..., None]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> dict[str, Path]:
    own = authority.issue_cert("localhost")
    own.private_key_pem.write_to_path(tmp_path / "k.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "c.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {"certificate": tmp_path / "c.pem", "key": tmp_path / "k.pem"}


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_with_tls_nobody_is_served_in_the_open(behind: Behind, files: dict[str, Path], authority: trustme.CA) -> None:
    async def work(door: Any) -> None:
        assert (await door.job("j1")).status == 200
        door.context = None
        with pytest.raises(OSError, match=r".*"):
            await door.job("j1")
        door.context = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            await door.job("j1")

    behind(work, trusting(authority), host="localhost", tls=files)


def test_clients_must_show_a_certificate_where_the_configuration_says_so(
    behind: Behind, files: dict[str, Path], authority: trustme.CA, tmp_path: Path
) -> None:
    async def work(door: Any) -> None:
        with contextlib.suppress(OSError):
            await door.job("j1")
        assert not door.answers.callers
        authority.issue_cert("anna@lab").configure_cert(door.context)
        assert (await door.job("j1")).status == 200

    behind(work, trusting(authority), host="localhost", tls={**files, "client_authority": tmp_path / "ca.pem"})


def test_a_key_that_does_not_fit_is_refused_at_once(
    files: dict[str, Path], authority: trustme.CA, tmp_path: Path
) -> None:
    authority.issue_cert("other").private_key_pem.write_to_path(tmp_path / "other.pem")

    for key in (tmp_path / "other.pem", tmp_path / "none.pem", files["certificate"]):
        with pytest.raises(InvalidValueError, match="cannot be used"):
            tls_context(Tls(certificate=files["certificate"], key=key))


def test_open_streams_are_ended_when_the_server_stops(behind: Behind) -> None:
    async def work(door: Any) -> None:
        watching = asyncio.create_task(door.watch("endless"))
        while not door.server.streams._open:
            await asyncio.sleep(0.01)
        await door.server.stop(0)
        await asyncio.gather(watching, return_exceptions=True)
        assert door.answers.closed.is_set()
        with pytest.raises(OSError, match=r".*"):
            await door.job("j1")

    behind(work)


GET_JOB = "/qpbridge.v1.JobService/GetJob"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_S", 0.2)


def opened(door: Any, text: str) -> socket.socket:
    host, _, port = door.address.rpartition(":")
    line = socket.create_connection((host, int(port)), timeout=30)
    line.sendall(text.encode())
    return line


def read_to_end(line: socket.socket) -> bytes:
    told = b""
    try:
        while part := line.recv(65536):
            told += part
    except ConnectionResetError:
        pass
    line.close()
    return told


@pytest.mark.parametrize("said", ["", "PO", f"POST {GET_JOB} HTTP/1.1\r\nhost: loc"])
@pytest.mark.usefixtures("hasty")
def test_a_connection_on_which_no_call_comes_is_ended(behind: Behind, said: str) -> None:
    async def work(door: Any) -> None:
        assert await asyncio.to_thread(lambda: read_to_end(opened(door, said))) == b""

    behind(work)


@pytest.mark.usefixtures("hasty")
def test_who_was_refused_may_not_go_on_sending(behind: Behind) -> None:
    async def work(door: Any) -> None:
        head = f"POST {GET_JOB} HTTP/1.1\r\nhost: {door.address}\r\ncontent-length: 90000\r\n\r\n{{"
        told = await asyncio.to_thread(lambda: read_to_end(opened(door, head)))
        assert told.startswith(b"HTTP/1.1 401")
        assert not door.answers.callers

    behind(work)


@pytest.mark.usefixtures("hasty")
def test_a_call_of_somebody_with_the_token_takes_as_long_as_it_takes(behind: Behind) -> None:
    content = '{"jobId":"j1"}'

    async def work(door: Any) -> None:
        told = f"authorization: {door.own['authorization']}\r\ncontent-type: application/json"
        head = f"POST {GET_JOB} HTTP/1.1\r\nhost: {door.address}\r\n{told}\r\ncontent-length: {len(content)}\r\n\r\n"
        line = await asyncio.to_thread(lambda: opened(door, head + content[:3]))
        await asyncio.sleep(3 * http_server.HEAD_S)
        line.sendall(content[3:].encode())
        assert (await asyncio.to_thread(line.recv, 100)).startswith(b"HTTP/1.1 200")
        line.close()

    behind(work)
