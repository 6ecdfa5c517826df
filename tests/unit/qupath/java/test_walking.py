from __future__ import annotations

from qpbridge.qupath.java import walking
from qpbridge.qupath.java.scanning import begin, finish

HEADER = b"\xac\xed\x00\x05"


def test_handles_count_anew_behind_a_reset():
    scan = finish(begin(HEADER + b"t\x00\x01a" + b"y" + b"t\x00\x01b" + b"q\x00\x7e\x00\x00"))

    assert scan.codes.tolist() == [walking.STRING, walking.STRING, walking.REFERENCE]
    assert scan.links.tolist() == [1, 1, 1]


def test_a_reset_inside_of_an_object_is_refused():
    scan = finish(begin(HEADER + b"sr\x00\x01A" + bytes(8) + b"\x0c\x00\x00xpyx"))

    assert scan.state[walking.FAULT] == walking.UNKNOWN_CODE


def test_what_is_begun_and_not_ended_is_told_by_its_end():
    scan = finish(begin(HEADER + b"p" + b"ur\x00\x02[L" + bytes(8) + b"\x02\x00\x00xp\x00\x00\x00\x02pp"[:-1]))

    assert scan.state[walking.FAULT] != walking.COMPLETE
    assert scan.ends.tolist()[:2] == [1, 0]


def test_fields_of_all_classes_of_a_lineage_come_the_most_basic_first():
    def described(name: bytes, fields: bytes, count: int) -> bytes:
        return b"r\x00\x01" + name + bytes(8) + b"\x02" + bytes((0, count)) + fields + b"x"

    lineage = described(b"C", b"I\x00\x01c", 1) + described(b"B", b"", 0) + described(b"A", b"B\x00\x01a", 1) + b"p"
    scan = finish(begin(HEADER + b"s" + lineage + b"\x07" + b"\x00\x00\x00\x09"))

    assert scan.state[walking.FAULT] == walking.COMPLETE
    places = scan.places[scan.codes == walking.PRIMITIVES].tolist()
    assert places == [len(HEADER + b"s" + lineage), len(HEADER + b"s" + lineage) + 1]
