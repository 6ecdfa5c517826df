"""Encryption, and the end of the server of HTTP."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from qpbridge.errors import InvalidValueError
from qpbridge.service.configuration import Tls
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
