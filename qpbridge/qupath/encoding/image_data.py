"""Objects to a ``data.qpdata`` as QuPath 0.6 writes it, for images that have none yet; geometries in level-0 px."""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from qpbridge.core.objects import NO_MAPPING, ObjectKind, PathClass, PathObject
from qpbridge.errors import DataExistsError, InvalidValueError
from qpbridge.qupath.encoding import java_classes as classes_of
from qpbridge.qupath.encoding.shapes import Shape, shapes_of, write_shape
from qpbridge.qupath.geojson.writing import uuid_of
from qpbridge.qupath.java.writer import JavaWriter, utf

UNSET_TYPE: Final = "UNSET"
"""Image type of an image for which nobody has chosen one."""

_LIST_OF_COPIES: Final = 1
"""``CollSer``'s tag of an immutable list."""

_BOXES: Final = range(-128, 128)
"""Numbers of which Java has one object each, which streams then share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDetails:
    """What QuPath keeps of an image beside its objects.

    Parameters
    ----------
    server_json : str
        ``dataVersion``, ``qupathVersion`` and the server's builder.
    root_id : str
        UUID text of the root object.
    image_type : str
        Name of a constant of ``ImageData.ImageType``.
    stains : str or None
        Of color deconvolution, as QuPath writes them; QuPath's own for the image type where None.
    tma_grid : tuple of int or None
        Rows and columns that the TMA cores fill, row by row.
    properties : mapping of str to str or int
        Of the image.
    """

    server_json: str
    root_id: str
    image_type: str = UNSET_TYPE
    stains: str | None = None
    tma_grid: tuple[int, int] | None = None
    properties: Mapping[str, str | int] = field(default_factory=lambda: NO_MAPPING)


def create_qpdata(path: Path, image: ImageDetails, objects: Sequence[PathObject], classes: Sequence[PathClass]) -> None:
    """Write the image data of an image that has none.

    Parameters
    ----------
    path : Path
        The ``data.qpdata``; it must not exist, since what QuPath wrote is only ever changed by QuPath.
    image, objects, classes
        See ``write_qpdata``.

    Raises
    ------
    DataExistsError
        If there is such a file, which stays as it is.
    InvalidValueError
        As ``write_qpdata``; no file is left then.
    """
    try:
        file = path.open("xb")
    except FileExistsError as error:
        raise DataExistsError(
            f"{path} holds an image's objects already, and only QuPath changes such files: write to a new project, or"
            " import the GeoJSON in QuPath"
        ) from error
    with file:
        try:
            write_qpdata(file, image, objects, classes)
        except BaseException:
            path.unlink()
            raise


def write_qpdata(
    out: BinaryIO, image: ImageDetails, objects: Sequence[PathObject], classes: Sequence[PathClass]
) -> None:
    """Write the image data of one image.

    Outlines without holes are stored in float32, as QuPath stores them (0.12 becomes 0.1199999973); rectangles,
    ellipses, and outlines with holes or several parts in double precision.

    Parameters
    ----------
    out : binary file
        Receives the stream in pieces.
    image : ImageDetails
        The image.
    objects : sequence of PathObject
        Nested by ``parent_id``; an object whose parent is not among them stands directly below the root.
    classes : sequence of PathClass
        Their colors precede those of the objects' classes.

    Raises
    ------
    InvalidValueError
        If two objects have one id, parents form a circle, an outline is empty or of several kinds, or the TMA grid
        has another number of places than there are cores.
    """
    with JavaWriter(out) as java:
        java.block(utf("Data file version 3"))
        java.string(image.server_json)
        _write_locale(java)
        java.enum(classes_of.IMAGE_TYPE, image.image_type)
        _write_stains(java, image.stains)
        _write_workflow(java)
        java.begin(classes_of.HIERARCHY)
        _ObjectWriter(java, _colors(objects, classes)).write(objects, image.root_id)
        _write_grid(java, image.tma_grid, [item for item in objects if item.kind is ObjectKind.TMA_CORE])
        _write_map(java, image.properties)
        java.string("EOF")


def _write_locale(java: JavaWriter) -> None:
    java.begin(classes_of.LOCALE)
    java.fields("i", -1)
    for text in ("US", "", "en", "", ""):
        java.shared_string(text)
    java.end()


def _write_stains(java: JavaWriter, stains: str | None) -> None:
    if stains is None:
        java.null()
        return
    java.begin(classes_of.STAINS)
    java.block(struct.pack(">i", 1))
    java.string(stains)
    java.end()


def _write_workflow(java: JavaWriter) -> None:
    """Write a history without steps: nobody has done anything in QuPath yet."""
    java.begin(classes_of.WORKFLOW)
    java.block(struct.pack(">ii", 1, 0))
    java.end()


def _write_grid(java: JavaWriter, grid: tuple[int, int] | None, cores: Sequence[PathObject]) -> None:
    if grid is None:
        java.null()
        return
    rows, columns = grid
    if rows * columns != len(cores):
        raise InvalidValueError(f"a TMA grid of {rows} x {columns} has no place for each of {len(cores)} cores")
    java.begin(classes_of.TMA_GRID)
    java.fields("ii", rows, columns)
    java.begin(classes_of.ARRAY_LIST)
    java.fields("i", len(cores))
    java.block(struct.pack(">i", len(cores)))
    for core in cores:
        java.refer(("core", core.id))
    java.end()


def _write_map(java: JavaWriter, values: Mapping[str, str | int], key: Hashable = None) -> None:
    buckets = 16
    while len(values) > buckets * 3 // 4:
        buckets *= 2
    java.begin(classes_of.HASH_MAP, key)
    java.fields("fi", 0.75, buckets * 3 // 4)
    java.block(struct.pack(">ii", buckets, len(values)))
    for name in sorted(values, key=lambda name: _java_hash(name) & (buckets - 1)):
        value = values[name]
        java.shared_string(name)
        _write_integer(java, value) if isinstance(value, int) else java.string(value)
    java.end()


def _java_hash(text: str) -> int:
    """Return the hash by which ``HashMap`` chooses a text's bucket."""
    found = 0
    for (unit,) in struct.iter_unpack(">H", text.encode("utf-16-be", "surrogatepass")):
        found = (31 * found + unit) & 0xFFFFFFFF
    return found ^ found >> 16


