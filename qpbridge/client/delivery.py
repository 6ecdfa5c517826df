"""Files that come from a server in pieces: whole under their name, or not there."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from qpbridge.errors import InvalidValueError, ServerFaultError, UnknownNameError
from qpbridge.files import atomic_file
from qpbridge.jobs.records import Job

_KEYS: Final = {
    "predict": lambda result: {one["key"]: one["name"] for one in result["slides"]},
    "export": lambda result: {one["id"]: one["name"] for one in result["entries"] if one["geojson"]},
}
"""Kinds of jobs that write a file an entry: keys and image names of those."""


def keys_of(job: Job, entries: Collection[str] | None) -> list[str]:
    """Return the keys of the entries that a job has files of.

    Parameters
    ----------
    job : Job
        With its result.
    entries : collection of str or None
        Keys or image names; all where None.

    Raises
    ------
    InvalidValueError
        If the job has no files, or not yet.
    UnknownNameError
        If it has none of an entry.
    """
    if job.kind not in _KEYS or job.result is None:
        raise InvalidValueError(
            f"job {job.id} ({job.kind}, {job.state}) has no files to fetch: only predictions and exports that"
            " have ended do"
        )
    names = _KEYS[job.kind](job.result)
    for entry in entries or ():
        if entry not in names and entry not in names.values():
            raise UnknownNameError("entry", entry, list(names.values()), f"job {job.id}")
    return [key for key, name in names.items() if entries is None or {key, name} & set(entries)]


class Delivery:
    """Takes the pieces of one file.

    Parameters
    ----------
    folder : Path
        Receives it.
    files : ExitStack
        Closes it.
    """

    def __init__(self, folder: Path, files: contextlib.ExitStack) -> None:
        self.path = folder
        self._files = files
        self._file: BinaryIO | None = None
        self._size = 0
        self._received = 0

    def take(self, answer: Any) -> None:
        """Take the next piece.

        Raises
        ------
        ServerFaultError
            If the file would lie elsewhere, or its pieces come in the wrong order.
        DiskFullError
            If there is no space left.
        """
        if answer.WhichOneof("part") == "file":
            self._begin(answer.file.name, answer.file.size_bytes)
        elif self._file is None:
            raise ServerFaultError("the server sends a file without saying which; use the same version on both sides")
        else:
            self._file.write(answer.data)
            self._received += len(answer.data)

    def check(self) -> None:
        """Refuse a file that did not come whole."""
        if self._file is None or self._received != self._size:
            raise ServerFaultError(
                f"{self.path} came in part only ({self._received} of {self._size} bytes), and was left out; fetch"
                " it again"
            )

    def _begin(self, name: str, size: int) -> None:
        if name != Path(name).name or "\\" in name or name in {"", ".", ".."} or self._file is not None:
            raise ServerFaultError(f"the server sends a file called '{name}', which is no plain name; it was left out")
        self.path /= name
        self._size = size
        self._file = self._files.enter_context(atomic_file(self.path))


@contextlib.contextmanager
def delivery(folder: Path) -> Iterator[Delivery]:
    """Take one file; it appears in the folder when it is whole."""
    with contextlib.ExitStack() as files:
        taking = Delivery(folder, files)
        yield taking
        taking.check()
