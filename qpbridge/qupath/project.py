"""QuPath projects, read without QuPath and never changed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from qpbridge.core.backend import Backend
from qpbridge.core.image_server import ImageServer
from qpbridge.core.objects import NO_MAPPING, PathClass, PathObject
from qpbridge.errors import (
    DamagedDataError,
    DamagedProjectError,
    InvalidValueError,
    ProjectNotFoundError,
    UnknownNameError,
)
from qpbridge.qupath.qpdata import QpData, read_qpdata, rgb_of
from qpbridge.qupath.server_builders import parse_server

SUFFIX: Final = ".qpproj"
_DEFAULT_NAME: Final = f"project{SUFFIX}"
_UNCLASSIFIED: Final = "Unclassified"
_SAFE_ID: Final = re.compile(r"\w[\w.-]*")
NO_DATA: Final = QpData(objects=(), image_type=None, properties=NO_MAPPING)
"""Of an entry that QuPath never saved."""


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectEntry:
    """One image of a project.

    Parameters
    ----------
    id : str
        As in ``data/<id>``.
    name : str
        As QuPath shows it.
    description : str or None
        As written by the user.
    metadata : mapping of str to str
        As shown in QuPath's project pane.
    tags : tuple of str
        Of QuPath 0.6 and later.
    data_folder : Path
        ``data/<id>`` of the project.
    builder : mapping or None
        JSON of the server builder.
    """

    id: str
    name: str
    description: str | None
    metadata: Mapping[str, str]
    tags: tuple[str, ...]
    data_folder: Path
    builder: Mapping[str, Any] | None = field(repr=False)

    @property
    def label(self) -> str:
        """The entry in words, for messages."""
        return f"entry {self.id} '{self.name}'"

    @property
    def data_path(self) -> Path:
        """Where its objects are: ``data.qpdata``, or the backup that QuPath falls back to where only that is left."""
        path = self.data_folder / "data.qpdata"
        backup = _backup(path)
        return backup if backup.is_file() and not path.is_file() else path

    @property
    def has_data(self) -> bool:
        """Whether QuPath has ever saved objects for it."""
        return self.data_path.is_file()

    @property
    def server(self) -> ImageServer:
        """How QuPath opens the image.

        Raises
        ------
        UnsupportedImageError
            If QuPath changes the image in a way that is not supported.
        DamagedProjectError
            If the project does not say how.
        """
        builder = self.builder
        if builder is None:
            stored = self.data_folder / "server.json"
            if not stored.is_file():
                raise DamagedProjectError(f"{self.label} has no serverBuilder; add its image to the project again")
            builder = _decoded(stored, dict[str, Any])
        return parse_server(builder, self.label)


class DataReader(Protocol):
    """Reads what QuPath saved for an entry; each backend is one."""

    @property
    def backend(self) -> Backend:
        """What reports say about it."""

    def read_data(self, entry: ProjectEntry) -> QpData:
        """Read the data of an entry; ``NO_DATA`` where QuPath saved none."""


@dataclass(frozen=True, slots=True)
class NativeReader:
    """Reads ``data.qpdata`` without Java.

    Parameters
    ----------
    backend : Backend
        What reports say about it.
    """

    backend: Backend = field(default_factory=Backend)

    def read_data(self, entry: ProjectEntry) -> QpData:
        """Read the data of an entry; ``NO_DATA`` where QuPath saved none.

        Raises
        ------
        DamagedDataError
            If the file is damaged or no data of QuPath; names entry, file and byte.
        """
        path = entry.data_path
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return NO_DATA
        except OSError as error:
            raise DamagedDataError(f"{entry.label}: {path} cannot be read: {error.strerror}") from error
        try:
            return read_qpdata(data)
        except DamagedDataError as error:
            backup = _backup(path)
            advice = f"QuPath's backup {backup} may be whole" if backup.is_file() else "restore it from a backup"
            raise DamagedDataError(f"{entry.label}: {path}: {error}; {advice}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A QuPath project as it stands on disk.

    Parameters
    ----------
    path : Path
        The project file, absolute.
    version : str
        Of the QuPath that saved it; empty where it does not say.
    uri : str or None
        Where it was when it was last saved.
    classes : tuple of PathClass
        Classes of the project, in their order, without "Unclassified".
    entries : tuple of ProjectEntry
        Images, in their order.
    reader : DataReader
        The backend that opened it, which also reads its objects.
    """

    path: Path
    version: str
    uri: str | None
    classes: tuple[PathClass, ...]
    entries: tuple[ProjectEntry, ...]
    reader: DataReader = field(default=NativeReader(), repr=False, compare=False)

    @property
    def backend(self) -> Backend:
        """What reads it."""
        return self.reader.backend

    @property
    def folder(self) -> Path:
        """Folder of the project file."""
        return self.path.parent

    def entry(self, key: str) -> ProjectEntry:
        """Return an entry by its id, or by its image name where only one has it.

        Raises
        ------
        UnknownNameError
            If there is none; lists all.
        InvalidValueError
            If several have that name.
        """
        named = [entry for entry in self.entries if entry.id == key]
        named = named or [entry for entry in self.entries if entry.name == key]
        if len(named) > 1:
            ids = ", ".join(entry.id for entry in named)
            raise InvalidValueError(
                f"{len(named)} entries of {self.path} are called '{key}'; give one of the ids {ids}"
            )
        if not named:
            raise UnknownNameError("entry", key, [f"{e.id} ({e.name})" for e in self.entries], str(self.path))
        return named[0]

    def read_data(self, entry: ProjectEntry) -> QpData:
        """Read what QuPath saved for an entry; without objects where it never did.

        Raises
        ------
        DamagedDataError
            If the file is damaged or no data of QuPath; names entry, file and byte.
        """
        return self.reader.read_data(entry)

    def read_objects(self, entry: ProjectEntry) -> tuple[PathObject, ...]:
        """Read the objects of an entry, parents before their children; none where QuPath saved none.

        Raises
        ------
        DamagedDataError
            As ``read_data``.
        """
        return self.read_data(entry).objects


