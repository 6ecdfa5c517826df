"""The folder where the journal, locks and logs lie, and what dead processes left elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import platformdirs

from qpbridge.errors import ServerRunningError
from qpbridge.files import list_temporaries, remove_listed

ENVIRONMENT: Final = "QPBRIDGE_STATE"
"""Environment variable that names the folder."""

CLAIM_S: Final = 5.0
"""How long others may take for a look at whether a process lives, s."""

SERVER_END_S: Final = 1.0
"""How long a killed server's lock may stay closed, s: a process that it was about to start still holds it."""

_POLL_S: Final = 0.02


def default_state_folder() -> Path:
    """Return ``QPBRIDGE_STATE``, or else the place for such things in the user's home."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named).absolute() if named else platformdirs.user_state_path("qpbridge", appauthor=False)


class StateFolder:
    """Where things lie in a state folder; only its owner may look into it.

    Parameters
    ----------
    path : Path
        Made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def journal(self) -> Path:
        """Of all jobs."""
        return self.path / "jobs.sqlite3"

    @property
    def server_lock(self) -> Path:
        """Held by the server, and says who that is."""
        return self.path / "server.lock"

    def log(self, device: str) -> Path:
        """Return where the worker of a device writes what it has to say."""
        return self.path / "logs" / f"worker-{device.replace(':', '-')}.log"

    @contextlib.contextmanager
    def alive(self, name: str) -> Iterator[None]:
        """Let others know that this process lives, and what to remove when it does not any more.

        Parameters
        ----------
        name : str
            Of the process; nobody else's.
        """
        with FileLock(self._lock_of(name)) as lock:
            lock.acquire(CLAIM_S)
            with list_temporaries(self._listing_of(name)):
                yield
            lock.path.unlink(missing_ok=True)

    def is_alive(self, name: str) -> bool:
        """Return whether the process of a name lives, as far as it said so."""
        path = self._lock_of(name)
        if not path.exists():
            return False
        with FileLock(path) as lock:
            return not lock.acquire()

    def remove_leftovers(self, name: str, wait_s: float = 0.0) -> bool:
        """Remove what the dead process of a name left half-written.

        Parameters
        ----------
        name : str
            As in ``alive``.
        wait_s : float
            How long to wait for its end, s.

        Returns
        -------
        bool
            False where it lives and nothing was removed.
        """
        with FileLock(self._lock_of(name)) as lock:
            if not lock.acquire(wait_s):
                return False
            remove_listed(self._listing_of(name))
            lock.path.unlink(missing_ok=True)
            return True

    def names(self) -> list[str]:
        """Return the names of the processes that live, or died without tidying up."""
        return sorted(path.stem for path in self._processes.glob("*.lock"))

    @property
    def _processes(self) -> Path:
        return self.path / "processes"

    def _lock_of(self, name: str) -> Path:
        return self._processes / f"{name}.lock"

    def _listing_of(self, name: str) -> Path:
        return self._processes / f"{name}.list"


class FileLock:
    """A lock that the system opens when its holder ends, however that comes; a context manager.

    Parameters
    ----------
    path : Path
        May hold what others should know of the holder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self, wait_s: float = 0.0) -> bool:
        """Take the lock, or return False where somebody else holds it all that time."""
        end_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end_s:
                    return False
                time.sleep(_POLL_S)
            else:
                if os.fstat(self._file.fileno()).st_nlink:
                    return True
                # Who had it last has removed the file, so that nobody else would see this lock.
                self._file.close()
                self._file = self.path.open("a+b", buffering=0)

    def write(self, content: bytes) -> None:
        """Tell others something."""
        self._file.truncate(0)
        self._file.write(content)

    def read(self) -> bytes:
        """Return what the holder told."""
        self._file.seek(0)
        return self._file.read()

    def release(self) -> None:
        """Open the lock."""
        self._file.close()


class ServerLock:
    """Held by the one server of a state folder.

    Raises
    ------
    ServerRunningError
        If there is one already.
    """

    def __init__(self, folder: StateFolder) -> None:
        self._lock = FileLock(folder.server_lock)
        if not self._lock.acquire(SERVER_END_S):
            holder = _holder(self._lock.read())
            self._lock.release()
            raise ServerRunningError(
                f"a server works on {folder.path} already ({holder}): use it, stop it, or set {ENVIRONMENT} to another"
                " folder for this one"
            )
        self.tell("")

    def tell(self, address: str) -> None:
        """Let others know where this server listens."""
        self._lock.write(json.dumps({"pid": os.getpid(), "address": address}).encode())

    def release(self) -> None:
        """Let another server in."""
        self._lock.write(b"")
        self._lock.release()


def _holder(content: bytes) -> str:
    try:
        told = json.loads(content)
    except ValueError:
        return "it begins just now"
    address = told["address"]
    return f"process {told['pid']} at {address}" if address else f"process {told['pid']}"
