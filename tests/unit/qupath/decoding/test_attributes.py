from __future__ import annotations

import struct

import numpy as np
import pytest

from qpbridge.core.objects import NO_MAPPING, PathClass
from qpbridge.errors import DamagedDataError
from qpbridge.qupath.decoding.attributes import (
    DEFAULT_COLOR_RGB,
    read_class,
    read_measurements,
    read_metadata,
    rgb_of,
)
from qpbridge.qupath.java.columns import Columns
from qpbridge.qupath.java.stream import JavaStream

UUID = "072BD884-5a3c-3787-acac-e030641d84d9"
LIST = "qupath.lib.measurements."


def columns_of(writer) -> tuple[Columns, np.ndarray]:
    stream = JavaStream(bytes(writer.data))
    return Columns(stream), np.array(list(stream.contents()), dtype=np.int64)


def write_metadata(writer, keys: list[str | None], values: list[str | None]) -> None:
    writer.external("qupath.lib.objects.MetadataMap")
    writer.integer(1)
    for texts in (keys, values):
        writer.objects(len(texts))
        for text in texts:
            writer.null() if text is None else writer.string(text)
    writer.end()


def test_metadata_lack_the_id_and_what_is_no_text(java_writer):
    writer = java_writer()
    write_metadata(writer, ["Object ID"], [UUID])
    write_metadata(writer, ["a", "Object ID", "b", "c", None], ["1", UUID, "é", None, "x"])
    write_metadata(writer, ["Object ID"], ["no uuid"])
    columns, nodes = columns_of(writer)

    metadata, ids = read_metadata(columns, np.array([-1, *nodes]))

    assert metadata == [{}, {}, {"a": "1", "b": "é"}, {"Object ID": "no uuid"}]
    assert metadata[0] is metadata[1] is NO_MAPPING
    assert ids == [None, UUID.lower(), UUID.lower(), None]


def test_metadata_of_other_forms_are_refused(java_writer):
    def mismatched(writer):
        write_metadata(writer, ["a", "b"], ["1"])

    def short(writer):
        writer.external("qupath.lib.objects.MetadataMap")
        writer.null()
        writer.end()

    def nested(writer):
        writer.external("qupath.lib.objects.MetadataMap")
        writer.null()
        for _ in "kv":
            writer.objects(1)
            writer.objects(1)
            writer.null()
        writer.end()

    for write, message in ((mismatched, "other keys than values"), (short, "no map"), (nested, "no text")):
        writer = java_writer()
        write(writer)
        columns, nodes = columns_of(writer)
        with pytest.raises(DamagedDataError, match=rf"metadata .*{message}.* at byte \d+"):
            read_metadata(columns, nodes)


def write_single(writer, *measurements: tuple[str, str, float]) -> None:
    writer.object((f"{LIST}DefaultMeasurementList",), 2, (("L", "list"),))
    writer.object(("java.util.ArrayList",), 3, (("I", "size"),))
    writer.data += struct.pack(">i", len(measurements))
    writer.block(struct.pack(">i", len(measurements)))
    for code, name, value in measurements:
        kind = "DoubleMeasurement" if code == "d" else "FloatMeasurement"
        writer.object((LIST + kind,), 2, ((code.upper(), "value"), ("L", "name")))
        writer.data += struct.pack(f">{code}", value)
        writer.string(name)
    writer.end()


def write_numeric(writer, code: str, names: list[str], values: list[float]) -> None:
    kind = "DoubleList" if code == "D" else "FloatList"
    writer.object((f"{LIST}NumericMeasurementList${kind}",), 2, (("L", "names"), ("[", "values")))
    writer.objects(len(names))
    for name in names:
        writer.string(name)
    writer.array(code, values)


def test_measurements_of_every_form_keep_their_order(java_writer):
    writer = java_writer()
    write_single(writer, ("d", "b", 0.1), ("f", "a", 0.5), ("d", "c", float("inf")))
    write_numeric(writer, "D", ["y", "x"], [1.0, 2.0, 3.0])
    write_numeric(writer, "F", ["z"], [0.1])
    write_single(writer)
    columns, nodes = columns_of(writer)

    first, second, third, fourth, fifth = read_measurements(columns, np.array([*nodes, -1]))

    assert list(first.items()) == [("b", 0.1), ("a", 0.5), ("c", float("inf"))]
    assert list(second.items()) == [("y", 1.0), ("x", 2.0)]
    assert third == {"z": float(np.float32(0.1))}
    assert (fourth, fifth) == ({}, {})


def test_fewer_values_than_names_are_refused(java_writer):
    writer = java_writer()
    write_numeric(writer, "D", ["a", "b"], [1.0])
    columns, nodes = columns_of(writer)

    with pytest.raises(DamagedDataError, match=r"fewer measurements than names: .*DoubleList at byte \d+"):
        read_measurements(columns, nodes)


def test_a_measurement_without_a_name_is_refused(java_writer):
    writer = java_writer()
    writer.object((f"{LIST}DefaultMeasurementList",), 2, (("L", "list"),))
    writer.object(("java.util.ArrayList",), 3, (("I", "size"),))
    writer.data += struct.pack(">i", 1)
    writer.object((f"{LIST}DoubleMeasurement",), 2, (("D", "value"), ("L", "name")))
    writer.data += bytes(8)
    writer.null()
    writer.end()
    columns, nodes = columns_of(writer)

    with pytest.raises(DamagedDataError, match=r"measurement without a name: .*List at byte \d+"):
        read_measurements(columns, nodes)


def test_a_derived_class_has_the_color_of_its_last_part(java_writer):
    writer = java_writer()
    fields = tuple(("L", name) for name in ("colorRGB", "name", "parentClass"))
    for color, name in ((-65536, "Positive"), (-16711936, "Tumor")):
        writer.object(("qupath.lib.objects.classes.PathClass",), 2, fields)
        writer.integer(color)
        writer.string(name)
    writer.null()
    columns, (node,) = columns_of(writer)

    assert read_class(columns.stream.value(node), columns) == PathClass("Tumor: Positive", (255, 0, 0))
    assert read_class(None, columns) is None
    with pytest.raises(DamagedDataError, match="class expected"):
        read_class("Tumor", columns)


def test_colors_are_signed_numbers():
    assert rgb_of(-377282) == (250, 62, 62)
    assert rgb_of(None) == DEFAULT_COLOR_RGB
