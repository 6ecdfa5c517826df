"""Objects written into a project, by QuPath only, and only where nothing that a person did can be lost by it.

An entry is changed if its data are as they were when they were read. QuPath works on a copy; what it wrote is compared,
object by object, with what was there, before it takes the place of the data, beside which the former stay as a backup.
"""

from __future__ import annotations

import datetime
import math
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from qpbridge.core.objects import PathClass, PathObject
from qpbridge.errors import DamagedDataError, QupathFailedError, QupathMissingError
from qpbridge.files import atomic_file, sha256, write_bytes
from qpbridge.qupath.encoding.image_data import argb
from qpbridge.qupath.geojson import write_objects
from qpbridge.qupath.paquo_backend.inside import reading, saving
from qpbridge.qupath.paquo_backend.installation import ADVICE
from qpbridge.qupath.paquo_backend.project import PaquoReader
from qpbridge.qupath.paquo_backend.records import Change, JavaFailure
from qpbridge.qupath.project import NO_DATA, Project, ProjectEntry
from qpbridge.qupath.qpdata import QpData, read_qpdata

_AREA_ERROR_MAX: Final = 0.01
"""By how much the area of an object may differ after QuPath took it, of its own."""

_ROUNDING_PX: Final = 0.02
"""By how much QuPath may move an outline, level-0 px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFingerprint:
    """By which data of QuPath are known again.

    Parameters
    ----------
    size_bytes : int
        Of the file.
    modified_ns : int
        When it was last written, ns since 1970.
    sha256 : str
        Of its content, hexadecimal.
    """

    size_bytes: int
    modified_ns: int
    sha256: str

    @classmethod
    def of(cls, entry: ProjectEntry) -> DataFingerprint | None:
        """Return the fingerprint of an entry's data as they are now; None where there are none."""
        path = entry.data_path
        try:
            stat = path.stat()
            return cls(size_bytes=stat.st_size, modified_ns=stat.st_mtime_ns, sha256=sha256(path))
        except FileNotFoundError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBack:
    """What became of writing objects into a project.

    Parameters
    ----------
    is_written : bool
        Whether they are in the project.
    reason : str or None
        Why not.
    added, removed, kept : int
        Objects.
    backup : Path or None
        The data as they were before.
    """

    is_written: bool
    reason: str | None = None
    added: int = 0
    removed: int = 0
    kept: int = 0
    backup: Path | None = None

    @property
    def text(self) -> str:
        """What became of it, in words."""
        return "yes" if self.is_written else f"no: {self.reason}"


class _Refused(Exception):  # noqa: N818
    """Why nothing is written."""


def write_back(
    project: Project,
    entry: ProjectEntry,
    seen: DataFingerprint | None,
    removed: Sequence[PathObject],
    added: Sequence[PathObject],
) -> WriteBack:
    """Change the objects of an entry, or leave them and say why.

    Parameters
    ----------
    project : Project
        Opened by a real QuPath; nothing is written with any other backend.
    entry : ProjectEntry
        One of its entries.
    seen : DataFingerprint or None
        Of the data that ``removed`` and ``added`` follow from; None where there were none.
    removed, added : sequence of PathObject
        Objects that go, and objects that come.

    Returns
    -------
    WriteBack
        What became of it.

    Raises
    ------
    DiskFullError
        If there is no space left; the data are as before then.
    """
    reader = project.reader
    if not isinstance(reader, PaquoReader):
        return WriteBack(is_written=False, reason=without_qupath(project))
    try:
        with tempfile.TemporaryDirectory(prefix="qpbridge-") as folder:
            return _Attempt(project, reader, entry, seen, Path(folder)).make(removed, added)
    except (_Refused, JavaFailure, QupathFailedError, QupathMissingError, DamagedDataError) as error:
        return WriteBack(is_written=False, reason=str(error))


def without_qupath(project: Project) -> str | None:
    """Return why nothing can be written into a project, and how to change that; None where a QuPath has opened it."""
    if isinstance(project.reader, PaquoReader):
        return None
    why = project.backend.detail or "the project was read without QuPath, as asked"
    return f"only QuPath itself changes its data: {why}; {ADVICE}; or import the GeoJSON in QuPath"


