"""Files that are whole or not there: written beside the target, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
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
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise _told(error, target) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _exchange(temporary, target)
    except OSError as error:
        raise _told(error, target) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_file(target) as file:
        file.write(content)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _exchange(new: Path, target: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
    kept = old / target.name
    try:
        target.rename(kept)
        new.rename(target)
    except OSError:
        if kept.exists():
            kept.rename(target)
        old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _told(error: OSError, target: Path) -> Exception:
    if error.errno in _NO_SPACE:
        free = shutil.disk_usage(next(p for p in target.parents if p.exists())).free
        return DiskFullError(
            f"no space left for {target} ({free / 1e6:.0f} MB free); nothing was changed: make room, or write elsewhere"
        )
    return error