class _Image(msgspec.Struct, rename="camel"):
    entry_id: int | str = msgspec.field(name="entryID")
    image_name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    tags: list[str] | None = None
    server_builder: dict[str, Any] | None = None


class _ProjectFile(msgspec.Struct):
    version: str | None = None
    uri: str | None = None
    last_id: int | None = msgspec.field(default=None, name="lastID")
    images: list[_Image] | None = None


class _StoredClass(msgspec.Struct):
    name: str
    color: int | None = None


class _ClassesFile(msgspec.Struct, rename="camel"):
    path_classes: list[_StoredClass] | None = None


def open_project(path: Path, backend: Backend | None = None) -> Project:
    """Open a project of QuPath 0.2 to 0.7 without QuPath.

    Parameters
    ----------
    path : Path
        The ``.qpproj`` file, or the folder that holds it.
    backend : Backend or None
        What reports say about reading it so.

    Raises
    ------
    ProjectNotFoundError
        If there is none, or several of which none is ``project.qpproj``.
    DamagedProjectError
        If a file of it is damaged; says which, and where in it.
    """
    path = find_project(path.absolute())
    stored = _decoded(path, _ProjectFile)
    if stored.images is None and stored.version is None and stored.last_id is None:
        raise DamagedProjectError(f"{path} is no QuPath project: it has neither images nor a version")
    entries = tuple(_entry(image, path) for image in stored.images or ())
    repeated = [key for key, count in Counter(entry.id for entry in entries).items() if count > 1]
    if repeated:
        raise DamagedProjectError(f"{path} has several images of entryID {', '.join(repeated)}")
    return Project(
        path=path,
        version=stored.version or "",
        uri=stored.uri,
        classes=_classes(path.parent / "classifiers" / "classes.json"),
        entries=entries,
        reader=NativeReader(backend or Backend()),
    )


def find_project(path: Path) -> Path:
    """Return the project file that a path names: itself, or the one in the folder.

    Raises
    ------
    ProjectNotFoundError
        If there is none, or several of which none is ``project.qpproj``.
    """
    if path.is_file() and path.suffix == SUFFIX:
        return path
    if not path.is_dir():
        what = f"is no {SUFFIX} file" if path.exists() else "does not exist"
        raise ProjectNotFoundError(f"no QuPath project: {path} {what}; give a {SUFFIX} file or its folder")
    found = sorted(path.glob(f"*{SUFFIX}"))
    if len(found) > 1:
        found = [file for file in found if file.name == _DEFAULT_NAME] or found
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found) or f"no {SUFFIX} file"
    raise ProjectNotFoundError(f"which QuPath project? {path} holds {names}; give the {SUFFIX} file")


def _decoded(path: Path, form: type[_T]) -> _T:
    """Read a JSON file of a project; numbers may be NaN, as QuPath writes them."""
    try:
        return msgspec.convert(json.loads(path.read_bytes()), form)
    except msgspec.ValidationError as error:
        raise DamagedProjectError(f"{path} is not as QuPath writes it: {error}") from error
    except OSError as error:
        raise DamagedProjectError(f"{path} cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise DamagedProjectError(f"{path} is no JSON: {error.msg} at {place}; restore it from a backup") from error
    except (ValueError, RecursionError) as error:
        raise DamagedProjectError(f"{path} is no JSON: {error}") from error


def _entry(image: _Image, path: Path) -> ProjectEntry:
    entry_id = str(image.entry_id)
    if not _SAFE_ID.fullmatch(entry_id):
        raise DamagedProjectError(f"{path} has an entryID {entry_id!r}, which cannot be the name of a folder")
    return ProjectEntry(
        id=entry_id,
        name=image.image_name or f"Image {entry_id}",
        description=image.description,
        metadata={key: str(value) for key, value in (image.metadata or {}).items() if value is not None},
        tags=tuple(image.tags or ()),
        data_folder=path.parent / "data" / entry_id,
        builder=image.server_builder,
    )


def _classes(path: Path) -> tuple[PathClass, ...]:
    if not path.is_file():
        return ()
    stored = _decoded(path, _ClassesFile).path_classes or ()
    return tuple(PathClass(item.name, rgb_of(item.color)) for item in stored if item.name != _UNCLASSIFIED)


def _backup(path: Path) -> Path:
    return path.with_name(f"{path.name}.bkp")
