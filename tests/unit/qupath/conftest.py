"""A writer of small Java object streams, to have every form that QuPath once wrote and every damage."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import pytest

Fields = tuple[tuple[str, str], ...]


class JavaWriter:
    """Writes contents one after the other; classes, once described, by their handle."""

    def __init__(self) -> None:
        self.data = bytearray(b"\xac\xed\x00\x05")
        self._handles = 0
        self._classes: dict[str, int] = {}

    def add_handle(self) -> int:
        self._handles += 1
        return 0x7E0000 + self._handles - 1

    def text(self, text: str) -> None:
        raw = text.encode()
        self.data += struct.pack(">H", len(raw)) + raw

    def null(self) -> None:
        self.data += b"p"

    def reference(self, handle: int) -> None:
        self.data += b"q" + struct.pack(">i", handle)

    def block(self, content: bytes) -> None:
        self.data += b"w" + bytes([len(content)]) + content

    def string(self, text: str) -> int:
        self.data += b"t"
        self.text(text)
        return self.add_handle()

    def class_of(self, names: tuple[str, ...], flags: int, fields: Fields = ()) -> None:
        """Describe a class by its name and those of its bases; all fields belong to the first."""
        name, *bases = names
        if name in self._classes:
            self.reference(self._classes[name])
            return
        self.data += b"r"
        self.text(name)
        self.data += bytes(8)
        self._classes[name] = self.add_handle()
        self.data += bytes([flags]) + struct.pack(">H", len(fields))
        for code, field in fields:
            self.data += code.encode()
            self.text(field)
            if code in "L[":
                self.string("Lany;")
        self.data += b"x"
        if bases:
            self.class_of(tuple(bases), flags)
        else:
            self.null()

    def object(self, names: tuple[str, ...], flags: int = 2, fields: Fields = ()) -> int:
        self.data += b"s"
        self.class_of(names, flags, fields)
        return self.add_handle()

    def external(self, *names: str) -> int:
        return self.object(names, 12)

    def end(self) -> None:
        self.data += b"x"

    def array(self, code: str, values: list[float]) -> int:
        self.data += b"u"
        self.class_of((f"[{code}",), 2)
        handle = self.add_handle()
        self.data += struct.pack(f">i{len(values)}{code.lower()}", len(values), *values)
        return handle

    def objects(self, count: int) -> int:
        """Begin an array; its elements follow."""
        self.data += b"u"
        self.class_of(("[Ljava.lang.Object;",), 2)
        handle = self.add_handle()
        self.data += struct.pack(">i", count)
        return handle

    def integer(self, value: int) -> int:
        handle = self.object(("java.lang.Integer",), 2, (("I", "value"),))
        self.data += struct.pack(">i", value)
        return handle


class Hierarchy:
    """A data.qpdata under construction, with the root begun."""

    _PATH_OBJECT = "qupath.lib.objects.PathObject"
    _ANNOTATION = ("qupath.lib.objects.PathAnnotationObject", "qupath.lib.objects.PathROIObject", _PATH_OBJECT)
    _RECTANGLE = "qupath.lib.roi.RectangleROI$SerializationProxy"
    _RECTANGLE_FIELDS = (*(("I", one) for one in "ct"), *(("D", one) for one in ("x", "x2", "y", "y2")), ("I", "z"))

    def __init__(self, children: int) -> None:
        self.writer = writer = JavaWriter()
        line = b"Data file version 3"
        writer.block(struct.pack(">H", len(line)) + line)
        writer.string("{}")
        hierarchy = "qupath.lib.objects.hierarchy.PathObjectHierarchy"
        writer.object((hierarchy,), 2, (("L", "rootObject"), ("L", "tmaGrid")))
        writer.external("qupath.lib.objects.PathRootObject", self._PATH_OBJECT)
        for _ in range(3):
            writer.null()
        writer.block(struct.pack(">i", children))

    def rectangle(self) -> None:
        self.writer.object((self._RECTANGLE,), 2, self._RECTANGLE_FIELDS)
        self.writer.data += struct.pack(">iiddddi", -1, 0, 1, 3, 2, 5, 0)

    def begin_annotation(self) -> int:
        return self.writer.external(*self._ANNOTATION)

    def annotation(self) -> int:
        """Begin an annotation without name, color, metadata, measurements and children."""
        handle = self.begin_annotation()
        for _ in range(3):
            self.writer.null()
        self.writer.block(struct.pack(">i", 0))
        return handle

    def no_class_and_shape(self) -> None:
        self.writer.null()
        self.writer.null()
        self.writer.block(struct.pack(">d", math.nan))
        self.writer.end()

    def finish(self) -> bytes:
        self.writer.end()
        self.writer.null()
        self.writer.string("EOF")
        return bytes(self.writer.data)


@pytest.fixture
def java_writer() -> Callable[[], JavaWriter]:
    return JavaWriter


@pytest.fixture
def hierarchy() -> type[Hierarchy]:
    return Hierarchy
