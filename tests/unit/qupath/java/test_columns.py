from __future__ import annotations

import struct

import numpy as np
import pytest

from qpbridge.errors import DamagedDataError
from qpbridge.qupath.java.columns import Columns, distinct
from qpbridge.qupath.java.stream import JavaStream


def columns_of(writer) -> tuple[Columns, np.ndarray]:
    stream = JavaStream(bytes(writer.data))
    return Columns(stream), np.array(list(stream.contents()), dtype=np.int64)


def test_fields_of_many_objects_come_in_arrays(java_writer):
    writer = java_writer()
    for number in range(3):
        writer.object(("Pair",), 2, (("I", "count"), ("D", "share"), ("L", "name"), ("[", "values")))
        writer.data += struct.pack(">id", number, number / 2)
        writer.string(f"n{number}")
        writer.array("F", [float(number)] * number)
    columns, nodes = columns_of(writer)
    ((java_class, chosen),) = columns.by_class(nodes)

    fields = columns.fields(java_class, nodes[chosen])

    assert fields.integers("count")[0].tolist() == [0, 1, 2]
    assert fields.doubles("share")[0].tolist() == [0, 0.5, 1]
    assert columns.texts(fields.objects("name")) == ["n0", "n1", "n2"]
    values, counts = columns.floats(fields.objects("values"))
    assert (values.tolist(), counts.tolist()) == ([1, 2, 2], [0, 1, 2])
    with pytest.raises(DamagedDataError, match=r"Pair without a field 'share' of the right type.* at byte \d+"):
        fields.integers("share")
    with pytest.raises(DamagedDataError, match="without a field 'absent'"):
        fields.objects("absent")


def test_arrays_of_float_and_double_keep_their_order(java_writer):
    writer = java_writer()
    for code, values in (("D", [1.5]), ("F", [2.5, 3.5]), ("D", []), ("D", [4.5])):
        writer.array(code, values)
    columns, nodes = columns_of(writer)

    values, counts = columns.floats(nodes)

    assert values.tolist() == [1.5, 2.5, 3.5, 4.5]
    assert counts.tolist() == [1, 2, 0, 1]


def test_other_arrays_and_objects_are_no_numbers(java_writer):
    writer = java_writer()
    writer.array("I", [1])
    writer.string("a")
    columns, nodes = columns_of(writer)

    with pytest.raises(DamagedDataError, match=r"array of numbers expected: \[I at byte"):
        columns.floats(nodes[:1])
    with pytest.raises(DamagedDataError, match="array expected at byte"):
        columns.lengths(nodes)


def test_texts_are_read_in_javas_encoding_and_others_are_none(java_writer):
    writer = java_writer()
    writer.string("plain")
    writer.null()
    writer.data += b"t\x00\x08\xc0\x80" + "\ud83d\ude00".encode("utf-8", "surrogatepass")
    writer.add_handle()
    writer.string("é")
    columns, nodes = columns_of(writer)

    assert columns.texts(nodes) == ["plain", None, "\0😀", "é"]


def test_classes_are_told_by_name_base_and_package(java_writer):
    writer = java_writer()
    handle = writer.external("a.b.Derived", "a.Base")
    writer.end()
    writer.reference(handle)
    writer.null()
    columns, nodes = columns_of(writer)

    assert columns.is_a(columns.resolved(nodes), "a.Base").tolist() == [True, True, False]
    assert columns.is_a(nodes, "a.Base").tolist() == [True, False, False]
    assert columns.is_in(nodes, "a.b.").tolist() == [True, False, False]
    assert columns.is_in(nodes, "b.").tolist() == [False, False, False]


def test_what_is_shared_is_made_once(java_writer):
    writer = java_writer()
    handle = writer.string("a")
    writer.string("b")
    writer.reference(handle)
    columns, nodes = columns_of(writer)
    calls = []

    made, which = columns.mapped(columns.resolved(nodes), lambda node: calls.append(node) or f"made {node}")

    assert [made[index] for index in which] == ["made 0", "made 1", "made 0"]
    assert len(calls) == 2


def test_distinct_nodes_are_numbered():
    for nodes, different, which in (([3, 5, 9], [3, 5, 9], [0, 1, 2]), ([5, 3, 5], [3, 5], [1, 0, 1]), ([], [], [])):
        found = distinct(np.array(nodes, dtype=np.int64))
        assert [part.tolist() for part in found] == [different, which]


def test_no_more_is_made_than_the_file_is_long(java_writer):
    writer = java_writer()
    writer.string("a")
    columns, nodes = columns_of(writer)

    columns.spend(np.array([len(columns.stream.data)]), nodes)
    with pytest.raises(DamagedDataError, match=r"by sharing at byte 7"):
        columns.spend(np.array([1]), nodes)
