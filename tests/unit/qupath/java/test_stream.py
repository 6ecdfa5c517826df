from __future__ import annotations

import contextlib
import struct
import tracemalloc
from pathlib import Path

import javaobj.v2 as javaobj
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpbridge.errors import DamagedDataError
from qpbridge.qupath.java.objects import JavaClass, JavaEnum, JavaObject
from qpbridge.qupath.java.stream import MAX_DEPTH, read_contents

HEADER = b"\xac\xed\x00\x05"


@pytest.fixture(scope="module")
def kinds(data_dir: Path) -> list[object]:
    return list(read_contents((data_dir / "java" / "kinds.ser").read_bytes()))


def test_every_kind_of_content_that_java_writes_is_read_to_the_end(kinds):
    names = [item.java_class.name if isinstance(item, JavaObject) else type(item).__name__ for item in kinds]

    assert kinds[0] == b"\x00\x04Data\x00\x00\x00\x07"
    assert names.count("JavaEnum") == 2
    assert names.count("java.util.CollSer") == 3
    assert kinds[-1] == "EOF"


def test_fields_of_every_type_have_their_values(kinds):
    node = next(item for item in kinds if isinstance(item, JavaObject) and item.java_class.name == "Kinds$Node")

    plain = {name: node.fields[name] for name in "bcflsz"}
    assert plain == {"b": -7, "c": ord("x"), "f": 1.5, "l": 5, "s": -3, "z": True}
    assert isinstance(node.fields["a"], np.ndarray)
    assert node.fields["a"].tolist() == [1, -2]
    rows = node.fields["ss"]
    assert isinstance(rows, JavaObject)
    assert [row.items for row in rows.items if isinstance(row, JavaObject)] == [["p", None], ["q"]]


def test_objects_refer_to_themselves_and_to_one_another(kinds):
    first, second = (item for item in kinds if isinstance(item, JavaObject) and item.java_class.name == "Kinds$Node")

    assert first == second
    assert first.fields["next"] == first


def test_enums_and_classes_are_names_only(kinds):
    enums = [item for item in kinds if isinstance(item, JavaEnum)]

    assert [enum.constant for enum in enums] == ["A", "B"]
    assert all(enum.java_class.lineage == ("Kinds$Letter", "java.lang.Enum") for enum in enums)
    assert [item.name for item in kinds if isinstance(item, JavaClass)] == ["java.lang.String"]


def test_strings_keep_nul_and_characters_beyond_the_basic_plane(kinds):
    texts = [item for item in kinds if isinstance(item, str)]

    assert texts == ["x" * 70000, "nul\0 \U0001f600 é 坏", "after reset", "EOF"]


@pytest.mark.parametrize("data", [b"", b"\xac\xed", b"PK\x03\x04 a zip file"])
def test_other_files_are_told_apart(data):
    with pytest.raises(DamagedDataError, match="is no Java object stream"):
        list(read_contents(data))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"t\x00\x05abc", "ends early: more is announced at byte 7"),
        (b"|\x7f\xff\xff\xff\xff\xff\xff\xff", "ends early"),
        (b"|\xff\xff\xff\xff\xff\xff\xff\xff", "ends early"),
        (b"z\x7f\xff\xff\xff", "ends early"),
        (b"w\x10", "ends early"),
        (b"q\x00\x7e\x00\x00", "refers to handle 0x7e0000, which is not there"),
        (b"q\x00\x00\x00\x00", "refers to handle 0x0,"),
        (b"q\xff\xff\xff\xff", "refers to handle 0xffffffff,"),
        (b"{", "unknown or misplaced type code 0x7b at byte 4"),
        (b"x", "type code 0x78"),
        (b"sp", "no class where one must stand"),
        (b"st\x00\x01a", "no class where one must stand"),
        (b"t\x00\x01\xff", "no modified UTF-8"),
        (b"sr\x00\x01A" + bytes(8) + b"\x04\x00\x00", "old form without lengths"),
        (b"sr\x00\x01A" + bytes(8) + b"\x02\x00\x01Q\x00\x01f", "a field of type 0x51 is misplaced at byte"),
        (
            b"sr\x00\x01A" + bytes(8) + b"\x02\x00\x02L\x00\x01ft\x00\x01cI\x00\x01g",
            "type 0x49 is misplaced",
        ),
        (b"sr\x00\x01A" + bytes(8) + b"\x02\x00\x00xq\x00\x7e\x00\x00", "no class where one must stand"),
        (b"~r\x00\x01A" + bytes(8) + b"\x12\x00\x00xpp", "constant of A without a name"),
    ],
)
def test_damage_is_told_with_its_place(content, message):
    with pytest.raises(DamagedDataError, match=message):
        list(read_contents(HEADER + content))