def _write_integer(java: JavaWriter, number: int) -> None:
    key = ("integer", number) if number in _BOXES else None
    if key is None or not java.refer(key):
        java.begin(classes_of.INTEGER, key)
        java.fields("i", number)


class _ObjectWriter:
    def __init__(self, java: JavaWriter, colors: Mapping[str, tuple[int, int, int]]) -> None:
        self._java = java
        self._colors = colors
        self._shapes: Iterator[Shape] = iter(())

    def write(self, objects: Sequence[PathObject], root_id: str) -> None:
        children = _children(objects)
        self._shapes = shapes_of(item for item, is_open in _steps(children) if is_open)
        self._java.begin(classes_of.ROOT)
        self._java.null()  # no name
        self._java.null()  # no color
        _write_metadata(self._java, {}, root_id)
        self._java.null()  # no measurements
        self._java.block(struct.pack(">i", len(children[None])))
        closed = 0
        for item, is_open in _steps(children):
            if is_open:
                self._close(item)
                closed += 1
            else:
                self._open(item, len(children.get(item.id, ())))
        self._java.end()
        if closed < len(objects):
            raise InvalidValueError(f"the parents of {len(objects) - closed} objects form a circle; give them others")

    def _open(self, item: PathObject, children: int) -> None:
        java = self._java
        is_core = item.kind is ObjectKind.TMA_CORE
        java.begin(classes_of.KINDS[item.kind], ("core", item.id) if is_core else None)
        java.null() if item.name is None else java.string(item.name)
        java.null() if item.color_rgb is None else _write_integer(java, argb(item.color_rgb))
        _write_metadata(java, item.metadata, uuid_of(item.id))
        java.null() if not item.measurements else _write_measurements(java, item)
        java.block(struct.pack(">i", children))

    def _close(self, item: PathObject) -> None:
        java = self._java
        _write_boolean(java, item.is_locked)
        self._write_class(item.path_class)
        write_shape(java, next(self._shapes))
        probability = struct.pack(">d", np.nan if item.class_probability is None else item.class_probability)
        java.block(probability + bytes((item.is_missing,)) if item.kind is ObjectKind.TMA_CORE else probability)
        nucleus = None if item.nucleus is None else next(self._shapes)
        if item.kind is ObjectKind.CELL:
            java.null() if nucleus is None else write_shape(java, nucleus)
        java.end()

    def _write_class(self, path_class: PathClass | None) -> None:
        if path_class is None:
            self._java.null()
            return
        key = ("class", path_class.name)
        if self._java.refer(key):
            return
        *bases, name = path_class.parts
        base = ": ".join(bases)
        self._java.begin(classes_of.PATH_CLASS, key)
        _write_integer(self._java, argb(self._colors.get(path_class.name, path_class.color_rgb)))
        self._java.string(name)
        self._write_class(PathClass(base, self._colors.get(base, path_class.color_rgb)) if base else None)


