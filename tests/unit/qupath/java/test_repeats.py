from __future__ import annotations

import struct
from pathlib import Path

import pytest

from qpbridge.qupath.java import walking
from qpbridge.qupath.java.repeats import Chain, Repeats
from qpbridge.qupath.java.scanning import Scan, begin, finish

COUNT = 200


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Nodes that every leap has taken."""
    leaps: list[int] = []
    take = Repeats.take

    def count(self: Repeats, scan: Scan, chain: Chain) -> None:
        leaps.append(chain.nodes)
        take(self, scan, chain)

    monkeypatch.setattr(Repeats, "take", count)
    return leaps


def found(data: bytes) -> list[list[int]]:
    scan = finish(begin(data))
    return [column.tolist() for column in (scan.codes, scan.places, scan.ends, scan.links, scan.state)]


def by_steps(data: bytes) -> list[list[int]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Repeats, "ahead", lambda *_: None)
        return found(data)


def items(hierarchy, count=COUNT):
    """Objects with text, blocks, numbers, references and arrays in them, within one that writes itself."""
    writer = hierarchy(children=0).writer
    writer.external("List")
    shared = writer.string("shared")
    for number in range(count):
        writer.external("Item")
        writer.string("x" * (number % 7))
        writer.reference(shared)
        writer.block(bytes(number % 3))
        writer.array("D", [float(number)] * (number % 4))
        writer.integer(number)
        writer.end()
    writer.end()
    return writer


def test_many_objects_of_one_build_take_few_leaps_and_are_found_as_by_steps(hierarchy, taken):
    data = bytes(items(hierarchy).data)

    assert found(data) == by_steps(data)
    assert len(taken) < 4
    assert sum(taken) > 0.9 * len(found(data)[0])


def test_files_of_qupath_are_found_as_by_steps(data_dir: Path, taken):
    for path in sorted(data_dir.rglob("data.qpdata")):
        assert found(path.read_bytes()) == by_steps(path.read_bytes())
    assert sum(taken) > 1000


@pytest.mark.parametrize("handle", [0, walking.FIRST_HANDLE - 1, walking.FIRST_HANDLE + 5000, 0xFFFFFFFF])
def test_a_reference_to_what_is_not_there_is_told_as_by_steps(hierarchy, handle):
    data = items(hierarchy).data
    wrong = [index for index in range(len(data)) if data[index : index + 3] == b"q\x00\x7e"][-20]
    data[wrong + 1 : wrong + 5] = struct.pack(">I", handle)

    state = found(bytes(data))[-1]

    assert found(bytes(data)) == by_steps(bytes(data))
    assert state[walking.FAULT] in (walking.BAD_HANDLE, walking.NO_CLASS)


@pytest.mark.parametrize("kept", [0.999, 0.7, 0.31])
def test_a_stream_that_ends_early_is_told_as_by_steps(hierarchy, kept):
    data = bytes(items(hierarchy).data)
    data = data[: int(kept * len(data))]

    assert found(data) == by_steps(data)
    assert found(data)[-1][walking.FAULT] == walking.ENDS_EARLY


@pytest.mark.parametrize("depth", range(walking.MAX_DEPTH - 6, walking.MAX_DEPTH + 1))
def test_objects_as_deep_as_may_be_are_found_as_by_steps(hierarchy, depth):
    writer = items(hierarchy, 5)
    for _ in range(depth - 2):
        writer.external("List")
    for _ in range(5):
        writer.external("Item")
        writer.string("deep")
        writer.reference(walking.FIRST_HANDLE)
        writer.block(b"")
        writer.array("D", [])
        writer.integer(1)
        writer.end()

    assert found(bytes(writer.data)) == by_steps(bytes(writer.data))


def test_bytes_in_numbers_that_look_like_an_object_are_none(hierarchy):
    writer = items(hierarchy, 6)
    described = writer.data.rindex(b"sq")
    head = bytes(writer.data[described : described + 6])
    for _ in range(4):
        writer.external("Item")
        writer.string(" ")
        writer.reference(walking.FIRST_HANDLE)
        writer.block(head * 20)
        writer.array("D", [])
        writer.integer(1)
        writer.end()

    assert found(bytes(writer.data)) == by_steps(bytes(writer.data))


def test_alternating_builds_make_one_chain(hierarchy, taken):
    writer = items(hierarchy, 4)
    writer.external("List")
    for number in range(COUNT):
        writer.external("Item" if number % 2 else "Other")
        writer.string("a")
        writer.end()
    data = bytes(writer.data)

    assert found(data) == by_steps(data)
    assert max(taken) > COUNT


def test_what_never_repeats_to_its_end_is_left_to_steps(hierarchy, taken):
    writer = hierarchy(children=0).writer
    for number in range(300):
        writer.external("Item")
        for _ in range(number):
            writer.null()
        writer.end()
    data = bytes(writer.data)

    assert found(data) == by_steps(data)
    assert not taken