@pytest.mark.parametrize("name", [b"[B", b"[D", b"[[F"])
@pytest.mark.parametrize("length", [0x7FFFFFFF, 10**6, -1])
def test_an_array_is_not_made_by_a_length_that_the_file_does_not_hold(name, length):
    described = b"r" + struct.pack(">H", len(name)) + name + bytes(8) + b"\x02\x00\x00xp"
    data = HEADER + b"u" + described + struct.pack(">i", length) + bytes(50)

    tracemalloc.start()
    with pytest.raises(DamagedDataError, match="elements is announced"):
        list(read_contents(data))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak_bytes < 1e5


def test_objects_nest_as_deep_as_said_and_no_deeper(java_writer):
    def nested(depth: int) -> bytes:
        writer = java_writer()
        for _ in range(depth):
            writer.object(("Link",), 2, (("L", "next"),))
        writer.null()
        return bytes(writer.data)

    (outermost,) = read_contents(nested(MAX_DEPTH))
    assert isinstance(outermost, JavaObject)
    with pytest.raises(DamagedDataError, match=f"nests deeper than {MAX_DEPTH} objects"):
        list(read_contents(nested(MAX_DEPTH + 1)))


@pytest.mark.parametrize("code", ["u", "class", "annotation"])
def test_other_contents_do_not_nest_without_end_either(code, java_writer):
    writer = java_writer()
    for _ in range(5000):
        if code == "u":
            writer.objects(1)
        else:
            writer.data += b"r\x00\x01A" + bytes(8) + b"\x02\x00\x00"
            writer.data += b"x" if code == "class" else b""
            writer.add_handle()

    with pytest.raises(DamagedDataError, match="nests"):
        list(read_contents(bytes(writer.data)))


def test_a_class_is_not_its_own_base():
    data = HEADER + b"r\x00\x01A" + bytes(8) + b"\x02\x00\x00xq\x00\x7e\x00\x00"

    with pytest.raises(DamagedDataError, match="no class where one must stand"):
        list(read_contents(data))


def test_a_proxy_class_is_read_over():
    proxy = b"s}\x00\x00\x00\x01\x00\x08any.Facex" + b"p"

    (item,) = read_contents(HEADER + proxy)

    assert isinstance(item, JavaObject)
    assert item.java_class.name == "java.lang.reflect.Proxy"


@settings(deadline=None, max_examples=200)
@given(content=st.binary(max_size=400), at=st.integers(0, 3000), kept=st.integers(0, 3000))
def test_whatever_follows_the_first_bytes_ends_in_one_error_or_a_result(content, at, kept, data_dir):
    sound = (data_dir / "java" / "kinds.ser").read_bytes()[:3000]

    damaged = HEADER + sound[4:at] + content + sound[kept:]

    with contextlib.suppress(DamagedDataError):
        assert len(list(read_contents(damaged))) <= len(damaged)


def test_an_independent_parser_finds_the_same_contents(kinds, data_dir):
    with (data_dir / "java" / "kinds.ser").open("rb") as file:
        theirs = javaobj.load(file)

    assert [_shown(item) for item in kinds] == [_shown_by_javaobj(item) for item in theirs]


def _shown(item: object) -> object:
    if isinstance(item, JavaEnum):
        return item.java_class.name, item.constant
    if isinstance(item, JavaObject):
        return item.java_class.name, sorted(item.fields)
    return item.name if isinstance(item, JavaClass) else item


def _shown_by_javaobj(item: object) -> object:
    match item:
        case javaobj.beans.JavaEnum():
            return item.classdesc.name, str(item.value)
        case javaobj.beans.JavaInstance():
            names = [field.name for values in item.field_data.values() for field in values]
            return item.classdesc.name, sorted(names)
        case javaobj.beans.BlockData():
            return item.data
        case javaobj.beans.JavaClass():
            return item.name
    return str(item)
