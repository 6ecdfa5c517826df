"""Projects opened by a real QuPath: the paquo backend."""

from __future__ import annotations

import json
from pathlib import Path

from qpbridge.core.backend import Backend
from qpbridge.core.objects import PathClass
from qpbridge.errors import DamagedDataError, DamagedProjectError
from qpbridge.qupath.paquo_backend.inside import reading
from qpbridge.qupath.paquo_backend.objects import data_of
from qpbridge.qupath.paquo_backend.process import QuPathProcess
from qpbridge.qupath.paquo_backend.records import EntryContent, JavaFailure
from qpbridge.qupath.project import NO_DATA, Project, ProjectEntry, find_project, open_project
from qpbridge.qupath.qpdata import QpData, rgb_of


class PaquoReader:
    """Reads objects by a QuPath in its own process.

    Parameters
    ----------
    project : Path
        The project file.
    process : QuPathProcess
        Does the work.
    backend : Backend
        What reports say about it.
    """

    def __init__(self, project: Path, process: QuPathProcess, backend: Backend) -> None:
        self.backend = backend
        self.process = process
        self._project = project

    def read_data(self, entry: ProjectEntry) -> QpData:
        """Read what QuPath saved for an entry; without objects where it never did.

        Raises
        ------
        DamagedDataError
            If QuPath cannot read it.
        QupathFailedError
            If the process died of it.
        """
        path = entry.data_path
        if not path.exists():
            return NO_DATA
        try:
            content = self.process.ask_for_image(reading.read_data, str(self._project), str(path))
        except JavaFailure as error:
            raise DamagedDataError(f"{entry.label}: {path}: {error}; restore it from a backup") from error
        return data_of(content, path)


def open_by_paquo(path: Path, process: QuPathProcess, backend: Backend) -> Project:
    """Open a project by QuPath.

    Parameters
    ----------
    path : Path
        The ``.qpproj`` file, or the folder that holds it.
    process : QuPathProcess
        Does the work.
    backend : Backend
        What reports say about it.

    Raises
    ------
    ProjectNotFoundError
        If there is none.
    DamagedProjectError
        If QuPath cannot open it.
    QupathFailedError
        If the process died of it.
    """
    path = find_project(path.absolute())
    try:
        content = process.ask(reading.read_project, str(path))
    except JavaFailure as error:
        raise DamagedProjectError(f"{path}: {error}; try --backend native") from error
    # QuPath 0.5 knows no tags, and keeps none; the file has them.
    told = {entry.id: entry for entry in open_project(path).entries}
    return Project(
        path=path,
        version=content.version,
        uri=content.uri,
        classes=tuple(PathClass(name, rgb_of(color)) for name, color in content.classes),
        entries=tuple(_entry(entry, told[entry.id]) for entry in content.entries),
        reader=PaquoReader(path, process, backend),
    )


def _entry(entry: EntryContent, told: ProjectEntry) -> ProjectEntry:
    return ProjectEntry(
        id=entry.id,
        name=entry.name or f"Image {entry.id}",
        description=entry.description,
        metadata=entry.metadata,
        tags=told.tags if entry.tags is None else entry.tags,
        data_folder=told.data_folder,
        builder=None if entry.builder is None else json.loads(entry.builder),
    )
