"""The file by which clients of the same user find a server and its token: ``server.json`` in the state folder."""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from qpbridge.errors import DamagedDiscoveryError, DiscoveryUnsafeError, ServerNotRunningError
from qpbridge.jobs.store.state_folder import ENVIRONMENT

FILE: Final = "server.json"

_SIZE_MAX_BYTES: Final = 65_536
_OWNER_ONLY: Final = 0o600
_OTHERS: Final = 0o077
_HAS_RIGHTS: Final = os.name == "posix"
"""Elsewhere the folders of a user are closed to others by the system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """How to reach a server.

    Parameters
    ----------
    address : str
        ``HOST:PORT`` of gRPC.
    http_address : str or None
        ``HOST:PORT`` of HTTP; None where that door is closed.
    pid : int
        Process of the server.
    token : str
        To be shown with each call.
    started : datetime
        Of the server, with its zone.
    tls_ca : str or None
        File of the certificates to trust; None where the connection is not encrypted.
    version : str
        Of qpbridge.
    """

    address: str
    http_address: str | None = None
    pid: int
    token: str = field(repr=False)
    started: datetime.datetime
    tls_ca: str | None = None
    version: str


def write_discovery(folder: Path, discovery: Discovery) -> Path:
    """Write the discovery file of a server; an older one is replaced.

    The file is its owner's alone from its first byte, and appears when it is whole.

    Raises
    ------
    DiscoveryUnsafeError
        If the file system lets others read it all the same.
    OSError
        If it cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / FILE
    temporary = folder / f".{FILE}.{secrets.token_hex(4)}"
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as file:
            _refuse_if_open_to_others(os.fstat(file.fileno()), target)
            file.write(msgspec.json.encode(discovery))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def read_discovery(folder: Path) -> Discovery:
    """Return how to reach the server of a state folder.

    Raises
    ------
    ServerNotRunningError
        If there is no such file, or the process that wrote it is gone.
    DiscoveryUnsafeError
        If the file belongs to another user, or others may read or write it.
    DamagedDiscoveryError
        If no server wrote it like that.
    """
    discovery = _read(folder / FILE)
    if not _is_alive(discovery.pid):
        raise ServerNotRunningError(
            f"the server that {folder / FILE} tells of is gone (process {discovery.pid}): start another one with"
            " `qpbridge serve`"
        )
    return discovery


def remove_discovery(folder: Path, discovery: Discovery) -> None:
    """Remove the discovery file of a server that stops; another server's stays."""
    with contextlib.suppress(ServerNotRunningError, DiscoveryUnsafeError, DamagedDiscoveryError):
        if _read(folder / FILE).token == discovery.token:
            (folder / FILE).unlink(missing_ok=True)


def _read(path: Path) -> Discovery:
    try:
        # Links are not followed: whoever could place one could name any file.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as error:
        raise ServerNotRunningError(
            f"looked for a server and found none: there is no {path}; start one with `qpbridge serve`, or name the"
            f" state folder of one in {ENVIRONMENT}"
        ) from error
    except OSError as error:
        raise DiscoveryUnsafeError(f"cannot open the discovery file {path} ({error.strerror}): {_REMEDY}") from error
    with os.fdopen(descriptor, "rb") as file:
        _refuse_if_open_to_others(os.fstat(file.fileno()), path)
        content = file.read(_SIZE_MAX_BYTES)
    try:
        return msgspec.json.decode(content, type=Discovery)
    except msgspec.MsgspecError as error:
        raise DamagedDiscoveryError(f"the discovery file {path} cannot be read ({error}): {_REMEDY}") from error


_REMEDY: Final = "remove it, then start the server again"


def _refuse_if_open_to_others(status: os.stat_result, path: Path) -> None:
    if not _HAS_RIGHTS:
        return
    if not stat.S_ISREG(status.st_mode):
        raise DiscoveryUnsafeError(f"{path} is no regular file, so its token is not trusted: {_REMEDY}")
    if status.st_uid != os.geteuid():
        raise DiscoveryUnsafeError(
            f"{path} belongs to user {status.st_uid}, you are {os.geteuid()}: its token is not trusted; {_REMEDY}, or"
            f" set {ENVIRONMENT} to a folder of your own"
        )
    if status.st_mode & _OTHERS:
        raise DiscoveryUnsafeError(
            f"others may read or write {path} (rights {stat.S_IMODE(status.st_mode):o}), so its token is not secret:"
            f" {_REMEDY}; if that does not help, set {ENVIRONMENT} to a folder on a disk that keeps rights"
        )


def _is_alive(pid: int) -> bool:
    if not _HAS_RIGHTS:
        return True  # signal 0 is no question there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
