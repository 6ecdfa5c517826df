from __future__ import annotations

import numpy as np
import pytest

from qpbridge.qupath.java import walking
from qpbridge.qupath.java.patterns import HEAD_BYTES, Fitting, Pattern, fitting, pattern_of
from qpbridge.qupath.java.scanning import begin, finish


class Made:
    """Objects one after the other, each with text, a list of some length, numbers and a reference."""

    def __init__(self, writer) -> None:
        self.writer = writer
        self.starts: list[int] = []
        self._shared = writer.string("shared")

    def add(self, text="abc", count=2, numbers=3, referred=True):
        writer = self.writer
        self.starts.append(len(writer.data))
        writer.external("Item")
        writer.string(text)
        writer.objects(count)
        for _ in range(count):
            writer.null()
        writer.array("D", [1.0] * numbers)
        writer.integer(7)
        if referred:
            writer.reference(self._shared)
        else:
            writer.null()
        writer.end()

    def pattern(self, index: int) -> Pattern | None:
        """Return the build of the last object."""
        data = bytes(self.writer.data)
        scan = finish(begin(data))
        objects = np.flatnonzero(scan.codes == walking.OBJECT)
        node = int(objects[scan.places[objects] > self.starts[index]][0])
        return pattern_of(scan, np.frombuffer(data, np.uint8), node, self.starts[index])

    def fitting(self, pattern: Pattern) -> Fitting:
        return fitting(pattern, np.frombuffer(bytes(self.writer.data), np.uint8), np.array(self.starts))


@pytest.fixture
def made(java_writer) -> Made:
    return Made(java_writer())


def test_objects_fit_whatever_their_text_numbers_and_references(made):
    made.add()
    made.add()
    pattern = made.pattern(1)
    made.add(text="longer text", numbers=0)
    made.add(text="", numbers=9)

    found = made.fitting(pattern)

    assert found.starts.tolist() == made.starts[1:]
    assert found.ends.tolist() == [*made.starts[2:], len(made.writer.data)]
    assert found.lengths.tolist() == [[3], [11], [0]]
    assert found.targets.tolist() == [[0], [0], [0]]
    assert (found.places - found.starts[:, None] > 0).all()
    assert (found.places <= found.ends[:, None]).all()


@pytest.mark.parametrize("other", [{"count": 3}, {"referred": False}])
def test_other_builds_do_not_fit(made, other):
    made.add()
    made.add()
    pattern = made.pattern(1)
    made.add(**other)

    assert made.fitting(pattern).starts.tolist() == made.starts[1:2]


def test_an_object_cut_short_does_not_fit(made):
    made.add()
    made.add()
    pattern = made.pattern(1)
    made.add(numbers=20)
    for kept in range(len(made.writer.data) - 1, made.starts[-1] + HEAD_BYTES, -1):
        del made.writer.data[kept:]

        assert made.fitting(pattern).starts.tolist() == made.starts[1:2]


def test_an_object_that_describes_classes_makes_no_pattern(made):
    made.add()

    assert made.pattern(0) is None


def test_a_large_object_makes_no_pattern(made):
    made.add()
    made.add(count=1000)

    assert made.pattern(1) is None


def test_the_height_is_that_of_objects_inside_objects(made):
    made.add()
    made.add()

    assert made.pattern(1).height == 2