def _colors(objects: Sequence[PathObject], classes: Sequence[PathClass]) -> dict[str, tuple[int, int, int]]:
    used = [item.path_class for item in objects if item.path_class is not None]
    return {item.name: item.color_rgb for item in (*used, *classes)}


def _children(objects: Sequence[PathObject]) -> dict[str | None, list[PathObject]]:
    known = {item.id for item in objects}
    if len(known) < len(objects):
        raise InvalidValueError(f"{len(objects) - len(known)} objects have the id of another; give each its own")
    children: dict[str | None, list[PathObject]] = {None: []}
    for item in objects:
        children.setdefault(item.parent_id if item.parent_id in known else None, []).append(item)
    return children


def _steps(children: Mapping[str | None, Sequence[PathObject]]) -> Iterator[tuple[PathObject, bool]]:
    """Yield each object twice: before its children, and, being open, after them."""
    pending = [(item, False) for item in reversed(children[None])]
    while pending:
        item, is_open = step = pending.pop()
        yield step
        if not is_open:
            pending.append((item, True))
            pending.extend((child, False) for child in reversed(children.get(item.id, ())))


def argb(color_rgb: tuple[int, int, int]) -> int:
    """Return an opaque color as Java's signed number."""
    red, green, blue = color_rgb
    return (red << 16 | green << 8 | blue) - (1 << 24)


def _write_boolean(java: JavaWriter, value: bool) -> None:
    if not java.refer(("boolean", value)):
        java.begin(classes_of.BOOLEAN, ("boolean", value))
        java.fields("?", value)


def _write_metadata(java: JavaWriter, metadata: Mapping[str, str], object_id: str) -> None:
    java.begin(classes_of.METADATA)
    _write_integer(java, 1)  # form 1
    java.array(classes_of.OBJECT_ARRAY, len(metadata) + 1)
    for name in (*metadata, "Object ID"):
        java.shared_string(name)
    java.array(classes_of.OBJECT_ARRAY, len(metadata) + 1)
    for text in (*metadata.values(), object_id):
        java.string(text)
    java.end()


def _write_measurements(java: JavaWriter, item: PathObject) -> None:
    _LISTS[item.kind](java, item.measurements)


def _write_measurement_list(java: JavaWriter, measurements: Mapping[str, float]) -> None:
    java.begin(classes_of.MEASUREMENT_LIST)
    java.begin(classes_of.ARRAY_LIST)
    java.fields("i", len(measurements))
    java.block(struct.pack(">i", len(measurements)))
    for name, value in measurements.items():
        java.begin(classes_of.MEASUREMENT)
        java.fields("d", value)
        java.shared_string(name)
    java.end()


def _write_numeric_list(java: JavaWriter, measurements: Mapping[str, float]) -> None:
    """Write the values as one array; objects with the same names share these."""
    java.begin(classes_of.DOUBLE_LIST)
    java.fields("?", True)  # closed: whoever adds a name copies the list first
    names = tuple(measurements)
    _write_names(java, names)
    java.array(classes_of.DOUBLES, len(names), struct.pack(f">{len(names)}d", *measurements.values()))


def _write_names(java: JavaWriter, names: tuple[str, ...]) -> None:
    if not java.refer(("map", names)):
        _write_map(java, {name: index for index, name in enumerate(names)}, ("map", names))
    if not java.refer(("names", names)):
        _write_list(java, names)


def _write_list(java: JavaWriter, names: tuple[str, ...]) -> None:
    java.begin(classes_of.IMMUTABLE_LIST, ("names", names))
    java.fields("i", _LIST_OF_COPIES)
    java.block(struct.pack(">i", len(names)))
    for name in names:
        java.shared_string(name)
    java.end()


_LISTS: Final[Mapping[ObjectKind, Callable[[JavaWriter, Mapping[str, float]], None]]] = {
    ObjectKind.ANNOTATION: _write_measurement_list,
    ObjectKind.TMA_CORE: _write_measurement_list,
    ObjectKind.DETECTION: _write_numeric_list,
    ObjectKind.CELL: _write_numeric_list,
    ObjectKind.TILE: _write_numeric_list,
}
