"""Scores of entries, and of all of them together."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qpbridge.core.backend import Backend
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.evaluation.instances import InstanceScores, mean_scores
from qpbridge.evaluation.report import instances_to_dict, ratios, to_dict
from qpbridge.workflows.entries.failures import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleiScore:
    """Scores of single nuclei.

    Parameters
    ----------
    scores : InstanceScores
        Of an entry, or of several together.
    verdicts : mapping of str to int
        How many annotated nuclei were found, missed, split and merged, and how many predicted ones were made up.
    pictures : tuple of Path
        That show which.
    """

    scores: InstanceScores
    verdicts: Mapping[str, int]
    pictures: tuple[Path, ...] = ()

    def __add__(self, other: NucleiScore) -> NucleiScore:
        """Return the scores of both together."""
        return NucleiScore(
            scores=self.scores + other.scores,
            verdicts={name: self.verdicts[name] + count for name, count in other.verdicts.items()},
            pictures=(*self.pictures, *other.pictures),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as JSON values; undefined ones are None."""
        return {**instances_to_dict(self.scores, self.verdicts), "pictures": [str(path) for path in self.pictures]}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryScore:
    """Scores of one entry.

    Parameters
    ----------
    key, name : str
        Entry id and image name.
    matrix : ConfusionMatrix
        Over its labelled pixels.
    pixel_area_mm2 : float
        Area of one counted pixel.
    slide_mm2 : float
        Area of the whole slide.
    was_trained_on : bool
        Whether the model knows this image from its training.
    nuclei : NucleiScore or None
        Of single nuclei, where they were predicted.
    """

    key: str
    name: str
    matrix: ConfusionMatrix
    pixel_area_mm2: float
    slide_mm2: float
    was_trained_on: bool = False
    nuclei: NucleiScore | None = None

    @property
    def labelled_mm2(self) -> float:
        """Area that was compared."""
        return self.matrix.labelled_px * self.pixel_area_mm2


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """Scores over all entries and of each.

    Parameters
    ----------
    pooled : ConfusionMatrix
        Over the labelled pixels of all entries together.
    entries : tuple of EntryScore
        Those with labelled pixels.
    failures : tuple of Failure
        Entries that could not be compared.
    unlabelled : tuple of str
        Names of entries without labelled pixels.
    backend : Backend
        What read the project.
    """

    pooled: ConfusionMatrix
    entries: tuple[EntryScore, ...]
    failures: tuple[Failure, ...] = ()
    unlabelled: tuple[str, ...] = ()
    backend: Backend = field(default_factory=Backend)

    @property
    def nuclei(self) -> NucleiScore | None:
        """Of the nuclei of all entries together; None where tissue was predicted."""
        found = [entry.nuclei for entry in self.entries if entry.nuclei is not None]
        return functools.reduce(operator.add, found) if found else None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values; undefined scores are None."""
        labelled_mm2, nuclei = sum(entry.labelled_mm2 for entry in self.entries), self.nuclei
        return {
            **to_dict(self.pooled),
            "labelled_mm2": labelled_mm2,
            "labelled_share": labelled_mm2 / sum(entry.slide_mm2 for entry in self.entries),
            "nuclei": None if nuclei is None else nuclei.to_dict(),
            "nuclei_mean": None if nuclei is None else _means(entry.nuclei for entry in self.entries),
            "entries": [
                {
                    "key": entry.key,
                    "name": entry.name,
                    "was_trained_on": entry.was_trained_on,
                    "labelled_share": entry.labelled_mm2 / entry.slide_mm2,
                    "nuclei": None if entry.nuclei is None else entry.nuclei.to_dict(),
                    **to_dict(entry.matrix, entry.pixel_area_mm2),
                }
                for entry in self.entries
            ],
            "failures": [asdict(failure) for failure in self.failures],
            "unlabelled": list(self.unlabelled),
            "backend": asdict(self.backend),
        }


def _means(nuclei: Iterable[NucleiScore | None]) -> dict[str, Any]:
    means = ratios(mean_scores(one.scores for one in nuclei if one is not None))
    return {**means, "counts": None, "pictures": []}
