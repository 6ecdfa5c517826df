"""Where the server listens: on this machine only, unless the connection is encrypted."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Final

import grpc

from qpbridge.errors import InvalidValueError
from qpbridge.service.configuration import ServerConfiguration, Tls

_ANY: Final = frozenset({"0.0.0.0", "::"})


def is_loopback(host: str) -> bool:
    """Return whether an address is this machine's own, whatever name it is given by.

    Raises
    ------
    InvalidValueError
        If there is no such host.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InvalidValueError(f"host '{host}' cannot be listened at: {error}; give an address") from error
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def check_address(configuration: ServerConfiguration) -> None:
    """Refuse to be reached from other machines without encryption.

    Raises
    ------
    InvalidValueError
        If others could reach the server, and read along.
    """
    if not configuration.tls.is_used and not is_loopback(configuration.host):
        raise InvalidValueError(
            f"host {configuration.host} can be reached from other machines, and the token would cross the network in"
            " the open: give certificate and key (--tls-cert, --tls-key), or take 127.0.0.1 and a tunnel (ssh -L)"
        )


def bind(server: grpc.aio.Server, configuration: ServerConfiguration) -> str:
    """Listen, and return the address for clients on this machine: ``"127.0.0.1:50051"``.

    Raises
    ------
    InvalidValueError
        If the port is taken, or certificate or key cannot be used.
    """
    host, port, tls = configuration.host, configuration.port, configuration.tls
    target = _joined(host, port)
    try:
        bound = server.add_secure_port(target, _credentials(tls)) if tls.is_used else server.add_insecure_port(target)
    except RuntimeError as error:
        raise InvalidValueError(
            f"cannot listen at {target}: somebody else does, it is not allowed, or the certificate and key in [tls] do"
            " not fit each other; take another port, or 0 for a free one"
        ) from error
    return _joined("localhost" if host in _ANY else host, bound)


def bind_http(configuration: ServerConfiguration) -> tuple[socket.socket, str]:
    """Return a socket that is bound for HTTP, and its address for clients on this machine.

    Raises
    ------
    InvalidValueError
        If the port is taken.
    """
    host, port = configuration.host, configuration.http_port
    # Of a name that has several, the old form: Java asks there first, and often only there.
    found = sorted(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    family, *_, address = found[0]
    # Named, since asyncio sends small answers at once only where it sees that this is TCP: otherwise each takes 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise InvalidValueError(
            f"cannot listen at {_joined(host, port)} for HTTP ({error.strerror}): take another --http-port, or 0 for"
            " a free one"
        ) from error
    return listening, _joined("localhost" if host in _ANY else host, listening.getsockname()[1])


def trusted(tls: Tls) -> Path | None:
    """Return the file of certificates that clients on this machine trust; None without encryption."""
    return tls.authority or tls.certificate


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    assert tls.key is not None
    assert tls.certificate is not None
    pair = (_read(tls.key), _read(tls.certificate))
    clients = None if tls.client_authority is None else _read(tls.client_authority)
    return grpc.ssl_server_credentials([pair], root_certificates=clients, require_client_auth=clients is not None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidValueError(f"{path} in [tls] cannot be read ({error.strerror}); give a PEM file") from error
