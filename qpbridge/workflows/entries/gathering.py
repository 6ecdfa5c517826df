"""Annotations and open slides of a project, gathered for training; what cannot be used is told and left out."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from qpbridge.core.objects import REGION_CLASS, PathClass, PathObject
from qpbridge.core.progress import Progress
from qpbridge.errors import NoAnnotationError
from qpbridge.training.classes import ClassChoice
from qpbridge.training.patches import LabelledSlide
from qpbridge.training.tagging import tagged_areas_px
from qpbridge.vector.instances.painting import single_nuclei
from qpbridge.vector.labels import Subject, image_tags, read_labels, tags_of, visible_areas_px
from qpbridge.workflows.entries.failures import Failure, Failures
from qpbridge.workflows.entries.findings import without_findings
from qpbridge.workflows.entries.sources import Source

COARSER_MAX = 1.5
"""A slide with pixels coarser than the model's by more than this cannot show what the model is to learn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSlide:
    """A slide to learn from.

    Parameters
    ----------
    source : Source
        Where it comes from.
    slide : LabelledSlide
        Pixels and labelled shapes.
    areas_um2 : mapping of str to float
        Area that teaches each class of the model, µm²; tagged with it, where tags are learned from.
    """

    source: Source
    slide: LabelledSlide
    areas_um2: Mapping[str, float]


class _Notes(TypedDict, total=False):
    """What an entry says of its image as a whole."""

    metadata: Mapping[str, str]
    tags: Sequence[str]


class Gathering:
    """What a project offers to learn from.

    Parameters
    ----------
    sources : sequence of Source
        Slides of a project.
    mpp : float or None
        Pixel size of the slides that overrides every other source, µm/px.
    progress : Progress
        Hears what is left out.
    region_class : str
        Class of annotations that mark areas as completely annotated.

    Raises
    ------
    DamagedDataError
        If no entry's objects can be read.
    """

    def __init__(
        self, sources: Sequence[Source], mpp: float | None, progress: Progress, region_class: str = REGION_CLASS
    ) -> None:
        self._mpp = mpp
        self._region_class = region_class
        self._progress = progress
        self._failures = Failures(progress)
        self._objects: list[tuple[Source, tuple[PathObject, ...]]] = []
        for source in sources:
            with self._failures.kept(source.label):
                self._objects.append((source, self._drawn(source)))
        if self._failures.found and not self._objects:
            raise self._failures.first_or(NoAnnotationError("no entry's annotations fit the memory of this machine"))

    def _drawn(self, source: Source) -> tuple[PathObject, ...]:
        found = without_findings(source, self._region_class)
        if found.untouched:
            self._progress.warn(
                f"{source.label}: {len(found.untouched)} objects that an earlier run found are left out: edit or lock"
                f" what is right, or draw a {self._region_class} around what is completely right"
            )
        return found.objects

    @property
    def failures(self) -> Sequence[Failure]:
        """Entries that cannot be used."""
        return self._failures.found

    @property
    def objects(self) -> list[PathObject]:
        """The objects of all slides."""
        return [item for _, objects in self._objects for item in objects]

    @property
    def project_classes(self) -> Sequence[PathClass]:
        """Classes as listed in the project."""
        return next((source.project.classes for source, _ in self._objects if source.project is not None), ())

    def tags(self, region_class: str) -> list[str]:
        """Return all tags of areas and of whole images."""
        drawn = [tag for item in self.objects for tag in tags_of(item, region_class) or ()]
        known = [*(one.name for one in self.project_classes), *drawn]
        entries = [source.entry for source, _ in self._objects if source.entry is not None]
        return [*drawn, *(tag for one in entries for tag in image_tags(one.metadata, one.tags, known) or ())]

    def open(self, model_mpp: float, choice: ClassChoice, stack: contextlib.ExitStack) -> list[OpenedSlide]:
        """Open the slides that have labelled shapes, or tagged areas where these are learned from.

        Parameters
        ----------
        model_mpp : float
            Of the finest view, µm/px.
        choice : ClassChoice
            Classes to label.
        stack : ExitStack
            Closes the slides.

        Raises
        ------
        SlideNotFoundError, DamagedSlideError, UnsupportedImageError, SlideMismatchError, PixelSizeMissingError
            If no slide at all can be used; the first one's cause.
        NoAnnotationError
            If no slide has any.
        """
        opened: list[OpenedSlide] = []
        for source, objects in self._objects:
            if not _teaches(source, objects, choice):
                continue
            with self._failures.kept(source.label):
                opened.append(self._open(source, objects, model_mpp, choice, stack))
        if not opened:
            raise self._failures.first_or(NoAnnotationError(f"no annotation with an area of {', '.join(choice.names)}"))
        return opened

    def _open(
        self,
        source: Source,
        objects: Sequence[PathObject],
        model_mpp: float,
        choice: ClassChoice,
        stack: contextlib.ExitStack,
    ) -> OpenedSlide:
        opened = stack.enter_context(source.open(self._mpp))
        calibration = opened.calibration
        if max(calibration.mpp_x, calibration.mpp_y) > COARSER_MAX * model_mpp:
            self._progress.warn(
                f"{source.label} has pixels of {calibration.mpp_x:.3g} µm, the model sees {model_mpp:.3g} µm: what is"
                " to be learnt may not be seen there; give the model coarser pixels with --set mpp=..."
            )
        labelled = read_labels(objects, choice.rule, bounds=opened.region, **_notes(source))
        if labelled.mended:
            self._progress.warn(f"{source.label}: {labelled.mended} self-crossing annotations mended")
        if labelled.outside:
            self._progress.warn(f"{source.label}: {labelled.outside} annotations outside the image left out")
        if choice.learns_tags:
            areas_px = tagged_areas_px(labelled.tagged, opened.region)
        else:
            areas_px = visible_areas_px(labelled.shapes, opened.region)
        return OpenedSlide(
            source=source,
            slide=LabelledSlide(
                key=source.key,
                slide=opened.slide,
                calibration=calibration.fitted_to(model_mpp),
                shapes=labelled.shapes,
                nuclei=single_nuclei(labelled.shapes, choice.background) if choice.subject is Subject.NUCLEI else (),
                tagged=labelled.tagged if choice.learns_tags else (),
            ),
            areas_um2={choice.names[label]: area * calibration.pixel_area_um2 for label, area in areas_px.items()},
        )


def _notes(source: Source) -> _Notes:
    return _Notes() if source.entry is None else _Notes(metadata=source.entry.metadata, tags=source.entry.tags)


def _teaches(source: Source, objects: Sequence[PathObject], choice: ClassChoice) -> bool:
    labels = read_labels(objects, choice.rule)
    if not choice.learns_tags:
        return bool(labels.shapes)
    of_image = None if source.entry is None else image_tags(source.entry.metadata, source.entry.tags, choice.names)
    return bool(labels.tagged) or of_image is not None
