"""What a demonstration is about: a made slide, whose truth is known, or somebody's own project."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from qpbridge.core.objects import PathClass, annotations_of
from qpbridge.core.progress import Progress
from qpbridge.demo.judging import CLASS_NAMES, compare_with_truth
from qpbridge.demo.making import ANNOTATED_SHARE, DemoCase, DemoFolder
from qpbridge.demo.report import Shown
from qpbridge.errors import QpbridgeError
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.qupath.geojson import read_objects
from qpbridge.slides.opening import open_slide
from qpbridge.slides.slide import Slide
from qpbridge.slides.synthetic import CLASSES, SyntheticSlide
from qpbridge.vector.labels import LabelRule, read_labels
from qpbridge.workflows.entries.failures import one_by_one
from qpbridge.workflows.entries.sources import Source, sources_of_project

SHOWN_MAX: Final = 3
"""Slides on the page."""

CONTEXT_CLASS: Final = "Benign"
"""Class that only its surroundings tell: where one has to look twice."""

_CELLS: Final = 64

Report: TypeAlias = Mapping[str, Any]
"""JSON values, as --json prints them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gained:
    """What the server gave.

    Parameters
    ----------
    trained, predicted : mapping
        Reports of training and prediction, as JSON values.
    classes : sequence of PathClass
        Of the model.
    """

    trained: Report
    predicted: Report
    classes: Sequence[PathClass]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How good a prediction is.

    Parameters
    ----------
    judged_by : str
        What it was compared with.
    mean_iou : float or None
        Over the classes.
    class_iou : mapping of str to float or None
        By class; None where there is nothing to compare.
    table : sequence of sequence of str
        The same and more for a reader, the heads first.
    """

    judged_by: str
    mean_iou: float | None
    class_iou: Mapping[str, float | None]
    table: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What to show.

    Parameters
    ----------
    slides : sequence of Shown
        With what was predicted on them.
    classes : sequence of PathClass
        Position is the label in their shapes.
    verdict : Verdict
        How good it is.
    """

    slides: Sequence[Shown]
    classes: Sequence[PathClass]
    verdict: Verdict


class Subject(Protocol):
    """What is trained on and predicted."""

    @property
    def project(self) -> Path:
        """A ``.qpproj`` file or its folder."""

    @property
    def roots(self) -> tuple[Path, ...]:
        """Folders that a server must be able to read."""

    @property
    def facts(self) -> dict[str, str]:
        """What to tell first, by label."""

    def outcome(self, gained: Gained, progress: Progress) -> Outcome:
        """Return what to show of what the server gave, and how good it is."""


