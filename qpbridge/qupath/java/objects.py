"""Classes and objects as they stand in a Java object stream; no class is ever looked up or made."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


class Part(NamedTuple):
    """What one class of a lineage contributes to its objects.

    Attributes
    ----------
    packed : Struct
        Layout of the primitive fields.
    primitive_names, object_names : tuple of str
        In the order of the stream, primitive fields first.
    has_items : bool
        Whether the class writes more than fields.
    """

    packed: struct.Struct
    primitive_names: tuple[str, ...]
    object_names: tuple[str, ...]
    has_items: bool

    def column_type(self) -> np.dtype[np.void]:
        """Return the layout of the primitive fields for many objects at once."""
        codes = self.packed.format[1:]
        offsets = [struct.calcsize(f">{codes[:index]}") for index in range(len(codes))]
        named = {
            name: (np.dtype(f">{code}"), offset)
            for name, code, offset in zip(self.primitive_names, codes, offsets, strict=True)
        }
        formats, places = [kind for kind, _ in named.values()], [offset for _, offset in named.values()]
        return np.dtype({"names": list(named), "formats": formats, "offsets": places, "itemsize": self.packed.size})


@dataclass(frozen=True, slots=True, eq=False)
class JavaClass:
    """Description of a class as it stands in a stream.

    Parameters
    ----------
    name : str
        Binary name, e.g. ``qupath.lib.roi.PolygonROI$SerializationProxy``.
    lineage : tuple of str
        This name and those of the base classes in the stream, nearest first.
    is_external : bool
        Whether its objects write themselves; their content is then in ``JavaObject.items``.
    parts : tuple of Part
        Layout of the fields, most basic class first; classes that bring none are left out.
    """

    name: str
    lineage: tuple[str, ...]
    is_external: bool
    parts: tuple[Part, ...]


class Contents(Protocol):
    """Where an object finds what lies inside it."""

    def inside(self, node: int) -> tuple[dict[str, object], list[object]]:
        """Return the fields of an object by name, and what its class wrote beyond them."""


@dataclass(frozen=True, slots=True)
class JavaObject:
    """One object, or array of objects; what lies inside is only made when asked for.

    Parameters
    ----------
    java_class : JavaClass
        Its class.
    offset : int
        Byte of the stream at which its content begins.
    node : int
        Its number in the stream.
    contents : Contents
        The stream.
    """

    java_class: JavaClass
    offset: int
    node: int
    contents: Contents

    @property
    def fields(self) -> dict[str, object]:
        """Values by field name, of all classes of the lineage."""
        return self.contents.inside(self.node)[0]

    @property
    def items(self) -> list[object]:
        """Elements of an array; else blocks of primitive data (``bytes``) and objects, in the order written."""
        return self.contents.inside(self.node)[1]


class JavaEnum(NamedTuple):
    """A constant of an enum."""

    java_class: JavaClass
    constant: str
