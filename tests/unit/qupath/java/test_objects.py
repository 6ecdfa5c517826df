import struct

import numpy as np

from qpbridge.qupath.java.objects import JavaClass, JavaObject, Part


class Shelf:
    """Contents of two objects, made when asked for."""

    def inside(self, node: int) -> tuple[dict[str, object], list[object]]:
        return {"x": node}, [node, b"block"]


def part(layout: str, *names: str) -> Part:
    return Part(struct.Struct(layout), names, (), has_items=False)


def test_primitive_fields_of_many_objects_are_columns_at_the_places_of_the_stream() -> None:
    one = part(">i?dH", "count", "flag", "share", "char")
    packed = struct.pack(">i?dH", -7, True, 0.5, 65) + struct.pack(">i?dH", 9, False, 1.5, 66)

    table = np.frombuffer(packed, one.column_type())

    assert one.column_type().itemsize == one.packed.size == 15
    assert table["count"].tolist() == [-7, 9]
    assert table["flag"].tolist() == [True, False]
    assert table["share"].tolist() == [0.5, 1.5]
    assert table["char"].tolist() == [65, 66]


def test_of_two_fields_of_one_name_the_last_is_kept() -> None:
    table = np.frombuffer(struct.pack(">ii", 1, 2), part(">ii", "a", "a").column_type())

    assert table["a"].tolist() == [2]


def test_objects_are_the_same_where_they_stand_at_the_same_place() -> None:
    described, shelf = JavaClass("A", ("A",), False, ()), Shelf()

    first, second, again = (JavaObject(described, 3 * node, node, shelf) for node in (1, 2, 1))

    assert (first.fields, first.items) == ({"x": 1}, [1, b"block"])
    assert first == again
    assert first != second
