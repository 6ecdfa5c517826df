"""QuPath projects from scratch: images with their objects, as QuPath 0.6 would write them."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from qpbridge import __version__
from qpbridge.core.objects import PathClass
from qpbridge.errors import ProjectExistsError
from qpbridge.files import atomic_folder, sha256, write_bytes
from qpbridge.qupath.encoding.entry import FORMAT, NewEntry, image_json, pretty, uri_of, write_entry
from qpbridge.qupath.encoding.image_data import argb

__all__ = ["MADE_FILE", "NewEntry", "ProjectMaker", "check_replaceable", "create_project", "new_project"]

MADE_FILE: Final = "qpbridge.json"
"""Says which files of a project are as qpbridge made them: such a project may be made anew."""

_SUFFIX: Final = ".qpproj"
_PROJECT_FILE: Final = f"project{_SUFFIX}"


class ProjectMaker:
    """Makes the data of a project in an empty place, image by image.

    Parameters
    ----------
    data : Path
        Folder that becomes the project's ``data``.
    file : Path
        The project file, absolute, where it will lie in the end.
    classes : sequence of PathClass
        Their colors also hold for the objects.
    """

    def __init__(self, data: Path, file: Path, classes: Sequence[PathClass]) -> None:
        self._data = data
        self._file = file
        self._classes = classes
        self._images: list[dict[str, Any]] = []
        write_bytes(data / "metadata.json", b"{}")

    @property
    def count(self) -> int:
        """Images so far."""
        return len(self._images)

    def add(self, entry: NewEntry) -> None:
        """Write an image and its objects; nothing stays of one that cannot be written.

        Raises
        ------
        DataExistsError
            If its folder has objects already, which stay.
        InvalidValueError
            If objects share an id, or have an outline that QuPath cannot hold.
        """
        number = self.count + 1
        folder = self._data / str(number)
        is_new = not folder.exists()
        try:
            write_entry(folder, entry, self._classes, f"{self._file.as_posix()}::{number}")
        except BaseException:
            if is_new:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        self._images.append(image_json(entry, number))

    def project_json(self) -> bytes:
        """Return the project file, which comes last."""
        now_ms = time.time_ns() // 1_000_000
        return pretty(
            {
                "version": FORMAT,
                "createTimestamp": now_ms,
                "modifyTimestamp": now_ms,
                "uri": uri_of(self._file),
                "lastID": self.count,
                "images": self._images,
            }
        )


def create_project(path: Path, entries: Sequence[NewEntry], classes: Sequence[PathClass]) -> None:
    """Make a QuPath project that holds images and their objects.

    The project file comes last, so that a project is whole or not there. Slides are referred to, not copied.

    Parameters
    ----------
    path : Path
        The project file (``.qpproj``), or the folder that gets a ``project.qpproj``; made where it is missing, and
        other files in it stay.
    entries : sequence of NewEntry
        Numbered from 1 in this order.
    classes : sequence of PathClass
        For the list of classes; their colors also hold for the objects.

    Raises
    ------
    ProjectExistsError
        If the folder holds a project, or parts of one, already; nothing is changed then.
    InvalidValueError
        If objects share an id, or have an outline that QuPath cannot hold.
    DiskFullError
        If the disk has no space left; nothing remains of the project then.
    """
    file = (path if path.suffix == _SUFFIX else path / _PROJECT_FILE).resolve()
    _refuse_existing(file.parent)
    parts = file.parent / "classifiers", file.parent / "data"
    try:
        with atomic_folder(parts[0]) as folder:
            write_bytes(folder / "classes.json", _classes_json(classes))
        with atomic_folder(parts[1]) as folder:
            maker = ProjectMaker(folder, file, classes)
            for entry in entries:
                maker.add(entry)
        write_bytes(file, maker.project_json())
    except BaseException:
        for part in parts:
            shutil.rmtree(part, ignore_errors=True)
        raise


@contextlib.contextmanager
def new_project(folder: Path, classes: Sequence[PathClass]) -> Iterator[ProjectMaker]:
    """Yield what takes the images of a new project, which appears when the block ends well and has brought some.

    Parameters
    ----------
    folder : Path
        Missing, empty, or a project made by this function that nobody has changed, which is replaced.
    classes : sequence of PathClass
        For the list of classes; their colors also hold for the objects.

    Raises
    ------
    ProjectExistsError
        As ``check_replaceable``, before the block, and after it where somebody was there meanwhile.
    DiskFullError
        If the disk has no space left; the folder is then as before.
    """
    folder = folder.resolve()
    check_replaceable(folder)
    file = folder / _PROJECT_FILE
    with contextlib.suppress(_NothingMadeError), atomic_folder(folder) as temporary:
        maker = ProjectMaker(temporary / "data", file, classes)
        yield maker
        if not maker.count:
            raise _NothingMadeError
        write_bytes(temporary / "classifiers" / "classes.json", _classes_json(classes))
        write_bytes(temporary / _PROJECT_FILE, maker.project_json())
        made = {"qpbridge": __version__, "files": _digests(temporary)}
        write_bytes(temporary / MADE_FILE, json.dumps(made, indent=2).encode())
        check_replaceable(folder)


def check_replaceable(folder: Path) -> None:
    """Refuse a folder that holds anything but a project of ``new_project`` as it was made.

    Raises
    ------
    ProjectExistsError
        If there is a file in its place, or files in it of which we do not know that nobody needs them.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ProjectExistsError(f"{folder} is a file; name a new folder for the project")
    if not any(folder.iterdir()):
        return
    made = _made_files(folder)
    if made is None:
        raise ProjectExistsError(
            f"{folder} is not empty, and what it holds is no project that qpbridge made; name a new folder"
        )
    now = _digests(folder)
    changed = sorted(name for name in {*made, *now} - {MADE_FILE} if made.get(name) != now.get(name))
    if changed:
        raise ProjectExistsError(
            f"{folder / changed[0]} was changed since qpbridge made this project, so that somebody's work may be in"
            " it: name a new folder, or remove this one"
        )


class _NothingMadeError(Exception):
    """Makes an unfinished folder go away."""


def _made_files(folder: Path) -> dict[str, str] | None:
    try:
        files = json.loads((folder / MADE_FILE).read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if isinstance(files, dict) else None


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file by its place in the folder; links, which may lead anywhere, have none."""
    files = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix(): "" if path.is_symlink() else sha256(path) for path in files}


def _refuse_existing(folder: Path) -> None:
    found = [
        *folder.glob(f"*{_SUFFIX}"),
        *(part for part in (folder / "classifiers", folder / "data") if part.exists()),
    ]
    if found:
        raise ProjectExistsError(f"{folder} holds {found[0].name} already; give a folder without a QuPath project")


def _classes_json(classes: Iterable[PathClass]) -> bytes:
    return pretty({"pathClasses": [{"name": item.name, "color": argb(item.color_rgb)} for item in classes]})
