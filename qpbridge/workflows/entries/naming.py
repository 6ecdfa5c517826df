"""Names of result files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from qpbridge.errors import InvalidValueError, NothingToUndoError

if TYPE_CHECKING:
    from qpbridge.jobs.records import Job

PLAIN: Final = ".geojson"
GZIPPED: Final = ".geojson.gz"
PROBABILITIES: Final = ".probabilities.ome.tif"

RESULTS_FOLDER: Final = "qpbridge-results"
"""Where predictions go unless the user says otherwise: beside the project, one folder a model."""

_PLACES: Final = ".places"

RUN_FILE: Final = "run.json"
"""Says what a run did, beside its results."""

_LENGTH_MAX = 120
"""Characters of a stem: file systems take 255 bytes, and a letter may need two of them."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""


def safe_stem(name: str) -> str:
    """Return a name that every file system takes: letters, digits, ``. _ - + = @`` and inner blanks stay."""
    stem = re.sub(r"[^\w.+=@ -]+", "_", name)[:_LENGTH_MAX].strip(" .") or "image"
    return f"_{stem}" if _RESERVED.fullmatch(stem) else stem


def distinct_stems(stems: Sequence[str]) -> list[str]:
    """Return stems with a number added to those that came before, also where only case differs.

    ``["a", "A", "b", "a"]`` becomes ``["a", "A-2", "b", "a-3"]``.
    """
    taken: set[str] = set()
    distinct = []
    for stem in stems:
        candidates = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(stems) + 2))
        chosen = next(candidate for candidate in candidates if candidate.casefold() not in taken)
        taken.add(chosen.casefold())
        distinct.append(chosen)
    return distinct


def results_file(folder: Path, stem: str, is_gzipped: bool = False) -> Path:
    """Return where the results of a slide are written."""
    return folder / f"{stem}{GZIPPED if is_gzipped else PLAIN}"


def places_file(file: Path) -> Path:
    """Return where tile objects with what a network says of places lie, beside the results in ``file``."""
    return results_file(file.parent, f"{results_stem(file)}{_PLACES}", file.name.endswith(GZIPPED))


def results_stem(file: Path) -> str:
    """Return the stem of a file that ``results_file`` named."""
    return file.name.removesuffix(".gz").removesuffix(PLAIN)


def probabilities_file(file: Path) -> Path:
    """Return where the class probabilities of a slide are written, beside its results."""
    return file.with_name(f"{results_stem(file)}{PROBABILITIES}")


def find_results(folder: Path, stem: str) -> Path | None:
    """Return the results of a slide, compressed or not; the newer where there are both, None without any."""
    found = [path for suffix in (PLAIN, GZIPPED) if (path := folder / f"{stem}{suffix}").is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def default_results(inputs: Sequence[Path], model: Path) -> Path:
    """Return where predictions go unless told: beside the project or the first slide, one folder a model.

    What is not on this machine counts as a folder where its name has no ending.
    """
    first = inputs[0]
    is_folder = first.is_dir() or not (first.exists() or first.suffix)
    return (first if is_folder else first.parent) / RESULTS_FOLDER / model.resolve().name


def results_folder(job: Job) -> Path:
    """Return where a prediction wrote its results, so that it can be undone.

    Raises
    ------
    InvalidValueError
        If the job is of another kind.
    NothingToUndoError
        If it has not ended yet.
    """
    if job.kind != "predict":
        raise InvalidValueError(f"job '{job.id}' is of the kind {job.kind}: only a prediction can be undone")
    if not job.state.is_terminal:
        raise NothingToUndoError(f"job '{job.id}' is {job.state.value}: cancel it first, then undo what it wrote")
    return Path(job.request["out"])
