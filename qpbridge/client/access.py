"""Where a server is, and how one shows that one may ask it."""

from __future__ import annotations

import contextlib
import getpass
import ipaddress
import re
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import grpc

from qpbridge.errors import InvalidValueError, QpbridgeError, TokenRefusedError
from qpbridge.jobs.store.state_folder import default_state_folder
from qpbridge.wire.discovery import FILE, read_discovery
from qpbridge.wire.metadata import AUTHORIZATION, BEARER, CLIENT

_KEEPALIVE_MS: Final = 60_000
_TOKEN: Final = re.compile("[!-~]+")
"""What can stand in a header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a connection is encrypted.

    Parameters
    ----------
    ca : Path or None
        File of the certificates to trust; the system's where None.
    certificate, key : Path or None
        Files to show oneself by, for a server that asks for that.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidValueError("a client certificate and its key belong together: give both, or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what gRPC needs.

        Raises
        ------
        InvalidValueError
            If a file cannot be read.
        """
        return grpc.ssl_channel_credentials(_content(self.ca), _content(self.key), _content(self.certificate))


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a server.

    Parameters
    ----------
    address : str
        ``HOST:PORT``.
    token : str or None
        Shown with each call.
    tls : Tls or None
        None where the connection is not encrypted.
    origin : str
        Who says so, for messages.
    """

    address: str
    token: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    origin: str = "as given"

    def __post_init__(self) -> None:
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise InvalidValueError(f"a server's address is HOST:PORT, not '{self.address}'")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise TokenRefusedError(
                "token: what was given for it is none, since a token is one word; copy it from the discovery file"
                " of the server (server.json in its state folder)"
            )

    @property
    def host(self) -> str:
        """Name or number, without brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Of gRPC."""
        return int(self.address.rpartition(":")[2])

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, so that both see the same files."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def metadata(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return what goes with each call.

        Parameters
        ----------
        name : str
            How the client calls itself.
        """
        shown = () if self.token is None else ((AUTHORIZATION, f"{BEARER}{self.token}"),)
        return (*shown, (CLIENT, name.encode("ascii", "backslashreplace").decode()))

    def options(self) -> list[tuple[str, Any]]:
        """Return the options of a channel."""
        return [
            # The report on a project of ten thousand slides is longer than gRPC's 4 MiB.
            ("grpc.max_receive_message_length", -1),
            # A proxy of the environment does not lead back to this machine.
            ("grpc.enable_http_proxy", 0 if self.is_local else 1),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ]


def find_access(
    address: str | None = None, token: str | None = None, tls: Tls | None = None, folder: Path | None = None
) -> Access:
    """Return how to reach the server at an address, or else the one that a discovery file tells of.

    Parameters
    ----------
    address : str or None
        ``HOST:PORT``; the discovery file is read where None.
    token : str or None
        Wins over the one in the discovery file; where None, that one, if the file tells of this address.
    tls : Tls or None
        Certificates of one's own; joins what the discovery file says.
    folder : Path or None
        State folder of the server; the user's where None.

    Raises
    ------
    ServerNotRunningError, DiscoveryUnsafeError, DamagedDiscoveryError
        If no server can be found; see ``read_discovery``.
    InvalidValueError
        If the address is none.
    """
    folder = folder or default_state_folder()
    if address is not None:
        return Access(address=address, token=token or _known_token(folder, address), tls=tls)
    found = read_discovery(folder)
    if found.tls_ca is not None:
        tls = replace(tls or Tls(), ca=(tls and tls.ca) or Path(found.tls_ca))
    return Access(address=found.address, token=token or found.token, tls=tls, origin=str(folder / FILE))


def own_name() -> str:
    """Return how a client calls itself unless told: ``user@machine``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def _known_token(folder: Path, address: str) -> str | None:
    with contextlib.suppress(QpbridgeError):
        found = read_discovery(folder)
        return found.token if found.address == address else None
    return None


def _content(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise InvalidValueError(f"{path} cannot be read ({error.strerror}); it must be a file in PEM form") from error
