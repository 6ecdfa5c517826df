"""What the demonstration works on: a procedural slide and a QuPath project with partial annotations of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qpbridge.core.objects import PathObject
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError
from qpbridge.files import write_bytes
from qpbridge.qupath.writing import create_project
from qpbridge.slides.synthetic import CLASSES, SyntheticSlide, SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import partial_annotations
from qpbridge.workflows.entries.making import entry_of_file

EDGE_PX = 6144
"""Edge of the slide: 3 mm at 0.5 µm/px, enough for several nests of every kind."""

ANNOTATED_SHARE = 0.06
"""Share of the slide that is annotated; Ho et al. 2021 had 5.34 % of their pixels labelled."""

MARK = "qpbridge-demo.txt"
"""File that says that a folder is a demonstration, and may be made anew."""


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """Where the parts of a demonstration lie."""

    root: Path

    @property
    def slide(self) -> Path:
        """The slide."""
        return self.root / "slide.tif"

    @property
    def project(self) -> Path:
        """Folder of the QuPath project."""
        return self.root / "project"

    @property
    def model(self) -> Path:
        """The bundle."""
        return self.root / "model"

    @property
    def results(self) -> Path:
        """Folder of the predictions."""
        return self.root / "results"

    @property
    def predicted(self) -> Path:
        """Folder of the QuPath project that shows the predictions."""
        return self.root / "predicted"

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.root / "report.html"

    def clear(self) -> None:
        """Make the folder ready for a new demonstration, whose place only an older one may hold.

        Raises
        ------
        InvalidValueError
            If the folder holds something else.
        """
        if self.root.exists() and (not self.root.is_dir() or (any(self.root.iterdir()) and not self._mark.exists())):
            raise InvalidValueError(f"{self.root} holds something else than a demo; name a new folder for it")
        write_bytes(self._mark, b"Made by qpbridge demo, which replaces all of it when it runs again.\n")
        for folder in (self.project, self.model, self.results, self.predicted):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.slide, self.report):
            file.unlink(missing_ok=True)

    @property
    def _mark(self) -> Path:
        return self.root / MARK


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCase:
    """The slide with its truth, and what was annotated of it."""

    slide: SyntheticSlide
    annotations: Sequence[PathObject]


def make_case(folder: DemoFolder, seed: int, progress: Progress) -> DemoCase:
    """Write slide and project, and return them with their truth.

    Raises
    ------
    InvalidValueError
        If the folder holds something else.
    DiskFullError
        If there is no space left.
    """
    folder.clear()
    slide = make_slide(SyntheticSpec(width_px=EDGE_PX, height_px=EDGE_PX, seed=seed))
    write_slide(folder.slide, slide, progress)
    progress.report("annotate", 0, 1)
    annotations = partial_annotations(slide, share=ANNOTATED_SHARE, seed=seed)
    entry = entry_of_file(folder.slide, annotations)
    create_project(folder.project, [entry], CLASSES)
    progress.report("annotate", 1, 1)
    return DemoCase(slide=slide, annotations=annotations)


def relative(path: Path) -> str:
    """Return a path as a reader in the working folder would write it."""
    return os.path.relpath(path)
