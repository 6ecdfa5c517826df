"""QuPath's objects as plain records. Geometries are in level-0 px of the image that QuPath shows."""

from __future__ import annotations

import collections
import enum
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

NO_MAPPING: Final[Mapping[str, str]] = MappingProxyType({})
NO_MEASUREMENTS: Final[Mapping[str, float]] = MappingProxyType({})

REGION_CLASS: Final = "Region*"
"""Class of annotations inside which everything is annotated."""

REVIEW_CLASS: Final = "Review*"
"""Class of regions that a prediction suggests to look at; they say nothing about what is there."""

BACKGROUND_CLASS: Final = "Background"
"""Class that unlabelled pixels inside a ``Region*`` and blank glass belong to, where a project has it."""


class ObjectKind(enum.Enum):
    """Kind of a PathObject; the value is its ``objectType`` in GeoJSON."""

    ANNOTATION = "annotation"
    DETECTION = "detection"
    CELL = "cell"
    TILE = "tile"
    TMA_CORE = "tmaCore"


@dataclass(frozen=True, slots=True)
class PathClass:
    """A classification of QuPath.

    Parameters
    ----------
    name : str
        Full name; derived classes join their parts by ``": "`` ("Tumor: Positive").
    color_rgb : tuple of int
        Red, green, blue, 0 to 255.
    """

    name: str
    color_rgb: tuple[int, int, int]

    @property
    def parts(self) -> tuple[str, ...]:
        """Names from the base class to the last derived one."""
        return tuple(self.name.split(": "))

    @property
    def is_ignored(self) -> bool:
        """Whether QuPath leaves this class out of training: "Ignore..." or a name that ends with "*"."""
        return self.parts[0].lower().startswith("ignore") or self.parts[0].endswith("*")

    @property
    def is_suggestion(self) -> bool:
        """Whether it only says where to look, and nothing about what is there."""
        return self.name == REVIEW_CLASS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Channel, z-slice and time point of an object; ``c = -1`` means all channels."""

    c: int = -1
    z: int = 0
    t: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PathObject:
    """One object of a hierarchy.

    Parameters
    ----------
    id : str
        UUID text.
    kind : ObjectKind
        Annotation, detection, cell, tile or TMA core.
    geometry : shapely geometry
        Outline, level-0 px.
    path_class : PathClass or None
        Classification.
    name : str or None
        As shown in QuPath.
    color_rgb : tuple of int or None
        The object's own color, where it has one.
    measurements : mapping of str to float
        In their order; NaN and infinities as floats.
    metadata : mapping of str to str
        The description is the key ``ANNOTATION_DESCRIPTION``.
    is_locked : bool
        Locked against edits.
    is_ellipse : bool
        The geometry approximates an ellipse that fills its bounds.
    is_missing : bool
        Only for TMA cores.
    class_probability : float or None
        As set by a classifier.
    nucleus : shapely geometry or None
        Only for cells, level-0 px.
    parent_id : str or None
        ``id`` of the parent; None directly below the root.
    plane : Plane
        Where in a stack.
    """

    id: str
    kind: ObjectKind
    geometry: BaseGeometry
    path_class: PathClass | None = None
    name: str | None = None
    color_rgb: tuple[int, int, int] | None = None
    measurements: Mapping[str, float] = field(default_factory=lambda: NO_MEASUREMENTS)
    metadata: Mapping[str, str] = field(default_factory=lambda: NO_MAPPING)
    is_locked: bool = False
    is_ellipse: bool = False
    is_missing: bool = False
    class_probability: float | None = None
    nucleus: BaseGeometry | None = None
    parent_id: str | None = None
    plane: Plane = field(default_factory=Plane)


def path_objects(values: Mapping[str, Sequence[object]]) -> tuple[PathObject, ...]:
    """Make many objects at once, in less than half the time of one after the other.

    Parameters
    ----------
    values : mapping of str to sequence
        Each field of ``PathObject`` by its name, one value an object.

    Raises
    ------
    ValueError
        If a field is missing or unknown, or the sequences differ in length.
    """
    fields = PathObject.__dataclass_fields__
    counts = {len(column) for column in values.values()}
    if values.keys() != fields.keys() or len(counts) != 1:
        raise ValueError(f"all fields of PathObject in one length expected, not {sorted(values)} in {sorted(counts)}")
    made = tuple(map(object.__new__, itertools.repeat(PathObject, counts.pop())))
    for name, column in values.items():
        fill: Callable[[PathObject, object], None] = getattr(PathObject, name).__set__
        collections.deque(map(fill, made, column), maxlen=0)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class TmaGrid:
    """Cores of a tissue microarray as they lie, row by row.

    Parameters
    ----------
    rows, columns : int
        Of the grid.
    core_ids : tuple of str or None
        ``id`` of each core, also of those marked as missing; None for one that is not in the hierarchy.
    """

    rows: int
    columns: int
    core_ids: tuple[str | None, ...]


def annotations_of(objects: Sequence[PathObject]) -> list[PathObject]:
    """Return the annotations among some objects, in their order."""
    return [item for item in objects if item.kind is ObjectKind.ANNOTATION]


def count_suggestions(objects: Sequence[PathObject]) -> int:
    """Return how many objects only say where to look."""
    return sum(item.path_class is not None and item.path_class.is_suggestion for item in objects)
