"""Files that are whole or not there: written beside the target, then renamed.

A process that is killed cannot remove what it was writing: ``list_temporaries`` lets another one do so, by
``remove_listed``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from qpbridge.errors import DiskFullError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when it is complete.

    Parameters
    ----------
    target : Path
        Replaced if it exists. Its folder is made where it is missing.

    Raises
    ------
    DiskFullError
        If the disk has no space left; the target is then as before.
    """
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _listed(target)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise _told(error, target) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
            _unlisted()


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target`` that takes its name when the block ends well.

    An existing folder of that name is replaced, and kept until the new one is in place.

    Raises
    ------
    DiskFullError
        If the disk has no space left; the target is then as before.
    """
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _listed(target)
        temporary.mkdir()
        yield temporary
        _exchange(temporary, target)
    except OSError as error:
        raise _told(error, target) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
            _unlisted()


def write_bytes(target: Path, content: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_file(target) as file:
        file.write(content)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def list_temporaries(listing: Path) -> Iterator[None]:
    """Write down every temporary of this process, before it is made, as long as the block lasts.

    Parameters
    ----------
    listing : Path
        File of paths; empty whenever nothing is being written, gone after the block.
    """
    global _listing  # noqa: PLW0603
    former, _listing = _listing, _Listing(listing)
    try:
        yield
    finally:
        _listing.close()
        _listing = former
        listing.unlink(missing_ok=True)


def remove_listed(listing: Path) -> int:
    """Remove what a dead process left half-written, and put back what it was about to replace.

    Parameters
    ----------
    listing : Path
        Written by ``list_temporaries`` in that process; removed. It may be missing.

    Returns
    -------
    int
        How many temporaries there were.
    """
    if not listing.exists():
        return 0
    count = sum(_remove(*entry) for entry in map(_entry, listing.read_bytes().splitlines()) if entry)
    listing.unlink(missing_ok=True)
    return count


class _Listing:
    """File of the temporaries that there are at the moment."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._count = 0

    def add(self, temporary: Path, replaced: Path | None) -> None:
        # Paths need not be text: JSON keeps what os.fsdecode made of their bytes.
        entry = [str(temporary.absolute()), None if replaced is None else str(replaced.absolute())]
        with self._lock:
            self._file.write(b"\n" + json.dumps(entry).encode("ascii"))
            self._count += 1

    def drop(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                self._file.truncate(0)

    def close(self) -> None:
        self._file.close()


# Of the process, since whoever writes a file deep inside a workflow cannot know who will outlive it.
_listing: _Listing | None = None


def _listed(target: Path, replaced: Path | None = None) -> Path:
    """Return a free name beside ``target``, written down where that is asked for."""
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    if _listing is not None:
        _listing.add(temporary, replaced)
    return temporary


def _unlisted() -> None:
    if _listing is not None:
        _listing.drop()


def _entry(line: bytes) -> tuple[Path, Path | None] | None:
    try:
        temporary, replaced = json.loads(line)
    except ValueError:
        return None  # cut, so that its temporary was not made
    return Path(temporary), None if replaced is None else Path(replaced)


def _remove(temporary: Path, replaced: Path | None) -> bool:
    if not temporary.exists():
        return False
    if replaced is not None and not replaced.exists() and (temporary / replaced.name).exists():
        (temporary / replaced.name).rename(replaced)
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)
    return True


def _exchange(new: Path, target: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    old = _listed(target, replaced=target)
    kept = old / target.name
    try:
        old.mkdir()
        target.rename(kept)
        new.rename(target)
    except OSError:
        if kept.exists():
            kept.rename(target)
        old.rmdir()
        raise
    finally:
        _unlisted()
    shutil.rmtree(old, ignore_errors=True)


def _told(error: OSError, target: Path) -> Exception:
    if error.errno in _NO_SPACE:
        free = shutil.disk_usage(next(p for p in target.parents if p.exists())).free
        return DiskFullError(
            f"no space left for {target} ({free / 1e6:.0f} MB free); nothing was changed: make room, or write elsewhere"
        )
    return error
