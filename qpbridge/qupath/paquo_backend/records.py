"""What goes between this process and that of QuPath: plain values and arrays, no Java and no paquo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


AREA_KEPT_MIN: Final = 0.99
"""Least share of a polygon's area that must be left."""


class JavaFailure(Exception):  # noqa: N818
    """QuPath or its Java could not do what was asked; crosses the border between processes as its message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuPathFacts:
    """A QuPath that runs.

    Parameters
    ----------
    version : str
        Of QuPath, e.g. ``0.5.1``.
    folder : str
        Where it is installed.
    java_version : str
        Of the Java that it runs on.
    java_folder : str
        Where that is.
    area_kept : float
        Least share of a polygon's area that is left when this QuPath makes a geometry of it; 1 is right.
    """

    version: str
    folder: str
    java_version: str
    java_folder: str
    area_kept: float

    @property
    def text(self) -> str:
        """The QuPath in words."""
        return f"QuPath {self.version} in {self.folder} on Java {self.java_version}"

    @property
    def keeps_areas(self) -> bool:
        """Whether the geometries that this QuPath makes of polygons are whole."""
        return self.area_kept >= AREA_KEPT_MIN

    @property
    def trouble(self) -> str:
        """What becomes of polygons where they are not."""
        return (
            f"{self.text} loses parts of polygons: {self.area_kept:.0%} of a trial outline's area were left in what"
            " it exports and computes (its objects are whole where they are read by their vertices, as here)"
        )


class EntryContent(NamedTuple):
    """One image of a project as QuPath tells it; ``builder`` is JSON text, ``tags`` None before QuPath 0.6."""

    id: str
    name: str
    description: str | None
    metadata: dict[str, str]
    tags: tuple[str, ...] | None
    builder: str | None


class ProjectContent(NamedTuple):
    """A project as QuPath tells it; classes are names and signed ARGB integers."""

    version: str
    uri: str | None
    classes: list[tuple[str, int | None]]
    entries: list[EntryContent]


class Shapes(NamedTuple):
    """ROIs, column by column.

    ``kinds`` are simple names of Java classes, ``planes`` (n, 3) hold c, z, t. The first ``counts[0]`` rows of
    ``points`` are the vertices of the first shape, and so on; shapes that are no list of vertices have none, and
    their WKB by position in ``wkb``; an ellipse has two, opposite corners of its bounds.
    """

    kinds: list[str]
    planes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    points: Numbers
    wkb: Mapping[int, bytes]


class Hierarchy(NamedTuple):
    """Objects below the root, column by column, parents before their children.

    ``parents`` are positions, -1 below the root; ``flags`` (n, 6) say cell, tile, TMA core, detection, locked,
    missing; ``classes`` are positions in ``class_table``, -1 for none; ``shapes`` belong to the objects at
    ``with_shape``, ``nuclei`` to those at ``with_nucleus``; names of measurements are repeated for each object.
    """

    ids: list[str]
    parents: list[int]
    flags: npt.NDArray[np.bool_]
    names: list[str | None]
    colors: list[int | None]
    probabilities: Numbers
    classes: list[int]
    class_table: list[tuple[str, int | None]]
    measured: npt.NDArray[np.int64]
    measurement_names: list[str]
    measurement_values: Numbers
    metadata: Mapping[int, dict[str, str]]
    with_shape: npt.NDArray[np.int64]
    shapes: Shapes
    with_nucleus: npt.NDArray[np.int64]
    nuclei: Shapes


class DataContent(NamedTuple):
    """What a ``data.qpdata`` holds."""

    hierarchy: Hierarchy
    image_type: str | None
    properties: dict[str, str]


class Change(NamedTuple):
    """A change of one entry's objects.

    ``folder`` holds a copy of the project and of the entry's data; ``project`` is where the project itself lies.
    ``removed`` are ids, ``added`` a GeoJSON file or None, ``colors`` signed ARGB integers of classes by their full
    names. The changed data are written to ``out``.
    """

    folder: str
    project: str
    entry: str
    removed: list[str]
    added: str | None
    colors: dict[str, int]
    out: str
