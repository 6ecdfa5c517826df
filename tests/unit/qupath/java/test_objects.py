import struct

from qpbridge.qupath.java.objects import JavaClass, JavaObject, Part


def part(layout: str, *names: str, has_items: bool = False) -> Part:
    packed = struct.Struct(layout)
    return Part(packed.unpack_from, packed.size, names, (), has_items)


def test_a_class_lies_before_its_bases_and_its_fields_after_theirs() -> None:
    base, middle, leaf = JavaClass("Base"), JavaClass("Middle"), JavaClass("Leaf")
    parts = part(">i", "a"), part(">d", "b"), part(">h", "c")

    base.finish(parts[0], None, is_external=False)
    middle.finish(parts[1], base, is_external=False)
    leaf.finish(parts[2], middle, is_external=True)

    assert leaf.lineage == ("Leaf", "Middle", "Base")
    assert leaf.parts == parts
    assert (base.lineage, base.parts) == (("Base",), parts[:1])
    assert [one.is_external for one in (base, middle, leaf)] == [False, False, True]


def test_a_class_is_unfinished_until_its_fields_are_known() -> None:
    described = JavaClass("A")

    before = described.is_finished, described.parts, described.lineage
    described.finish(part(">i", "a"), None, is_external=False)

    assert before == (False, (), ("A",))
    assert described.is_finished


def test_a_part_takes_its_primitives_from_where_they_lie() -> None:
    one = part(">if", "count", "share")

    assert one.unpack(b"??" + struct.pack(">if", -7, 0.5), 2) == (-7, 0.5)
    assert one.size == 8


def test_objects_of_one_class_keep_their_content_apart() -> None:
    described = JavaClass("A")
    first, second = JavaObject(described, 3), JavaObject(described, 9)

    first.fields["x"] = 1
    first.items.append(b"block")

    assert (second.fields, second.items) == ({}, [])
    assert (first.offset, second.offset) == (3, 9)
    assert first.java_class is second.java_class
