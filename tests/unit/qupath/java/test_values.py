from __future__ import annotations

from pathlib import Path

import pytest

from qpbridge.errors import DamagedDataError
from qpbridge.qupath.java.objects import JavaObject
from qpbridge.qupath.java.stream import read_contents
from qpbridge.qupath.java.values import is_map, is_object, list_of, map_of, text_or_none, unboxed


@pytest.fixture(scope="module")
def collections(data_dir: Path) -> list[JavaObject]:
    contents = read_contents((data_dir / "java" / "kinds.ser").read_bytes())
    return [item for item in contents if isinstance(item, JavaObject) and item.java_class.name.startswith("java.util.")]


def test_lists_of_every_class_give_their_elements(collections):
    immutable, _, _, _, unmodifiable, array, *_ = collections

    assert [unboxed(item) for item in list_of(immutable)] == [1, "two", 3.0]
    assert list_of(unmodifiable) == ["u"]
    assert list_of(array) == ["r", "s"]


def test_maps_of_every_class_give_their_entries(collections):
    _, immutable, tree, linked, _, _, singleton, synchronized, *_ = collections

    assert {key: unboxed(value) for key, value in map_of(immutable).items()} == {"k": 1}
    assert {key: unboxed(value) for key, value in map_of(tree).items()} == {"a": 1, "b": 2}
    assert {key: unboxed(value) for key, value in map_of(linked).items()} == {"z": True, "y": None}
    assert map_of(singleton) == {"sk": "sv"}
    assert map_of(synchronized) == {"h": "i"}


def test_a_set_is_neither_list_nor_map(collections):
    immutable_set = collections[8]

    assert not is_map(immutable_set)
    with pytest.raises(DamagedDataError, match=r"list expected: java.util.CollSer at byte \d+"):
        list_of(immutable_set)
    with pytest.raises(DamagedDataError, match=r"map expected"):
        map_of(immutable_set)


def test_a_list_wrapped_in_itself_is_refused(java_writer):
    writer = java_writer()
    handle = writer.object(("java.util.Collections$UnmodifiableList",), 2, (("L", "list"),))
    writer.reference(handle)

    (wrapper,) = read_contents(bytes(writer.data))

    with pytest.raises(DamagedDataError, match=r"list expected.*at byte 74"):
        list_of(wrapper)


def test_arrays_of_objects_are_lists_and_arrays_of_numbers_are_not(java_writer):
    writer = java_writer()
    writer.objects(2)
    writer.string("a")
    writer.null()
    writer.array("D", [1.0])

    texts, numbers = read_contents(bytes(writer.data))

    assert list_of(texts) == ["a", None]
    with pytest.raises(DamagedDataError, match="list expected, not ndarray"):
        list_of(numbers)


def test_text_is_text_or_nothing():
    assert [text_or_none(value) for value in ("a", None)] == ["a", None]
    with pytest.raises(DamagedDataError, match=r"text expected, not int"):
        text_or_none(3)


def test_a_class_counts_as_its_bases(java_writer):
    writer = java_writer()
    writer.external("Derived", "Base")
    writer.end()

    (item,) = read_contents(bytes(writer.data))

    assert is_object(item, "Base")
    assert not is_object(item, "Other")
    assert not is_object("Base", "Base")