@dataclass(frozen=True, slots=True)
class MadeSlide:
    """A slide made for it: what is not annotated is compared with the truth."""

    folder: DemoFolder
    case: DemoCase

    @property
    def project(self) -> Path:
        """The project made for it."""
        return self.folder.project

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folder of the demonstration alone."""
        return (self.folder.root,)

    @property
    def facts(self) -> dict[str, str]:
        """How much is annotated."""
        return {"annotated share of the slide": f"{ANNOTATED_SHARE:.0%}"}

    def outcome(self, gained: Gained, progress: Progress) -> Outcome:
        """Compare with the truth, wherever nothing was annotated."""
        (result,) = gained.predicted["slides"]
        made = self.case.slide
        shown = Shown(
            name=self.folder.slide.name,
            open=lambda: open_slide(self.folder.slide),
            mpp=made.spec.mpp,
            annotated=read_labels(self.case.annotations, LabelRule(class_names=CLASS_NAMES)).shapes,
            predicted=read_labels(
                read_objects(Path(result["file"])).objects, LabelRule(class_names=CLASS_NAMES)
            ).shapes,
            truth=made.labels,
            detail=_where_to_look_twice(made),
        )
        matrix = compare_with_truth(self.case, shown.predicted, progress)
        return Outcome(slides=[shown], classes=CLASSES, verdict=_against_truth(matrix))


@dataclass(frozen=True, slots=True)
class OwnProject:
    """Somebody's project, of which nobody knows the truth: what was held back from training is the judge."""

    project: Path
    sources: Sequence[Source]

    @classmethod
    def at(cls, project: Path) -> OwnProject:
        """Return the project of a path.

        Raises
        ------
        ProjectNotFoundError, DamagedProjectError
            If there is none.
        """
        return cls(project, sources_of_project(project))

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders of the project and of the slides that can be found."""
        folder = self.project if self.project.is_dir() else self.project.parent
        return tuple(dict.fromkeys([folder, *filter(None, map(_folder_of, self.sources))]))

    @property
    def facts(self) -> dict[str, str]:
        """How many slides there are."""
        return {"project": str(self.project), "entries": str(len(self.sources))}

    def outcome(self, gained: Gained, progress: Progress) -> Outcome:
        """Show the first slides, those with annotations before the others, and how well the model did on the rest."""
        results = {one["key"]: one for one in gained.predicted["slides"]}
        names = [item.name for item in gained.classes]
        predicted = [source for source in self.sources if source.key in results]
        shown: list[Shown] = []
        for source in one_by_one(predicted, "read the results", progress):
            shown.append(_shown(source, results[source.key], names))
            shown = sorted(shown, key=lambda one: not one.annotated)[:SHOWN_MAX]
        return Outcome(slides=shown, classes=gained.classes, verdict=_against_held_back(gained.trained))


def _shown(source: Source, result: Report, names: Sequence[str]) -> Shown:
    rule = LabelRule(class_names=tuple(names))
    annotated = read_labels(annotations_of(source.objects()), rule).shapes
    largest = max((geometry for geometry, _ in annotated), key=lambda one: one.area, default=None)
    return Shown(
        name=source.name,
        open=lambda: _opened(source, result["mpp_x"]),
        mpp=result["mpp_x"],
        annotated=annotated,
        predicted=read_labels(read_objects(Path(result["file"])).objects, rule).shapes,
        detail=None if largest is None else (largest.centroid.x, largest.centroid.y),
    )


@contextlib.contextmanager
def _opened(source: Source, mpp: float) -> Iterator[Slide]:
    with source.open(mpp) as opened:
        yield opened.slide


def _folder_of(source: Source) -> Path | None:
    try:
        return source.located().path.resolve().parent
    except QpbridgeError:
        return None  # told when it is predicted


def _against_truth(matrix: ConfusionMatrix) -> Verdict:
    per_class = zip(matrix.class_names, matrix.iou, matrix.recall, matrix.precision, strict=True)
    means = (matrix.mean_iou, matrix.mean_recall, matrix.mean_precision)
    rows = [[name, *map(_text, scores)] for name, *scores in (*per_class, ("mean", *means))]
    return Verdict(
        judged_by="the truth, where nothing was annotated",
        mean_iou=_number(matrix.mean_iou),
        class_iou=dict(zip(matrix.class_names, map(_number, matrix.iou), strict=True)),
        table=[["class", "IoU", "recall", "precision"], *rows],
    )


def _against_held_back(trained: Report) -> Verdict:
    scores: dict[str, float | None] = trained["class_iou"]
    rows = [*scores.items(), ("mean", trained["mean_iou"])]
    return Verdict(
        judged_by="the annotations that training held back",
        mean_iou=trained["mean_iou"],
        class_iou=scores,
        table=[["class", "IoU"], *([name, _text(iou)] for name, iou in rows)],
    )


def _where_to_look_twice(slide: SyntheticSlide) -> tuple[float, float] | None:
    """Return a place in the class that only its surroundings tell, level-0 px."""
    labels = slide.labels(slide.bounds, _CELLS, _CELLS)
    rows, columns = np.nonzero(labels == CLASS_NAMES.index(CONTEXT_CLASS))
    if not len(rows):
        return None
    middle = len(rows) // 2
    x, y = (columns[middle] + 0.5) / _CELLS, (rows[middle] + 0.5) / _CELLS
    return float(x) * slide.width_px, float(y) * slide.height_px


def _number(score: float) -> float | None:
    return float(score) if math.isfinite(score) else None


def _text(score: float | None) -> str:
    return "-" if score is None or not math.isfinite(score) else f"{score:.3f}"
