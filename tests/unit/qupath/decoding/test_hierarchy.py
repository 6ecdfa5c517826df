from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.errors import DamagedDataError
from qpbridge.qupath.decoding.hierarchy import ABSENT, enclosing, find_objects, kinds_of
from qpbridge.qupath.java import walking
from qpbridge.qupath.java.columns import Columns
from qpbridge.qupath.java.objects import JavaObject
from qpbridge.qupath.java.stream import JavaStream
from qpbridge.qupath.java.values import is_object


def opened(data: bytes) -> tuple[Columns, JavaObject]:
    stream = JavaStream(data)
    values = map(stream.value, stream.contents())
    found = next(item for item in values if is_object(item, "qupath.lib.objects.hierarchy.PathObjectHierarchy"))
    return Columns(stream), found


@st.composite
def intervals(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    """Nested intervals, and of each the index of the one around it, by drawing which to close."""
    begins, ends, parents, open_ones, now = [], [], [], [], 0
    for closing in draw(st.lists(st.integers(0, 3), max_size=30)):
        for _ in range(min(closing, len(open_ones))):
            ends[open_ones.pop()] = now
        parents.append(open_ones[-1] if open_ones else -1)
        open_ones.append(len(begins))
        begins.append(now)
        ends.append(0)
        now += 1
    for index in open_ones:
        ends[index] = now
    return begins, ends, parents


@given(intervals())
def test_each_interval_finds_the_smallest_around_it(drawn):
    begins, ends, parents = drawn

    assert enclosing(np.array(begins, dtype=np.int64), np.array(ends, dtype=np.int64)).tolist() == parents


def test_objects_know_their_parents_in_the_order_of_the_stream(hierarchy):
    made = hierarchy(children=2)
    nest(made, 2)
    made.annotation()
    made.no_class_and_shape()
    columns, found = opened(made.finish())

    slots = find_objects(columns, found)

    assert slots.parents.tolist() == [-1, 0, -1]
    assert (np.diff(slots.nodes) > 0).all()
    assert slots.nuclei.tolist() == [ABSENT] * 3
    assert (columns.stream.codes[slots.rois] == walking.NULL).all()
    assert kinds_of(columns, slots.nodes, {"qupath.lib.objects.PathROIObject": 7}) == [7, 7, 7]


def nest(made, depth: int) -> None:
    for level in range(depth):
        made.begin_annotation()
        for _ in range(3):
            made.writer.null()
        made.writer.block(struct.pack(">i", int(level < depth - 1)))
    for _ in range(depth):
        made.no_class_and_shape()


def test_hierarchies_nest_nearly_as_deep_as_streams(hierarchy):
    depth = walking.MAX_DEPTH - 2
    made = hierarchy(children=1)
    nest(made, depth)
    columns, found = opened(made.finish())

    assert find_objects(columns, found).parents.tolist() == list(range(-1, depth - 1))


@pytest.mark.parametrize(("announced", "written"), [(0, 1), (2, 1), (-1, 0), (2**31 - 1, 1)])
def test_children_are_as_many_as_announced(hierarchy, announced, written):
    made = hierarchy(children=announced)
    for _ in range(written):
        made.annotation()
        made.no_class_and_shape()
    columns, found = opened(made.finish())

    with pytest.raises(DamagedDataError, match=r"count expected|not those announced"):
        find_objects(columns, found)


@pytest.mark.parametrize("count", range(5))
def test_an_object_that_ends_early_is_refused(hierarchy, count):
    made = hierarchy(children=1)
    made.begin_annotation()
    for _ in range(count):
        made.writer.null()
    made.writer.end()
    columns, found = opened(made.finish())

    with pytest.raises(DamagedDataError, match=r"ends early|count expected"):
        find_objects(columns, found)


def test_more_in_an_object_of_version_4_is_skipped(hierarchy):
    made = hierarchy(children=1)
    made.begin_annotation()
    made.writer.null()
    made.writer.null()
    made.writer.object(("java.util.UUID",), 2, (("J", "leastSigBits"), ("J", "mostSigBits")))
    made.writer.data += bytes(16)
    made.writer.block(struct.pack(">i", 3))
    made.writer.string("of the future")
    made.writer.null()
    made.writer.external("qupath.lib.objects.Unheard")
    made.writer.string("inside")
    made.writer.end()
    made.writer.block(struct.pack(">i", 0))
    made.no_class_and_shape()
    columns, found = opened(made.finish())

    slots = find_objects(columns, found)

    assert columns.is_a(slots.ids, "java.util.UUID").all()
    assert (slots.metadata.tolist(), slots.measurements.tolist()) == ([ABSENT], [ABSENT])