class _Attempt:
    """One change of one entry's data."""

    def __init__(
        self, project: Project, reader: PaquoReader, entry: ProjectEntry, seen: DataFingerprint | None, folder: Path
    ) -> None:
        self._project = project
        self._process = reader.process
        self._entry = entry
        self._seen = seen
        self._folder = folder

    def make(self, removed: Sequence[PathObject], added: Sequence[PathObject]) -> WriteBack:
        """Make the change."""
        self._check_version()
        self._check_unchanged()
        before = self._copied()
        gone = {item.id for item in removed}
        out = self._folder / "changed.qpdata"
        expected = self._written(added)
        task = Change(
            folder=str(self._folder),
            project=str(self._project.path),
            entry=self._entry.id,
            removed=sorted(gone),
            added=str(self._folder / "added.geojson") if added else None,
            colors=self._colors(before),
            out=str(out),
        )
        summary = self._process.ask_for_image(saving.change, task)
        kept = [item for item in before.objects if item.id not in gone]
        _check(read_qpdata(out.read_bytes()), before, kept, expected, self._project.classes)
        return WriteBack(
            is_written=True,
            added=len(expected),
            removed=len(before.objects) - len(kept),
            kept=len(kept),
            backup=self._replaced(out, summary),
        )

    def _check_version(self) -> None:
        here = self._process.start().version
        if _release(here) < _release(self._project.version):
            raise _Refused(
                f"the project was saved by QuPath {self._project.version}, and the one here is {here}: an older one may"
                " lose what it does not know; import the GeoJSON, or install that version"
            )

    def _check_unchanged(self) -> None:
        now = DataFingerprint.of(self._entry)
        before = None if self._seen is None else (self._seen.size_bytes, self._seen.sha256)
        if before != (None if now is None else (now.size_bytes, now.sha256)):
            saved = "gone" if now is None else f"saved at {_moment(now.modified_ns)}"
            raise _Refused(
                f"the data of {self._entry.label} have changed since they were read ({saved}): import the GeoJSON in"
                " QuPath, or predict again"
            )

    def _copied(self) -> QpData:
        reading.stage(self._project.path, self._folder)
        if self._seen is None:
            return NO_DATA
        copy = self._folder / "data" / self._entry.id / "data.qpdata"
        copy.parent.mkdir(parents=True)
        shutil.copyfile(self._entry.data_path, copy)
        return read_qpdata(copy.read_bytes())

    def _written(self, added: Sequence[PathObject]) -> Mapping[str, PathObject]:
        """Write the objects that come, and return them by the ids that they have there."""
        from qpbridge.qupath.geojson import read_objects

        path = self._folder / "added.geojson"
        write_objects(path, added)
        return {item.id: item for item in read_objects(path).objects}

    def _colors(self, before: QpData) -> dict[str, int]:
        used = (item.path_class for item in before.objects if item.path_class is not None)
        return {one.name: argb(one.color_rgb) for one in (*used, *self._project.classes)}

    def _replaced(self, out: Path, summary: str | None) -> Path | None:
        """Put the changed data in the place of the former, and return where those are now."""
        path = self._entry.data_folder / "data.qpdata"
        backup = None
        if self._seen is not None:
            backup = _free(path.with_name(f"data.qpdata.qpbridge-{_moment(self._seen.modified_ns, '%Y%m%dT%H%M%S')}"))
            with atomic_file(backup) as file, self._entry.data_path.open("rb") as former:
                shutil.copyfileobj(former, file)
            shutil.copystat(self._entry.data_path, backup)
        self._check_unchanged()  # once more: QuPath has taken some seconds
        with atomic_file(path) as file, out.open("rb") as changed:
            shutil.copyfileobj(changed, file)
        if summary is not None:
            write_bytes(self._entry.data_folder / "summary.json", summary.encode())
        return backup


def _release(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version, by which forms of data differ."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _free(path: Path) -> Path:
    numbered = (path.with_name(f"{path.name}-{number}") for number in range(2, 10**6))
    return path if not path.exists() else next(one for one in numbered if not one.exists())


def _moment(modified_ns: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return datetime.datetime.fromtimestamp(modified_ns / 1e9).strftime(form)


def _check(
    after: QpData,
    before: QpData,
    kept: Sequence[PathObject],
    added: Mapping[str, PathObject],
    classes: Sequence[PathClass],
) -> None:
    """Refuse what QuPath wrote unless it holds what was kept as it was, what was added, and nothing else."""
    colors = {one.name: one for one in classes}
    found = {item.id: item for item in after.objects}
    if found.keys() != {item.id for item in kept} | added.keys() or len(after.objects) != len(found):
        raise _Refused("QuPath would have lost or doubled objects, perhaps since they are older than QuPath 0.4")
    parents = {item.id: item.parent_id for item in before.objects}
    staying = {item.id for item in kept}
    for item in kept:
        parent = item.parent_id
        while parent is not None and parent not in staying:
            parent = parents[parent]  # what lay in an object that goes moves up
        if _told(found[item.id], colors) != _told(replace(item, parent_id=parent), colors):
            raise _Refused(f"QuPath would have changed the object {item.name or item.id}, which was to stay")
    for key, item in added.items():
        if not _is_about(found[key].geometry, item.geometry):
            raise _Refused(f"QuPath would have lost a part of the object {item.name or key}")
    if before is not NO_DATA and after.image_type != before.image_type:
        raise _Refused("QuPath would have changed the type of the image")


def _told(item: PathObject, colors: Mapping[str, PathClass]) -> dict[str, Any]:
    """Return all that an object says, in a form of which equal ones are equal; classes as the project has them."""
    told = {field.name: getattr(item, field.name) for field in fields(item)}
    measured = [(name, None if math.isnan(value) else value) for name, value in item.measurements.items()]
    told |= {"measurements": measured, "metadata": dict(item.metadata)}
    if item.path_class is not None:
        told["path_class"] = colors.get(item.path_class.name, item.path_class)
    return told


def _is_about(one: Any, other: Any) -> bool:
    return bool(abs(one.area - other.area) <= _AREA_ERROR_MAX * other.area + _ROUNDING_PX * other.length)
