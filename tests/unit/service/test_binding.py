"""Where a server listens; TLS is tried in tests/integration/test_service_security.py."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from qpbridge.errors import InvalidValueError
from qpbridge.service.binding import bind, bind_http, check_address, is_loopback, trusted
from qpbridge.service.configuration import ServerConfiguration, Tls


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_an_address_of_this_machine_is_told_from_others(host: str) -> None:
    assert is_loopback(host)
    check_address(ServerConfiguration.load(None, host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "0", "8.8.8.8", "fe80::1", "::ffff:8.8.8.8"])
def test_an_address_that_others_reach_needs_encryption(host: str, tmp_path: Path) -> None:
    tls = Tls(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")

    with pytest.raises(InvalidValueError, match=r"give certificate and key \(--tls-cert, --tls-key\)"):
        check_address(ServerConfiguration.load(None, host=host))
    check_address(ServerConfiguration.load(None, host=host, tls=tls))


@pytest.mark.parametrize("host", ["unix:/tmp/x", "no such host", "127.0.0.1:80", "dns:///x", "\ud800", "a" * 300])
def test_what_is_no_host_is_told(host: str) -> None:
    with pytest.raises(InvalidValueError, match="cannot be listened at"):
        is_loopback(host)


def bound(**options: Any) -> str:
    async def listen() -> str:
        server = grpc.aio.server()
        try:
            return bind(server, ServerConfiguration.load(None, **options))
        finally:
            await server.stop(None)

    return asyncio.run(listen())


def test_the_address_names_the_port_that_was_found() -> None:
    host, _, port = bound().rpartition(":")

    assert host == "127.0.0.1"
    assert int(port) > 0
    assert bound(host="::1").startswith("[::1]:")


def test_files_of_a_certificate_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    with pytest.raises(InvalidValueError, match=r"k\.pem in \[tls\] cannot be read"):
        bound(tls=Tls(certificate=certificate, key=key))
    for path in (certificate, key):
        path.write_text("nonsense")
    with pytest.raises(InvalidValueError, match="do not fit each other"):
        bound(tls=Tls(certificate=certificate, key=key))


def test_clients_trust_the_authority_or_else_the_certificate(tmp_path: Path, finish: Callable[..., Any]) -> None:
    pair = {"certificate": tmp_path / "c", "key": tmp_path / "k"}

    assert trusted(Tls()) is None
    assert trusted(Tls(**pair)) == tmp_path / "c"
    assert trusted(Tls(**pair, authority=tmp_path / "a")) == tmp_path / "a"


@pytest.mark.parametrize(
    ("host", "told"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("0.0.0.0", "localhost")]
)
def test_the_socket_of_http_listens_where_it_is_told(host: str, told: str) -> None:
    listening, address = bind_http(ServerConfiguration.load(None, host=host))

    with listening:
        assert address == f"{told}:{listening.getsockname()[1]}"
        assert listening.proto == socket.IPPROTO_TCP  # or answers wait for more to send
