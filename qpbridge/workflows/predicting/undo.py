"""Take a prediction back: what it added goes, what it replaced returns, what people did stays."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError, LaterRunError, NothingToUndoError
from qpbridge.qupath.reconcile import Reconciliation
from qpbridge.workflows.entries.failures import Failure, Failures, one_by_one
from qpbridge.workflows.entries.naming import RUN_FILE
from qpbridge.workflows.predicting.history import RUNS_FOLDER, SlideHistory, histories, reserved
from qpbridge.workflows.predicting.projects.in_project import ProjectStep
from qpbridge.workflows.predicting.results import SUMMARY_FILE
from qpbridge.workflows.requests import UndoRequest

__all__ = ["UndoReport", "UndoRequest", "UndoneSlide", "undo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoneSlide:
    """What undoing changed on one slide.

    Parameters
    ----------
    stem : str
        Name of its results without suffix.
    removed : int
        Objects of the run that are gone.
    restored : int
        Objects that the run had replaced and that are back.
    kept : int
        Objects that stay: of people, edited or locked by them, and of other runs.
    dropped : int
        Objects that the run had replaced and that do not come back, since a person has edited what took their place.
    """

    stem: str
    removed: int
    restored: int
    kept: int
    dropped: int

    @classmethod
    def of(cls, stem: str, found: Reconciliation) -> UndoneSlide:
        """Return the counts of a reconciliation."""
        return cls(
            stem=stem,
            removed=len(found.replaced),
            restored=len(found.added),
            kept=len(found.kept),
            dropped=len(found.dropped),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoReport:
    """What undoing changed, and which slides failed."""

    out: Path
    job_id: str
    slides: tuple[UndoneSlide, ...]
    failures: tuple[Failure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def undo(request: UndoRequest, progress: Progress) -> UndoReport:
    """Undo one run on all slides that it predicted, also in the project where it wrote there (by a real QuPath).

    ``run.json`` and ``summary.csv`` become those of the run before. A run that was undone in part, since this was
    stopped or a slide failed, may be undone again.

    Parameters
    ----------
    request : UndoRequest
        Which run.
    progress : Progress
        Told of each slide.

    Raises
    ------
    NothingToUndoError
        If no slide in the folder holds anything of the run any more.
    LaterRunError
        If a later run went over the same slides; nothing is changed then.
    ResultsBusyError
        If another run works on the same folder of results.
    DamagedRecordError
        If what was noted of the runs cannot be read.
    InvalidValueError
        If nobody says where the results are.
    DiskFullError
        If there is no space left; files written so far are whole.
    CancelledError
        If somebody asked to stop.
    """
    if request.out is None:
        raise InvalidValueError(f"where the results of job '{request.job_id}' are is not known: give their folder")
    _slides_of(request.job_id, request.out)  # before anything is made in a folder that is none of results
    with reserved(request.out):
        return _undo(request.job_id, request.out, progress)


def _undo(job_id: str, out: Path, progress: Progress) -> UndoReport:
    slides, failures = _slides_of(job_id, out), Failures(progress)
    undone: list[UndoneSlide] = []
    for history in one_by_one(slides, "slides", progress):
        with failures.kept(history.stem):
            ProjectStep(out, job_id, history.stem).take_back()
            undone.append(UndoneSlide.of(history.stem, history.undo()))
    _tell_former_run(job_id, out)
    return UndoReport(out=out, job_id=job_id, slides=tuple(undone), failures=tuple(failures.found))


def _slides_of(job_id: str, out: Path) -> list[SlideHistory]:
    """Return the slides on which a run is the last that is in effect; it must be so on all that it is in effect on."""
    touched = [one for one in histories(out) if any(step.job_id == job_id for step in one.in_effect)]
    if not touched:
        raise NothingToUndoError(f"nothing of job '{job_id}' is left in {out}: it was undone, or wrote nothing there")
    later = {one.stem: one.in_effect[-1].job_id for one in touched if one.in_effect[-1].job_id != job_id}
    if later:
        stem, other = next(iter(later.items()))
        raise LaterRunError(f"job '{other}' has predicted '{stem}' again since job '{job_id}' did: undo that one first")
    return touched


def _tell_former_run(job_id: str, out: Path) -> None:
    """Put the record of the run before in the place of that of an undone one."""
    if _told(out).get("job_id") != job_id:
        return
    jobs = {one.in_effect[-1].job_id for one in histories(out) if one.in_effect}
    folders = [folder for job in jobs if (folder := out / RUNS_FOLDER / job).is_dir()]
    former = max(folders, key=lambda folder: str(_told(folder).get("started")), default=None)
    for name in (RUN_FILE, SUMMARY_FILE):
        if former is not None and (former / name).is_file():
            shutil.copyfile(former / name, out / name)
        else:
            (out / name).unlink(missing_ok=True)


def _told(folder: Path) -> dict[str, Any]:
    try:
        run: dict[str, Any] = msgspec.json.decode((folder / RUN_FILE).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return {}
    return run
