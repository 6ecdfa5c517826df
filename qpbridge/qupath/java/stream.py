"""Java's object stream, read without Java: nothing that a stream names is looked up, made or run."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from qpbridge.errors import DamagedDataError
from qpbridge.qupath.java.objects import JavaClass, JavaEnum, JavaObject, Part

MAX_DEPTH: Final = 200
"""Objects inside objects; hierarchies of QuPath nest a few levels, its other objects fewer."""

_MAGIC: Final = b"\xac\xed\x00\x05"
_FIRST_HANDLE: Final = 0x7E0000
_NULL: Final = 0x70
_REFERENCE: Final = 0x71
_END_OF_BLOCKS: Final = 0x78
_RESET: Final = 0x79

_HAS_WRITE_METHOD: Final = 0x01
_IS_SERIALIZABLE: Final = 0x02
_IS_EXTERNALIZABLE: Final = 0x04
_HAS_BLOCKS: Final = 0x08

_STRUCT_CODES: Final = {"B": "b", "C": "H", "D": "d", "F": "f", "I": "i", "J": "q", "S": "h", "Z": "?"}
_OBJECTS: Final = (None, 1)
"""Elements of other arrays; the shortest is one byte, null."""
_ELEMENTS: Final[dict[str, tuple[np.dtype[np.generic] | None, int]]] = {
    f"[{code}": (np.dtype(f">{name}"), np.dtype(name).itemsize)
    for code, name in {"B": "u1", "C": "u2", "D": "f8", "F": "f4", "I": "i4", "J": "i8", "S": "i2", "Z": "?"}.items()
}
_UINT16 = struct.Struct(">H").unpack_from
_INT32 = struct.Struct(">i").unpack_from
_INT64 = struct.Struct(">q").unpack_from

JavaArray: TypeAlias = "npt.NDArray[np.generic] | list[object]"


_NO_FIELDS: Final = Part(struct.Struct(">").unpack_from, 0, (), (), has_items=False)


def read_contents(data: bytes) -> Iterator[object]:
    """Yield the top-level contents of a stream.

    Primitive data come as ``bytes``, strings as ``str``, arrays of primitives as big-endian ndarrays that share
    the memory of ``data``, other arrays as lists, null as None; everything else as ``JavaObject``, ``JavaEnum``
    or ``JavaClass``. Memory stays in proportion to the size of ``data``, whatever lengths it claims.

    Parameters
    ----------
    data : bytes
        The whole stream.

    Raises
    ------
    DamagedDataError
        If it is no Java object stream, ends early, or nests deeper than ``MAX_DEPTH``; says at which byte.

    References
    ----------
    Java Object Serialization Specification, chapter 6 (grammar of the stream, protocol version 2).
    """
    if data[: len(_MAGIC)] != _MAGIC:
        begin = data[:4].hex(" ") or "nothing"
        raise DamagedDataError(f"is no Java object stream: begins with {begin}, not ac ed 00 05")
    reader = _Reader(data)
    while reader.position < len(data):
        try:
            yield reader.next_content()
        except (IndexError, struct.error):
            raise DamagedDataError(f"ends early: more is announced at byte {reader.position}") from None
        except RecursionError:
            raise DamagedDataError(f"nests too deep at byte {reader.position}") from None


class _Reader:
    __slots__ = ("_data", "_depth", "_handles", "_readers", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._depth = 0
        self._handles: list[object] = []
        self.position = len(_MAGIC)
        known: dict[int, Callable[[], object]] = {
            _NULL: self._null,
            _REFERENCE: self._reference,
            0x72: self._class_description,
            0x73: self._object,
            0x74: self._string,
            0x75: self._array,
            0x76: self._class,
            0x77: self._block,
            0x7A: self._long_block,
            0x7C: self._long_string,
            0x7D: self._proxy_description,
            0x7E: self._enum,
        }
        self._readers = [known.get(code, self._unknown) for code in range(256)]

    def next_content(self) -> object:
        """Read one top-level content."""
        while self._data[self.position] == _RESET:
            self._handles.clear()
            self.position += 1
        return self._content()

    def _content(self) -> object:
        code = self._data[self.position]
        self.position += 1
        return self._readers[code]()

    def _damaged(self, what: str) -> NoReturn:
        raise DamagedDataError(f"{what} at byte {self.position}")

    def _unknown(self) -> NoReturn:
        self.position -= 1
        self._damaged(f"unknown or misplaced type code 0x{self._data[self.position]:02x}")

    def _too_deep(self) -> NoReturn:
        self._damaged(f"nests deeper than {MAX_DEPTH} objects")

    def _take(self, length: int) -> bytes:
        begin = self.position
        end = begin + length
        if length < 0 or end > len(self._data):
            self._damaged(f"ends early: {length} bytes are announced")
        self.position = end
        return self._data[begin:end]

    def _length(self) -> int:
        (length,) = _INT32(self._data, self.position)
        self.position += 4
        return int(length)

    def _null(self) -> None:
        return None

    def _reference(self) -> object:
        (handle,) = _INT32(self._data, self.position)
        if handle < _FIRST_HANDLE:
            self._damaged(f"refers to handle {handle:#x}, which cannot be,")
        try:
            content = self._handles[handle - _FIRST_HANDLE]
        except IndexError:
            self._damaged(f"refers to handle {handle:#x}, which is not there yet,")
        self.position += 4
        return content

    def _text(self) -> str:
        (length,) = _UINT16(self._data, self.position)
        self.position += 2
        return self._decoded(self._take(length))

    def _decoded(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
        try:  # Java writes NUL in two bytes, and characters beyond the basic plane as two surrogates
            text = raw.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            self._damaged("text that is no modified UTF-8")
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _string(self) -> str:
        text = self._text()
        self._handles.append(text)
        return text

    def _long_string(self) -> str:
        (length,) = _INT64(self._data, self.position)
        self.position += 8
        text = self._decoded(self._take(length))
        self._handles.append(text)
        return text

    def _block(self) -> bytes:
        length = self._data[self.position]
        self.position += 1
        return self._take(length)

    def _long_block(self) -> bytes:
        return self._take(self._length())

    def _items(self, items: list[object]) -> None:
        data = self._data
        readers = self._readers
        while (code := data[self.position]) != _END_OF_BLOCKS:
            self.position += 1
            items.append(readers[code]())
        self.position += 1

    def _described(self) -> JavaClass:
        code = self._data[self.position]
        self.position += 1
        java_class = self._reference() if code == _REFERENCE else self._readers[code]()
        if type(java_class) is not JavaClass or not java_class.is_finished:
            self._damaged("no class where one must stand")
        return java_class

    def _class_description(self) -> JavaClass:
        java_class = JavaClass(self._text())
        self._take(8)  # serialVersionUID
        self._handles.append(java_class)
        flags = self._data[self.position]
        self.position += 1
        if flags & _IS_EXTERNALIZABLE and not flags & _HAS_BLOCKS:
            self._damaged(f"class {java_class.name} writes itself in the old form without lengths,")
        has_items = bool(flags & _HAS_WRITE_METHOD and flags & _IS_SERIALIZABLE)
        part = self._part(has_items)
        self._finish(java_class, flags, part)
        return java_class

    def _proxy_description(self) -> JavaClass:
        java_class = JavaClass("java.lang.reflect.Proxy")
        self._handles.append(java_class)
        for _ in range(self._length()):
            self._text()
        self._finish(java_class, _IS_SERIALIZABLE, _NO_FIELDS)
        return java_class

    def _finish(self, java_class: JavaClass, flags: int, part: Part) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._too_deep()
        self._items([])  # annotations of the class loader
        is_last = self._data[self.position] == _NULL
        if is_last:
            self.position += 1
        parent = None if is_last else self._described()
        java_class.finish(part, parent, is_external=bool(flags & _IS_EXTERNALIZABLE))
        self._depth -= 1
        if len(java_class.parts) > MAX_DEPTH:
            self._damaged(f"class {java_class.name} has more than {MAX_DEPTH} base classes")

    def _part(self, has_items: bool) -> Part:
        (count,) = _UINT16(self._data, self.position)
        self.position += 2
        layout = ">"
        primitive_names: list[str] = []
        object_names: list[str] = []
        for _ in range(count):
            code = chr(self._data[self.position])
            self.position += 1
            name = self._text()
            if code in "L[":
                self._content()  # name of the field's type
                object_names.append(name)
            elif code not in _STRUCT_CODES or object_names:
                self._damaged(f"field {name!r} of type {code!r} is misplaced")
            else:
                layout += _STRUCT_CODES[code]
                primitive_names.append(name)
        packed = struct.Struct(layout)
        return Part(packed.unpack_from, packed.size, tuple(primitive_names), tuple(object_names), has_items)

    def _class(self) -> JavaClass:
        java_class = self._described()
        self._handles.append(java_class)
        return java_class

    def _enum(self) -> JavaEnum:
        java_class = self._described()
        index = len(self._handles)
        self._handles.append(None)
        constant = self._content()
        if not isinstance(constant, str):
            self._damaged(f"constant of {java_class.name} without a name")
        enum = self._handles[index] = JavaEnum(java_class, constant)
        return enum

    def _object(self) -> JavaObject:
        offset = self.position - 1
        java_class = self._described()
        item = JavaObject(java_class, offset)
        self._handles.append(item)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._too_deep()
        if java_class.is_external:
            self._items(item.items)
        else:
            for part in java_class.parts:
                self._fields(part, item)
        self._depth -= 1
        return item

    def _fields(self, part: Part, item: JavaObject) -> None:
        fields = item.fields
        if part.primitive_names:
            values = part.unpack(self._data, self.position)
            self.position += part.size
            fields.update(zip(part.primitive_names, values))  # noqa: B905 - as many by construction, and hot
        data = self._data
        readers = self._readers
        for name in part.object_names:
            code = data[self.position]
            self.position += 1
            fields[name] = readers[code]()
        if part.has_items:
            self._items(item.items)

    def _array(self) -> JavaArray:
        name = self._described().name
        index = len(self._handles)
        self._handles.append(None)
        data = self._data
        (length,) = _INT32(data, self.position)
        self.position += 4
        dtype, size = _ELEMENTS.get(name, _OBJECTS)
        if not 0 <= length * size <= len(data) - self.position:
            self._damaged(f"ends early: an array of {length} elements is announced")
        if dtype is None:
            return self._object_array(index, length)
        array = self._handles[index] = np.frombuffer(data, dtype, length, self.position)
        self.position += length * size
        return array

    def _object_array(self, index: int, length: int) -> list[object]:
        elements: list[object] = []
        self._handles[index] = elements
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._too_deep()
        data = self._data
        readers = self._readers
        for _ in range(length):
            code = data[self.position]
            self.position += 1
            elements.append(readers[code]())
        self._depth -= 1
        return elements
