"""Java's object stream, read without Java: nothing that a stream names is looked up, made or run."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from qpbridge.errors import DamagedDataError
from qpbridge.qupath.java import scanning, walking
from qpbridge.qupath.java.objects import JavaClass, JavaEnum, JavaObject, Part
from qpbridge.qupath.java.walking import MAX_BASES, MAX_DEPTH

_MAGIC: Final = b"\xac\xed\x00\x05"
_MAX_BYTES: Final = 1 << 35
"""Nodes are numbered in 31 bits, and objects take more than 16 bytes each."""

_STRUCT_CODES: Final = {"B": "b", "C": "H", "D": "d", "F": "f", "I": "i", "J": "q", "S": "h", "Z": "?"}
_ELEMENTS: Final = {f"[{code}": np.dtype(f">{name}") for code, name in _STRUCT_CODES.items()} | {"[B": np.dtype("u1")}
_UINT16: Final = struct.Struct(">H").unpack_from
_INT32: Final = struct.Struct(">i").unpack_from
_INT64: Final = struct.Struct(">q").unpack_from

_FAULTS: Final = {
    walking.ENDS_EARLY: "ends early: more is announced",
    walking.UNKNOWN_CODE: "unknown or misplaced type code {:#04x}",
    walking.BAD_HANDLE: "refers to handle {:#x}, which is not there,",
    walking.NO_CLASS: "no class where one must stand",
    walking.OLD_FORM: "a class writes itself in the old form without lengths",
    walking.BAD_FIELD: "a field of type {:#04x} is misplaced",
    walking.TOO_DEEP: f"nests deeper than {MAX_DEPTH} objects",
    walking.BAD_ARRAY: "ends early: an array of {} elements is announced",
    walking.TOO_MANY_BASES: f"a class has more than {MAX_BASES} base classes",
}

Nodes = npt.NDArray[np.int64]


def read_contents(data: bytes) -> Iterator[object]:
    """Yield the top-level contents of a stream; see ``JavaStream``.

    Raises
    ------
    DamagedDataError
        As ``JavaStream.contents``.
    """
    stream = JavaStream(data)
    return (stream.value(node) for node in stream.contents())


class JavaStream:
    """A stream as a list of nodes, each with its content after it.

    Memory stays in proportion to the size of ``data``, whatever lengths it claims.

    Parameters
    ----------
    data : bytes
        The whole stream.

    Attributes
    ----------
    codes : ndarray of uint8
        Kind of each node, as in ``walking``.
    places : ndarray of int64
        Byte at which its content begins, after its code, class and length.
    ends : ndarray of int32
        The node after it and all that lies inside.
    links : ndarray of int32
        Of a reference its target, of text and blocks the length in bytes, of objects the description of their class.

    Raises
    ------
    DamagedDataError
        If it is no Java object stream.

    References
    ----------
    Java Object Serialization Specification, chapter 6 (grammar of the stream, protocol version 2).
    """

    def __init__(self, data: bytes) -> None:
        if data[: len(_MAGIC)] != _MAGIC:
            begin = data[:4].hex(" ") or "nothing"
            raise DamagedDataError(f"is no Java object stream: begins with {begin}, not ac ed 00 05")
        if len(data) > _MAX_BYTES:
            raise DamagedDataError(f"has {len(data)} bytes; more than {_MAX_BYTES} cannot be read")
        self.data = data
        scan = scanning.finish(scanning.begin(data))
        self.codes, self.places, self.ends, self.links = scan.codes, scan.places, scan.ends, scan.links
        self._rows = scan.classes[: scan.state[walking.CLASSES]]
        self._classes: dict[int, JavaClass] = {}
        self._fault, self._detail, self._position = (
            int(scan.state[column]) for column in (walking.FAULT, walking.DETAIL, walking.POSITION)
        )
        self._values: dict[int, Callable[[int], object]] = {
            walking.NULL: lambda _: None,
            walking.END: lambda _: None,
            walking.OBJECT: self._object,
            walking.ARRAY: self._array,
            walking.STRING: self.text,
            walking.LONG_STRING: self.text,
            walking.BLOCK: self.raw,
            walking.LONG_BLOCK: self.raw,
            walking.ENUM: self._enum,
            walking.CLASS: self.class_of,
            walking.DESCRIPTION: lambda node: self.java_class(int(self.links[node])),
            walking.PROXY: lambda node: self.java_class(int(self.links[node])),
        }

    def contents(self) -> Iterator[int]:
        """Yield the nodes of the top level.

        Raises
        ------
        DamagedDataError
            Behind the last whole one, if the stream ends early, nests deeper than ``MAX_DEPTH``, or has what
            cannot be; says at which byte.
        """
        node = 0
        while node < len(self.codes) and self.ends[node]:
            yield node
            node = int(self.ends[node])
        if self._fault != walking.COMPLETE:
            raise DamagedDataError(f"{_FAULTS[self._fault].format(self._detail)} at byte {self._position}")

    @property
    def class_count(self) -> int:
        """How many classes are described."""
        return len(self._rows)

    def is_described(self, number: int) -> bool:
        """Tell whether a class is described to the end; behind what is whole, a damaged stream may begin another."""
        return bool(self._rows[number][walking.BASES] > 0)

    def value(self, node: int) -> object:
        """Return what a node is.

        Primitive data come as ``bytes``, strings as ``str``, arrays of primitives as big-endian ndarrays that share
        the memory of the stream, null as None; everything else as ``JavaObject``, ``JavaEnum`` or ``JavaClass``.

        Raises
        ------
        DamagedDataError
            If text is not in Java's encoding, or an enum without a name.
        """
        if self.codes[node] == walking.REFERENCE:
            node = int(self.links[node])
        return self._values[int(self.codes[node])](node)

    def text(self, node: int) -> str:
        """Return the text of a string.

        Raises
        ------
        DamagedDataError
            If it is no modified UTF-8.
        """
        raw = self.raw(node)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
        try:  # Java writes NUL in two bytes, and characters beyond the basic plane as two surrogates
            text = raw.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise DamagedDataError(f"text that is no modified UTF-8 at byte {self.places[node]}") from None
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def raw(self, node: int) -> bytes:
        """Return the bytes of a string or a block."""
        place = int(self.places[node])
        return self.data[place : place + int(self.links[node])]

    def class_of(self, node: int) -> JavaClass:
        """Return the class of an object, array or enum."""
        return self.java_class(int(self.links[self.links[node]]))

    def java_class(self, number: int) -> JavaClass:
        """Return the class that was described as the ``number``-th of the stream."""
        known = self._classes.get(number)
        if known is None:
            row = self._rows[number]
            parent = int(row[walking.CLASS_PARENT])
            self._classes[number] = known = self._described(row, None if parent < 0 else self.java_class(parent))
        return known

    def inside(self, node: int) -> tuple[dict[str, object], list[object]]:
        """Return the fields of an object by name, and what its class wrote beyond them."""
        java_class, at = self.class_of(node), self._begin(node)
        fields: dict[str, object] = {}
        items: list[object] = []
        if java_class.is_external or self.codes[node] != walking.OBJECT:
            self._collect(at, int(self.ends[node]), items)
            return fields, items
        for part in java_class.parts:
            if part.packed.size:
                values = part.packed.unpack_from(self.data, int(self.places[at]))
                fields.update(zip(part.primitive_names, values, strict=True))
                at += 1
            for name in part.object_names:
                fields[name] = self.value(at)
                at = int(self.ends[at])
            if part.has_items:
                at = self._collect(at, int(self.ends[node]), items) + 1
        return fields, items

    def _collect(self, at: int, end: int, items: list[object]) -> int:
        """Add the values up to an end; return its node."""
        while at < end and self.codes[at] != walking.END:
            items.append(self.value(at))
            at = int(self.ends[at])
        return at

    def _begin(self, node: int) -> int:
        """Return the first node inside; a description of the class stands before it."""
        return int(self.ends[node + 1]) if self.links[node] == node + 1 else node + 1

    def _object(self, node: int) -> JavaObject:
        return JavaObject(self.class_of(node), int(self.places[node]), node, self)

    def _enum(self, node: int) -> JavaEnum:
        java_class, constant = self.class_of(node), self.value(self._begin(node))
        if not isinstance(constant, str):
            raise DamagedDataError(f"constant of {java_class.name} without a name at byte {self.places[node]}")
        return JavaEnum(java_class, constant)

    def _array(self, node: int) -> npt.NDArray[np.generic] | JavaObject:
        dtype = _ELEMENTS.get(self.class_of(node).name)
        if dtype is None:
            return self._object(node)
        place = int(self.places[node])
        (length,) = _INT32(self.data, place - 4)
        return np.frombuffer(self.data, dtype, length, place)

    def _described(self, row: Nodes, parent: JavaClass | None) -> JavaClass:
        flags, node = int(row[walking.CLASS_FLAGS]), int(row[walking.CLASS_NODE])
        has_items = bool(flags & walking.HAS_WRITE_METHOD)
        if self.codes[node] == walking.PROXY:
            name, part = "java.lang.reflect.Proxy", Part(struct.Struct(">"), (), (), False)
        else:
            name, part = self._layout(int(self.places[node]), has_items)
        parts = (part,) if part.packed.size or part.object_names or has_items else ()
        lineage: tuple[str, ...] = (name,)
        if parent is not None:
            lineage, parts = (name, *parent.lineage), (*parent.parts, *parts)
        return JavaClass(name, lineage, bool(flags & walking.IS_EXTERNALIZABLE), parts)

    def _layout(self, at: int, has_items: bool) -> tuple[str, Part]:
        """Read name and fields of a class; that they are whole is known."""
        name, at = self._utf(at)
        (count,) = _UINT16(self.data, at + 9)
        at += 11
        names: tuple[list[str], list[str]] = ([], [])
        layout = ">"
        for _ in range(count):
            code = chr(self.data[at])
            field, at = self._utf(at + 1)
            names[code in "L["].append(field)
            layout += _STRUCT_CODES.get(code, "")
            if code in "L[":
                at = self._after_type(at)
        return name, Part(struct.Struct(layout), tuple(names[0]), tuple(names[1]), has_items)

    def _utf(self, at: int) -> tuple[str, int]:
        (length,) = _UINT16(self.data, at)
        return self.data[at + 2 : at + 2 + length].decode("utf-8", "replace"), at + 2 + length

    def _after_type(self, at: int) -> int:
        code = self.data[at]
        if code == walking.STRING:
            return at + 3 + int(_UINT16(self.data, at + 1)[0])
        return at + (5 if code == walking.REFERENCE else 9 + int(_INT64(self.data, at + 1)[0]))
