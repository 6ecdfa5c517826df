"""One slide to work on: an entry of a QuPath project or a bare file, with its pixel size and where that came from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.errors import PathRefusedError, PixelSizeMissingError, ProjectNotFoundError, SlideMismatchError
from qpbridge.workflows.entries.naming import safe_stem
from qpbridge.workflows.entries.roots import may_read

if TYPE_CHECKING:
    from qpbridge.core.backend import BackendChoice
    from qpbridge.core.objects import PathObject
    from qpbridge.core.progress import Progress
    from qpbridge.qupath.locate import Located, PathMap
    from qpbridge.qupath.project import Project, ProjectEntry
    from qpbridge.slides.slide import Slide

PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp")
"""Of files without resolutions."""

_SERIES_SUFFIX: Final = ".dcm"
"""DICOM: one slide is many files, of which only a person can name one."""


_EVERYWHERE_ID: Final = "00000000-0000-0000-0000-000000000000"
_EVERYWHERE_RGB: Final = (0, 0, 0)
_EVERYWHERE_PX: Final = 1 << 24
"""More than any image has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSource:
    """A slide that is open for reading.

    Parameters
    ----------
    slide : Slide
        In the coordinates that QuPath shows.
    calibration : PixelCalibration
        True size of a level-0 pixel.
    calibration_source : str
        ``"request"``, ``"project"`` or ``"file"``.
    found_by : str
        What led to the file, see ``FoundBy``.
    """

    slide: Slide
    calibration: PixelCalibration
    calibration_source: str
    found_by: str = "given"

    @property
    def region(self) -> Region:
        """The whole slide, level-0 px."""
        return Region(x_px=0, y_px=0, width_px=self.slide.width_px, height_px=self.slide.height_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A slide that can be opened.

    Parameters
    ----------
    key : str
        Entry id, or the stem of a bare file.
    name : str
        Image name.
    file_stem : str
        Name of output files without suffix, safe on every file system.
    path : Path or None
        Of a bare file.
    project, entry : Project and ProjectEntry, or None
        Where the slide belongs to a project.
    path_map : PathMap or None
        Where the project's slides lie now.
    given : tuple of PathObject or None
        Objects that came with the request.
    keeps_saved : bool
        Whether those join the saved objects rather than take their place.
    complete_class : str or None
        Class of an annotation that lies over everything, where there are objects at all.
    """

    key: str
    name: str
    file_stem: str
    path: Path | None = None
    project: Project | None = None
    entry: ProjectEntry | None = None
    path_map: PathMap | None = None
    given: tuple[PathObject, ...] | None = None
    keeps_saved: bool = False
    complete_class: str | None = None

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"slide '{self.name}'" if self.entry is None else self.entry.label

    @property
    def project_name(self) -> str:
        """Name of the project's folder; empty for a bare file."""
        return "" if self.project is None else self.project.folder.resolve().name

    def located(self) -> Located:
        """Return where the slide lies, and what led there.

        Raises
        ------
        SlideNotFoundError
            If it is in none of the places looked at.
        PathRefusedError
            If it is a bare file that this process may not read.
        """
        from qpbridge.qupath.locate import FoundBy, Located, locate_slide

        if self.path is not None:
            return Located(path=_readable(self.path), found_by=FoundBy.GIVEN)
        project, entry, path_map = self._in_project()
        return locate_slide(project, entry, path_map, may_read)

    def objects(self) -> tuple[PathObject, ...]:
        """Return the objects of this slide: those given with the request, those saved in the project, or both.

        A saved object of which there is a given one with the same id is out of date. Where everything is annotated,
        an annotation that says so comes last.

        Raises
        ------
        DamagedDataError
            If the entry's data cannot be read.
        PathRefusedError
            If a link leads from there to what this process may not read.
        """
        found = self._known_objects()
        return found if self.complete_class is None or not found else (*found, _everywhere(self.complete_class))

    def _known_objects(self) -> tuple[PathObject, ...]:
        if self.given is None:
            return self.saved_objects()
        if not self.keeps_saved:
            return self.given
        renewed = {item.id for item in self.given}
        return (*(item for item in self.saved_objects() if item.id not in renewed), *self.given)

    def saved_objects(self) -> tuple[PathObject, ...]:
        """Return the objects saved in the project; none for a bare file.

        Raises
        ------
        DamagedDataError, PathRefusedError
            As ``objects``.
        """
        if self.entry is None:
            return ()
        project, entry, _ = self._in_project()
        _readable(entry.data_path)
        return project.read_objects(entry)

    @contextlib.contextmanager
    def open(self, mpp: float | None) -> Iterator[OpenedSource]:
        """Open the slide.

        Parameters
        ----------
        mpp : float or None
            Pixel size that overrides every other source, µm/px.

        Raises
        ------
        SlideNotFoundError, DamagedSlideError, UnsupportedImageError, SlideMismatchError
            If there is no such slide.
        PixelSizeMissingError
            If neither request, project nor file say how large a pixel is.
        """
        from qpbridge.slides.opening import open_slide

        server = None if self.entry is None else self.entry.server
        located = self.located()
        with open_slide(located.path, server) as slide:
            calibration, origin = self._calibration(slide, mpp)
            if origin == "project" and located.found_by.is_guess:
                self._check_same(slide, calibration, located)
            yield OpenedSource(
                slide=slide, calibration=calibration, calibration_source=origin, found_by=located.found_by.value
            )

    def _check_same(self, slide: Slide, stated: PixelCalibration, located: Located) -> None:
        """Refuse a slide that only its name speaks for, where its pixel size speaks against it."""
        found = slide.calibration
        if found is not None and not stated.is_near(found):
            raise SlideMismatchError(
                f"{located.path}, found by the {located.found_by.value}, has pixels of {found.mpp_x:.4g} µm, but the"
                f" project describes {self.label} with {stated.mpp_x:.4g} µm: if it is the right file, say where it is"
                " with --path-map FROM=TO, or give --mpp"
            )

    def _calibration(self, slide: Slide, mpp: float | None) -> tuple[PixelCalibration, str]:
        if mpp is not None:
            return PixelCalibration.square(mpp), "request"
        if self.entry is not None and self.entry.server.calibration is not None:
            return self.entry.server.calibration, "project"
        if slide.calibration is not None:
            return slide.calibration, "file"
        raise PixelSizeMissingError(
            f"{self.label} has no pixel size, neither in QuPath nor in its file: set it in QuPath"
            " (Image tab, double-click Pixel width) or give it with --mpp, in µm/px"
        )

    def _in_project(self) -> tuple[Project, ProjectEntry, PathMap]:
        assert self.project is not None
        assert self.entry is not None
        assert self.path_map is not None
        return self.project, self.entry, self.path_map


def _everywhere(class_name: str) -> PathObject:
    """Return an annotation over everything that an image may hold."""
    import shapely

    from qpbridge.core.objects import ObjectKind, PathClass, PathObject

    return PathObject(
        id=_EVERYWHERE_ID,
        kind=ObjectKind.ANNOTATION,
        geometry=shapely.box(0, 0, _EVERYWHERE_PX, _EVERYWHERE_PX),
        path_class=PathClass(class_name, _EVERYWHERE_RGB),
    )


def _readable(path: Path) -> Path:
    if not may_read(path):
        raise PathRefusedError(
            f"{path} lies outside the server's roots, or a link in it leads there: move it, or add one"
        )
    return path


def open_told(path: Path, choice: BackendChoice, progress: Progress) -> Project:
    """Open a project with the backend that was asked for, and tell what the user should know of it.

    Raises
    ------
    ProjectNotFoundError, DamagedProjectError
        If there is no such project.
    QupathMissingError
        If paquo was asked for, and there is no QuPath that runs.
    """
    from qpbridge.qupath.backends import open_project_with

    project = open_project_with(choice, path)
    if project.backend.warning is not None:
        progress.warn(project.backend.warning)
    return project


def sources_of_project(
    project_path: Path, entries: Sequence[str] | None = None, path_map: Sequence[str] = ()
) -> list[Source]:
    """Return the slides of a project that is read without QuPath; otherwise as ``sources_in``.

    Raises
    ------
    ProjectNotFoundError, DamagedProjectError
        If there is no such project.
    """
    from qpbridge.qupath.project import open_project

    return sources_in(open_project(project_path), entries, path_map)


def sources_in(project: Project, entries: Sequence[str] | None = None, path_map: Sequence[str] = ()) -> list[Source]:
    """Return the slides of a project.

    Parameters
    ----------
    project : Project
        Opened by any backend, which also reads the objects.
    entries : sequence of str or None
        Entry ids or image names; all entries where None.
    path_map : sequence of str
        Rules ``FROM=TO`` that say where stored paths lie on this machine.

    Raises
    ------
    UnknownNameError
        If an entry does not exist.
    """
    from qpbridge.qupath.locate import PathMap

    named = project.entries if entries is None else [project.entry(key) for key in entries]
    # An entry may be named twice, by its id and by its name.
    chosen = {entry.id: entry for entry in named}.values()
    rules = PathMap.parse(path_map)
    return [
        Source(
            key=entry.id,
            name=entry.name,
            file_stem=f"{entry.id}-{safe_stem(entry.name)}",
            project=project,
            entry=entry,
            path_map=rules,
        )
        for entry in chosen
    ]


def sources_of_slides(paths: Sequence[Path]) -> list[Source]:
    """Return bare slide files as sources."""
    return [Source(key=path.stem, name=path.name, file_stem=safe_stem(path.stem), path=path) for path in paths]


def slides_in(folder: Path) -> list[Path]:
    """Return the slides of a folder by name; pictures only where there are no others, which they may be previews of.

    Raises
    ------
    ProjectNotFoundError
        If it holds neither a project nor slides.
    """
    from qpbridge.slides.opening import OPENERS

    suffixes = OPENERS.keys() - {_SERIES_SUFFIX}
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())
    scans = [path for path in files if path.suffix.lower() not in PICTURE_SUFFIXES]
    if not files:
        raise ProjectNotFoundError(
            f"{folder} holds neither a QuPath project nor slides (files ending in {', '.join(sorted(suffixes))}); name"
            " another, or the slides themselves"
        )
    return scans or files


def is_project(path: Path) -> bool:
    """Whether a path names a QuPath project: a ``.qpproj`` file or a folder that holds one."""
    return path.suffix == ".qpproj" or (path.is_dir() and any(path.glob("*.qpproj")))
