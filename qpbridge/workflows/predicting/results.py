"""What a prediction gave."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from qpbridge.core.backend import Backend
from qpbridge.core.objects import BACKGROUND_CLASS, PathObject
from qpbridge.models.spec import ModelClass
from qpbridge.qupath.write_back import WriteBack
from qpbridge.workflows.entries.failures import Failure

SUMMARY_FILE: Final = "summary.csv"

UM2_PER_MM2: Final = 1e6

_FOR_RESUMING: Final = frozenset({"file_sha256", "interest_sha256"})
"""What only the record of a run needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSummary:
    """What was found of one class on one slide.

    Parameters
    ----------
    name : str
        Of the class.
    count : int
        Regions.
    area_mm2 : float
        Their area.
    share_of_tissue : float or None
        Of all that was predicted to be something other than Background; None for Background itself and
        where there is no tissue.
    """

    name: str
    count: int
    area_mm2: float
    share_of_tissue: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideResult:
    """What was predicted on one slide.

    Parameters
    ----------
    key, name : str
        Entry id, or stem of the file, and image name.
    file : Path
        GeoJSON.
    slide_path : Path
        The slide.
    fingerprint : str
        Of the slide.
    mpp_x, mpp_y : float
        Size of a level-0 pixel, µm.
    mpp_source : str
        ``"request"``, ``"project"`` or ``"file"``.
    objects : int
        In the file.
    added, replaced, kept, dropped : int
        Of those, what this run found; what earlier runs had found and is gone; what people made, edited or locked;
        and what was found but left out, since a person has decided otherwise there. See ``reconcile``.
    classes : tuple of ClassSummary
        Of every class that is written back.
    duration_s : float
        From opening the slide to the written file.
    warnings : tuple of str
        What the user should know about this slide.
    probabilities : Path or None
        OME-TIFF of the class probabilities, where it was asked for.
    suggestions : int
        Regions among the objects that are to be looked at next.
    file_sha256 : str
        Of the GeoJSON, hexadecimal.
    interest_sha256 : str or None
        Of the areas that were asked for; None where the whole slide was.
    write_back : WriteBack or None
        What became of putting the objects into the project; None where nobody asked for that.
    """

    key: str
    name: str
    file: Path
    slide_path: Path
    fingerprint: str
    mpp_x: float
    mpp_y: float
    mpp_source: str
    objects: int
    classes: tuple[ClassSummary, ...]
    duration_s: float
    warnings: tuple[str, ...]
    added: int = 0
    replaced: int = 0
    kept: int = 0
    dropped: int = 0
    probabilities: Path | None = None
    suggestions: int = 0
    file_sha256: str = ""
    interest_sha256: str | None = None
    write_back: WriteBack | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictReport:
    """What was predicted, and which slides failed.

    Parameters
    ----------
    out : Path
        Folder of the results.
    job_id : str
        By which the run can be undone.
    results : tuple of SlideResult
        Of the slides that succeeded.
    failures : tuple of Failure
        Of the others.
    project : Path or None
        Folder of the new project, where one was asked for and a slide succeeded.
    backend : Backend or None
        What read the project, if there was one.
    """

    out: Path
    job_id: str
    results: tuple[SlideResult, ...]
    failures: tuple[Failure, ...]
    project: Path | None = None
    backend: Backend | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "out": str(self.out),
            "job_id": self.job_id,
            "project": None if self.project is None else str(self.project),
            "slides": [_told(result) for result in self.results],
            "failures": [asdict(failure) for failure in self.failures],
            "backend": None if self.backend is None else asdict(self.backend),
        }


def _told(result: SlideResult) -> dict[str, Any]:
    return {name: value for name, value in asdict(result).items() if name not in _FOR_RESUMING}


class Tally:
    """Counts objects by class as they come.

    Parameters
    ----------
    classes : sequence of ModelClass
        Of the model; those that are never written do not count.
    pixel_area_um2 : float
        Of level 0.
    """

    def __init__(self, classes: Sequence[ModelClass], pixel_area_um2: float) -> None:
        self._pixel_area_um2 = pixel_area_um2
        self._areas_mm2: dict[str, list[float]] = {item.name: [] for item in classes if item.is_written}

    def add(self, objects: Iterable[PathObject]) -> None:
        """Count some objects; of other classes than the model's, they do not count."""
        for item in objects:
            if item.path_class is not None and item.path_class.name in self._areas_mm2:
                # A measurement is not what it was once somebody has edited the outline.
                area_um2 = item.geometry.area * self._pixel_area_um2
                self._areas_mm2[item.path_class.name].append(area_um2 / UM2_PER_MM2)

    def summary(self) -> tuple[ClassSummary, ...]:
        """Return what was found of every class."""
        # Sorted, so that the sums do not depend on the order in which the objects came.
        total_mm2 = {name: sum(sorted(areas)) for name, areas in self._areas_mm2.items()}
        tissue_mm2 = sum(area for name, area in total_mm2.items() if name != BACKGROUND_CLASS)
        return tuple(
            ClassSummary(
                name=name,
                count=len(areas),
                area_mm2=total_mm2[name],
                share_of_tissue=total_mm2[name] / tissue_mm2 if tissue_mm2 and name != BACKGROUND_CLASS else None,
            )
            for name, areas in self._areas_mm2.items()
        )


def summary_csv(results: Sequence[SlideResult]) -> bytes:
    """Return one line for each class of each slide."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    told = ["in_project"] if any(result.write_back is not None for result in results) else []
    writer.writerow(["entry", "image", "class", "count", "area_mm2", "share_of_tissue", *told])
    for result in results:
        put = [] if result.write_back is None else [result.write_back.text]
        for item in result.classes:
            share = "" if item.share_of_tissue is None else f"{item.share_of_tissue:.6g}"
            writer.writerow([result.key, result.name, item.name, item.count, f"{item.area_mm2:.6g}", share, *put])
    return text.getvalue().encode()
