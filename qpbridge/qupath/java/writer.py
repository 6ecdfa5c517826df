"""Java object streams, written: what ``java.io.ObjectInputStream`` reads.

The format is that of the Java Object Serialization Specification, protocol version 2.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Final, Self

SERIALIZABLE: Final = 0x02
SERIALIZABLE_WITH_METHOD: Final = 0x03
EXTERNALIZABLE: Final = 0x0C
ENUM: Final = 0x12

_HEADER: Final = b"\xac\xed\x00\x05"
_NULL: Final = b"\x70"
_REFERENCE: Final = b"\x71"
_CLASS: Final = b"\x72"
_OBJECT: Final = b"\x73"
_STRING: Final = b"\x74"
_ARRAY: Final = b"\x75"
_BLOCK: Final = b"\x77"
_END: Final = b"\x78"
_LONG_BLOCK: Final = b"\x7a"
_LONG_STRING: Final = b"\x7c"
_ENUM: Final = b"\x7e"

_FIRST_HANDLE: Final = 0x7E0000
_SHORT_BYTES: Final = 0xFF
_UTF_BYTES: Final = 0xFFFF
_BUFFER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ClassDescriptor:
    """A class as Java describes it in a stream.

    Parameters
    ----------
    name : str
        Binary name, e.g. ``qupath.lib.roi.PolygonROI$SerializationProxy``.
    fields : tuple of (str, str)
        Name and type descriptor, primitive fields first, each group by name, as Java orders them.
    uid : int
        ``serialVersionUID``; QuPath's classes all have 1.
    flags : int
        One of the constants of this module.
    parent : ClassDescriptor or None
        Nearest base class that is serializable too.
    """

    name: str
    fields: tuple[tuple[str, str], ...] = ()
    uid: int = 1
    flags: int = SERIALIZABLE
    parent: ClassDescriptor | None = None


class JavaWriter:
    """Writer of one stream; a context manager that hands what is left to ``out``.

    Handles count classes, objects, strings, arrays and enums in order of appearance. What is written with a
    ``key`` can be referred to by it afterwards.

    Parameters
    ----------
    out : binary file
        Receives the stream in pieces.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._buffer = bytearray(_HEADER)
        self._handles: dict[Hashable, bytes] = {}
        self._described: dict[str, bytes] = {}
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._out.write(self._buffer)

    def refer(self, key: Hashable) -> bool:
        """Write a reference to what was written with this key before; return False where nothing was."""
        handle = self._handles.get(key)
        if handle is not None:
            self._buffer += handle
        return handle is not None

    def null(self) -> None:
        """Write null."""
        self._buffer += _NULL

    def string(self, text: str) -> None:
        """Write a string of its own."""
        content = modified_utf8(text)
        self._keep(None)
        if len(content) > _UTF_BYTES:
            self._buffer += _LONG_STRING + struct.pack(">q", len(content)) + content
        else:
            self._buffer += _STRING + struct.pack(">H", len(content)) + content

    def shared_string(self, text: str) -> None:
        """Write a string, or a reference to it where it was written by this method before."""
        if not self.refer(text):
            self._handles[text] = self._next_handle()
            self.string(text)

    def begin(self, described: ClassDescriptor, key: Hashable = None) -> None:
        """Begin an object; its fields follow, or its content, which ``end`` closes."""
        self._buffer += _OBJECT
        self._describe(described)
        self._keep(key)
        if len(self._buffer) > _BUFFER_BYTES:
            self._out.write(self._buffer)
            self._buffer.clear()

    def end(self) -> None:
        """Close the content of an object that writes more than fields."""
        self._buffer += _END

    def fields(self, layout: str, *values: float) -> None:
        """Write primitive fields; ``layout`` as for ``struct``, big-endian without saying so."""
        self._buffer += struct.pack(">" + layout, *values)

    def block(self, content: bytes) -> None:
        """Write primitive content of an object that writes itself."""
        if len(content) > _SHORT_BYTES:
            self._buffer += _LONG_BLOCK + struct.pack(">i", len(content)) + content
        else:
            self._buffer += _BLOCK + bytes((len(content),)) + content

    def array(self, described: ClassDescriptor, length: int, content: bytes = b"") -> None:
        """Write an array of primitives, or begin one of objects, which follow."""
        self._buffer += _ARRAY
        self._describe(described)
        self._keep(None)
        self._buffer += struct.pack(">i", length) + content

    def enum(self, described: ClassDescriptor, constant: str) -> None:
        """Write a constant of an enum."""
        self._buffer += _ENUM
        self._describe(described)
        self._keep(None)
        self.shared_string(constant)

    def _next_handle(self) -> bytes:
        return _REFERENCE + struct.pack(">i", _FIRST_HANDLE + self._count)

    def _keep(self, key: Hashable) -> None:
        if key is not None:
            self._handles[key] = self._next_handle()
        self._count += 1

    def _describe(self, described: ClassDescriptor | None) -> None:
        if described is None:
            self.null()
            return
        known = self._described.get(described.name)
        if known is not None:
            self._buffer += known
            return
        self._buffer += _CLASS + utf(described.name) + struct.pack(">q", described.uid)
        self._described[described.name] = self._next_handle()
        self._keep(None)
        self._buffer += struct.pack(">BH", described.flags, len(described.fields))
        for name, kind in described.fields:
            self._buffer += kind[:1].encode("ascii") + utf(name)
            if len(kind) > 1:
                self.shared_string(kind)
        self._buffer += _END
        self._describe(described.parent)


def utf(text: str) -> bytes:
    """Return text as ``DataOutput.writeUTF`` does, length first; at most 65,535 bytes."""
    content = modified_utf8(text)
    return struct.pack(">H", len(content)) + content


def modified_utf8(text: str) -> bytes:
    """Return text as Java encodes it: two bytes for NUL, surrogates one by one."""
    if text.isascii() and "\0" not in text:
        return text.encode("ascii")
    units = struct.iter_unpack(">H", text.encode("utf-16-be", "surrogatepass"))
    return b"".join(b"\xc0\x80" if unit == 0 else chr(unit).encode("utf-8", "surrogatepass") for (unit,) in units)
