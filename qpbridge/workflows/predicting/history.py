"""What each run has done to the results of a slide: what is ours there, what people did, and how to undo a run.

Beside the results, ``runs/SLIDE.json`` lists the runs in their order, and ``runs/JOB`` holds what each wrote.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

from qpbridge.core.objects import PathObject
from qpbridge.errors import DamagedGeoJsonError, DamagedRecordError, ResultsBusyError
from qpbridge.files import sha256, write_bytes
from qpbridge.jobs.store.state_folder import FileLock
from qpbridge.qupath.geojson import read_objects, write_objects
from qpbridge.qupath.reconcile import Reconciliation, revert
from qpbridge.workflows.entries.naming import GZIPPED, find_results

RUNS_FOLDER: Final = "runs"

LOCK_FILE: Final = ".lock"
"""In the folder of runs, as long as one works there."""

LOCK_WAIT_S: Final = 2.0
"""How long another run may take to end, s: of a process that was killed the lock opens a little later."""

State: TypeAlias = Literal["begun", "done", "undone"]

_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one run did to the results of a slide.

    Parameters
    ----------
    job_id : str
        Of the run.
    file : str
        Name of the results.
    state : {"begun", "done", "undone"}
        Begun is a step whose results are just being written.
    before_sha256 : str or None
        Of the results that it found; None where there were none.
    starts_afresh : bool
        As in ``Reconciliation``: what earlier runs wrote is of no account any more.
    """

    job_id: str
    file: str
    state: State
    before_sha256: str | None
    starts_afresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Ids of the objects of a slide by what a run did to them; see ``Reconciliation``."""

    added: tuple[str, ...]
    replaced: tuple[str, ...]
    kept: tuple[str, ...]
    dropped: tuple[str, ...]

    @classmethod
    def of(cls, found: Reconciliation) -> Changes:
        """Return the ids of a reconciliation."""
        parts = (found.added, found.replaced, found.kept, found.dropped)
        added, replaced, kept, dropped = (tuple(item.id for item in part) for part in parts)
        return cls(added=added, replaced=replaced, kept=kept, dropped=dropped)


class SlideHistory:
    """The runs that made the results of one slide what they are.

    A run that was broken off while it wrote them counts as done if they differ from what it found, and else as if it
    had never been.

    Parameters
    ----------
    out : Path
        Folder of the results.
    stem : str
        Name of the results without suffix.

    Raises
    ------
    DamagedRecordError
        If what is noted cannot be read; so in every method.
    """

    def __init__(self, out: Path, stem: str) -> None:
        self.out = out
        self.stem = stem
        self._notes = out / RUNS_FOLDER / f"{stem}.json"
        steps = _read(self._notes, tuple[Step, ...]) if self._notes.is_file() else ()
        self._steps = [step for step in map(self._settled, steps) if step is not None]

    @property
    def in_effect(self) -> list[Step]:
        """Runs that nobody has undone, in their order."""
        return [step for step in self._steps if step.state == "done"]

    @property
    def results(self) -> Path | None:
        """The results, compressed or not; None where there are none."""
        return find_results(self.out, self.stem)

    def before(self, job_id: str) -> tuple[Sequence[PathObject], Sequence[PathObject]]:
        """Return what a run finds there: all objects, and those that earlier ones are known to have written.

        Parameters
        ----------
        job_id : str
            Of the run. What it wrote itself, before it was broken off and started again, is taken back.

        Raises
        ------
        DamagedGeoJsonError
            If the results cannot be read.
        """
        existing = self._existing()
        if self.in_effect and self.in_effect[-1].job_id == job_id:
            existing = self._without(self.in_effect[-1], existing).objects
            self._steps.remove(self.in_effect[-1])
        return existing, self.ours()

    @contextlib.contextmanager
    def step(self, job_id: str, file: Path, found: Reconciliation) -> Iterator[None]:
        """Note what a run does; the block writes the results.

        Parameters
        ----------
        job_id : str
            Of the run.
        file : Path
            The results.
        found : Reconciliation
            What it does.
        """
        step = Step(
            job_id=job_id,
            file=file.name,
            state="begun",
            before_sha256=self._sha256(),
            starts_afresh=found.starts_afresh,
        )
        write_objects(self._part(job_id, f"added{GZIPPED}"), found.added)
        if found.replaced:
            write_objects(self._part(job_id, f"replaced{GZIPPED}"), found.replaced)
        write_bytes(self._part(job_id, "changes.json"), msgspec.json.encode(Changes.of(found)))
        self._note([*self._steps, step])
        yield
        self._note([*self._steps[:-1], replace(step, state="done")])

    def undo(self) -> Reconciliation:
        """Take the last run that is in effect back: what it added goes, what it replaced returns; see ``revert``.

        Results that the run had made, and in which nothing is left, are removed.

        Raises
        ------
        DamagedGeoJsonError
            If results or record cannot be read.
        """
        step = self.in_effect[-1]
        found = self._without(step, self._existing())
        file = self.results or self.out / step.file
        if found.objects or step.before_sha256 is not None:
            write_objects(file, found.objects)
        else:
            file.unlink(missing_ok=True)
        self._note([replace(one, state="undone") if one is step else one for one in self._steps])
        return found

    def _settled(self, step: Step) -> Step | None:
        if step.state != "begun":
            return step
        return None if self._sha256() == step.before_sha256 else replace(step, state="done")

    def _sha256(self) -> str | None:
        return None if self.results is None else sha256(self.results)

    def _existing(self) -> Sequence[PathObject]:
        if self.results is None:
            return ()
        try:
            return read_objects(self.results).objects
        except DamagedGeoJsonError as error:
            raise DamagedGeoJsonError(
                f"{error}. It may hold somebody's work, so it is left alone: mend it, or move it away to predict afresh"
            ) from error

    def ours(self) -> list[PathObject]:
        """Return what runs have written and no later one has replaced, as written.

        Raises
        ------
        DamagedGeoJsonError
            If what a run wrote cannot be read.
        """
        steps = self.in_effect
        start = max((i for i, step in enumerate(steps) if step.starts_afresh), default=0)
        found: dict[str, PathObject] = {}
        for step in steps[start:]:
            for key in _read(self._part(step.job_id, "changes.json"), Changes).replaced:
                found.pop(key, None)
            found |= {item.id: item for item in self._objects(step, "added")}
        return list(found.values())

    def _without(self, step: Step, existing: Sequence[PathObject]) -> Reconciliation:
        return revert(existing, self._objects(step, "added"), self._objects(step, "replaced"))

    def _objects(self, step: Step, part: str) -> Sequence[PathObject]:
        path = self._part(step.job_id, part + GZIPPED)
        return read_objects(path).objects if path.is_file() else ()

    def _part(self, job_id: str, name: str) -> Path:
        return self.out / RUNS_FOLDER / job_id / f"{self.stem}.{name}"

    def _note(self, steps: list[Step]) -> None:
        self._steps = steps
        write_bytes(self._notes, msgspec.json.encode([asdict(step) for step in steps]))


def histories(out: Path) -> list[SlideHistory]:
    """Return the histories of all slides in a folder of results, by name."""
    return [SlideHistory(out, path.name.removesuffix(".json")) for path in sorted((out / RUNS_FOLDER).glob("*.json"))]


def _read(path: Path, kind: type[_Record]) -> _Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise DamagedRecordError(
            f"{path}, which tells what earlier runs wrote, cannot be read ({error}): move the results beside it"
            " elsewhere, with their folder of runs, or predict into another folder"
        ) from error


@contextlib.contextmanager
def reserved(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder of results as long as the block lasts: two would undo one another's notes.

    Raises
    ------
    ResultsBusyError
        If another run works there.
    """
    with FileLock(out / RUNS_FOLDER / LOCK_FILE) as lock:
        if not lock.acquire(LOCK_WAIT_S):
            raise ResultsBusyError(
                f"another run works on the results in {out}: wait until it has ended, or give another folder with --out"
            )
        try:
            yield
        finally:
            lock.path.unlink(missing_ok=True)
