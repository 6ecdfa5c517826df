"""Results put into the project that their slides belong to, and taken out again.

What a run did there is noted beside its results: ``runs/JOB/SLIDE.in-project.json`` says in which entry of which
project, ``.in-project.added.geojson.gz`` and ``.in-project.replaced.geojson.gz`` what came and went.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec

from qpbridge.core.objects import PathObject
from qpbridge.errors import DamagedRecordError, PathRefusedError, QupathFailedError
from qpbridge.files import write_bytes
from qpbridge.qupath.backends import open_project_with
from qpbridge.qupath.geojson import read_objects, write_objects
from qpbridge.qupath.project import Project
from qpbridge.qupath.reconcile import Reconciliation, revert
from qpbridge.qupath.write_back import DataFingerprint, WriteBack, without_qupath, write_back
from qpbridge.workflows.entries.naming import GZIPPED
from qpbridge.workflows.entries.roots import may_read
from qpbridge.workflows.entries.sources import Source
from qpbridge.workflows.predicting.history import RUNS_FOLDER

_MARK: Final = "in-project"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a run put objects: a ``.qpproj`` file and the id of an entry."""

    project: str
    entry: str


class ProjectStep:
    """What one run did to an entry of a project.

    Parameters
    ----------
    out : Path
        Folder of the results.
    job_id : str
        Of the run.
    stem : str
        Name of the entry's results without suffix.
    """

    def __init__(self, out: Path, job_id: str, stem: str) -> None:
        self._folder = out / RUNS_FOLDER / job_id
        self._stem = stem

    def put(
        self,
        source: Source,
        seen: DataFingerprint | None,
        reconciled: Callable[[Sequence[PathObject]], Reconciliation],
    ) -> WriteBack:
        """Put the objects of a run into the project, or leave them and say why.

        Parameters
        ----------
        source : Source
            An entry of a project.
        seen : DataFingerprint or None
            Of its data when the run began to work on it; None where there were none.
        reconciled : callable
            Says what becomes of the objects that are there.

        Raises
        ------
        DiskFullError
            If there is no space left.
        """
        assert source.project is not None
        assert source.entry is not None
        if without_qupath(source.project) is not None:
            return write_back(source.project, source.entry, seen, (), ())
        found = reconciled(source.saved_objects())
        write_objects(self._part(f"added{GZIPPED}"), found.added)
        write_objects(self._part(f"replaced{GZIPPED}"), found.replaced)
        target = Target(project=str(source.project.path), entry=source.entry.id)
        # Before the project changes: an interrupted run can be undone, too.
        write_bytes(self._note, msgspec.json.encode(asdict(target)))
        done = write_back(source.project, source.entry, seen, found.replaced, found.added)
        if not done.is_written:
            self._forget()
        return done

    def take_back(self) -> None:
        """Take out of the project what the run put there; what people have edited since stays. Nothing if it did not.

        Raises
        ------
        QupathMissingError
            If there is no QuPath, which alone can do that.
        QupathFailedError
            If it could not; the project is as before.
        DamagedRecordError
            If what was noted cannot be read.
        ProjectNotFoundError, DamagedProjectError, UnknownNameError, DamagedDataError
            If project or entry are no longer there, or damaged.
        PathRefusedError
            If the project lies where this process may not read.
        """
        target = self._target()
        if target is None:
            return
        path = Path(target.project)
        if not may_read(path):
            raise PathRefusedError(f"{path}, into which the run wrote, lies outside the server's roots")
        project = open_project_with("paquo", path)
        done = self._reverted(project, target.entry)
        if not done.is_written:
            raise QupathFailedError(f"{path} still has what the run put there: {done.reason}")
        self._forget()

    def _reverted(self, project: Project, key: str) -> WriteBack:
        entry = project.entry(key)
        seen = DataFingerprint.of(entry)
        added, replaced = (read_objects(self._part(f"{name}{GZIPPED}")).objects for name in ("added", "replaced"))
        found = revert(project.read_objects(entry), added, replaced)
        return write_back(project, entry, seen, found.replaced, found.added)

    def _target(self) -> Target | None:
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=Target)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise DamagedRecordError(f"{self._note} cannot be read: {error}") from error

    def _forget(self) -> None:
        for path in (self._note, self._part(f"added{GZIPPED}"), self._part(f"replaced{GZIPPED}")):
            path.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self._part("json")

    def _part(self, name: str) -> Path:
        return self._folder / f"{self._stem}.{_MARK}.{name}"
