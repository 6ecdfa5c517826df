"""Classes and objects as they stand in a Java object stream; no class is ever looked up or made."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Part(NamedTuple):
    """What one class of a lineage contributes to its objects."""

    unpack: Callable[[bytes, int], tuple[object, ...]]
    size: int
    primitive_names: tuple[str, ...]
    object_names: tuple[str, ...]
    has_items: bool


class JavaClass:
    """Description of a class as it stands in a stream.

    Attributes
    ----------
    name : str
        Binary name, e.g. ``qupath.lib.roi.PolygonROI$SerializationProxy``.
    lineage : tuple of str
        This name and those of the base classes in the stream, nearest first.
    is_external : bool
        Whether its objects write themselves; their content is then in ``JavaObject.items``.
    parts : tuple of Part
        Layout of the fields, most basic class first.
    """

    __slots__ = ("is_external", "is_finished", "lineage", "name", "parts")

    def __init__(self, name: str) -> None:
        self.name = name
        self.lineage: tuple[str, ...] = (name,)
        self.is_external = False
        self.is_finished = False
        self.parts: tuple[Part, ...] = ()

    def finish(self, part: Part, parent: JavaClass | None, *, is_external: bool) -> None:
        """Complete the description by what follows its handle in the stream."""
        self.is_external = is_external
        self.parts = (part,)
        if parent is not None:
            self.lineage += parent.lineage
            self.parts = (*parent.parts, part)
        self.is_finished = True


class JavaObject:
    """One object: its fields by name, and what its class wrote beyond fields.

    Attributes
    ----------
    java_class : JavaClass
        Its class.
    fields : dict
        Values by field name, of all classes of the lineage.
    items : list
        Blocks of primitive data (``bytes``) and objects, in the order written.
    offset : int
        Byte of the stream at which it begins.
    """

    __slots__ = ("fields", "items", "java_class", "offset")

    def __init__(self, java_class: JavaClass, offset: int) -> None:
        self.java_class = java_class
        self.offset = offset
        self.fields: dict[str, object] = {}
        self.items: list[object] = []


class JavaEnum(NamedTuple):
    """A constant of an enum."""

    java_class: JavaClass
    constant: str
