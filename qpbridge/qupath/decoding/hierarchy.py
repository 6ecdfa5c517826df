"""Where the objects of a hierarchy stand in the stream, and where each keeps what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from qpbridge.qupath.java import walking
from qpbridge.qupath.java.columns import Columns, Truths
from qpbridge.qupath.java.objects import JavaObject
from qpbridge.qupath.java.stream import Nodes
from qpbridge.qupath.java.values import damaged, is_object

ABSENT: Final = -1
_ROOT: Final = "qupath.lib.objects.PathRootObject"
_PATH_OBJECT: Final = "qupath.lib.objects.PathObject"
_METADATA: Final = "qupath.lib.objects.MetadataMap"
_MEASUREMENTS: Final = "qupath.lib.measurements."
_UUID: Final = "java.util.UUID"
_BOOLEAN: Final = "java.lang.Boolean"
_MAX_EXTRAS: Final = 16
_T = TypeVar("_T")

_COUNT: Final = np.dtype([("count", ">i4")])
_TRUTH: Final = np.dtype([("truth", "u1")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """The objects of a hierarchy, parents before their children, and the nodes of what each holds.

    Everything is an array with one element an object. References are followed, except in ``probabilities``
    and ``nuclei``.

    Parameters
    ----------
    nodes : ndarray of int
        The objects.
    parents : ndarray of int
        Index of the parent; ``ABSENT`` directly below the root.
    names, colors, classes, rois : ndarray of int
        May be null.
    ids, metadata, measurements : ndarray of int
        ``ABSENT`` or null where there are none; ids of their own are only in files of version 4.
    is_locked : ndarray of bool
        Locked against edits.
    probabilities : ndarray of int
        Blocks of at least eight bytes.
    nuclei : ndarray of int
        What follows; ``ABSENT`` where nothing does.
    """

    nodes: Nodes
    parents: Nodes
    names: Nodes
    colors: Nodes
    ids: Nodes
    metadata: Nodes
    measurements: Nodes
    is_locked: Truths
    classes: Nodes
    rois: Nodes
    probabilities: Nodes
    nuclei: Nodes


def find_objects(columns: Columns, hierarchy: JavaObject) -> Slots:
    """Find all objects below the root.

    Raises
    ------
    DamagedDataError
        If one is not as any QuPath from 0.2 to 0.7 writes it; says at which byte.
    """
    root = hierarchy.fields.get("rootObject")
    if not is_object(root, _ROOT):
        raise damaged("hierarchy without a root", hierarchy)
    stream = columns.stream
    inside = root.node + np.flatnonzero(stream.codes[root.node : stream.ends[root.node]] == walking.OBJECT)
    nodes = inside[columns.is_a(inside, _PATH_OBJECT)].astype(np.int64)
    return _Walk(columns, nodes).slots()


class _Walk:
    """Steps from one content to the next inside of all objects at once, the root first among them."""

    def __init__(self, columns: Columns, nodes: Nodes) -> None:
        self._columns, self._nodes = columns, nodes
        self._ends = columns.stream.ends[nodes].astype(np.int64)

    def slots(self) -> Slots:
        """Return what stands where; three forms, of files without metadata, of version 3 and of version 4."""
        columns = self._columns
        names = columns.begins(self._nodes)
        columns.refuse(names >= self._ends, "object that ends early", self._nodes)
        colors = self._next(names)
        ids, metadata, measurements, at = self._extras(self._next(colors))
        parents, tail = self._children(at)
        below = np.arange(1, len(self._nodes))
        walk = _Walk(columns, self._nodes[below])
        is_locked, classes = walk._locks(tail[below])
        rois = walk._next(classes)
        probabilities = walk._next(rois)
        columns.refuse(~columns.blocks(probabilities, 8), "object that ends early", walk._nodes)
        after = columns.stream.ends[probabilities].astype(np.int64)
        return Slots(
            nodes=self._nodes[below],
            parents=parents[below] - 1,
            names=columns.resolved(names[below]),
            colors=columns.resolved(colors[below]),
            ids=ids[below],
            metadata=metadata[below],
            measurements=measurements[below],
            is_locked=is_locked,
            classes=columns.resolved(classes),
            rois=columns.resolved(rois),
            probabilities=probabilities,
            nuclei=np.where(after < walk._ends, after, ABSENT),
        )

    def _next(self, at: Nodes) -> Nodes:
        after = self._columns.stream.ends[at].astype(np.int64)
        self._columns.refuse(after >= self._ends, "object that ends early", self._nodes)
        return after

    def _extras(self, at: Nodes) -> tuple[Nodes, Nodes, Nodes, Nodes]:
        """Return ids, metadata and measurements, and where the number of children stands."""
        columns = self._columns
        third = columns.resolved(at)
        has_id, has_metadata = columns.is_a(third, _UUID), columns.is_a(third, _METADATA)
        ids = np.where(has_id, third, ABSENT)
        counts = np.where(has_metadata, 2, 1)
        if has_id.any():
            announced = np.where(has_id, self._next(at), at)
            counts[has_id] = self._counts(announced[has_id], self._nodes[has_id])
            at = np.where(has_id, self._next(announced), at)
        columns.refuse(counts > _MAX_EXTRAS, "object with more than is known", self._nodes)
        metadata, measurements = np.full(len(at), ABSENT), np.full(len(at), ABSENT)
        for index in range(int(counts.max(initial=0))):
            is_here = index < counts
            extra = columns.resolved(at)
            metadata = np.where(is_here & columns.is_a(extra, _METADATA), extra, metadata)
            measurements = np.where(is_here & columns.is_in(extra, _MEASUREMENTS), extra, measurements)
            at = np.where(is_here, self._next(at), at)
        return ids, metadata, measurements, at

    def _children(self, at: Nodes) -> tuple[Nodes, Nodes]:
        """Return the index of each object's parent, and what comes behind its children."""
        announced = self._counts(at, self._nodes)
        first = self._columns.stream.ends[at].astype(np.int64)
        parents = enclosing(self._nodes, self._ends)
        found = np.bincount(parents[1:], minlength=len(parents))
        order = np.argsort(parents, kind="stable")
        children = order[1:]
        is_first = parents[children] != parents[order[:-1]]
        expected = np.where(is_first, first[parents[children]], self._ends[order[:-1]])
        is_wrong = found != announced
        is_wrong[children] |= self._nodes[children] != expected
        self._columns.refuse(is_wrong, "object whose children are not those announced, each in one place", self._nodes)
        first[parents[children]] = self._ends[children]  # of several children the last counts
        return parents, first

    def _locks(self, at: Nodes) -> tuple[Truths, Nodes]:
        """Return what is locked, and where the class stands; very old files do not tell."""
        columns = self._columns
        columns.refuse(at >= self._ends, "object that ends early", self._nodes)
        flags = columns.resolved(at)
        has_flag = columns.is_a(flags, _BOOLEAN)
        is_locked = np.zeros(len(at), dtype=np.bool_)
        is_locked[has_flag] = columns.records(flags[has_flag], _TRUTH)["truth"] != 0
        return is_locked, np.where(has_flag, self._next(at), at)

    def _counts(self, at: Nodes, owners: Nodes) -> Nodes:
        columns = self._columns
        columns.refuse(~columns.blocks(at, 4) | (columns.stream.links[at] != 4), "count expected", owners)
        counts = columns.records(at, _COUNT)["count"].astype(np.int64)
        columns.refuse(counts < 0, "count expected", owners)
        return counts


def enclosing(begins: Nodes, ends: Nodes) -> Nodes:
    """Return for each interval the index of the smallest one around it, -1 for none.

    Parameters
    ----------
    begins, ends : ndarray of int
        Intervals that contain or exclude each other, by ascending begin.
    """
    parents = np.full(len(begins), -1, dtype=np.int64)
    rest, outer = np.arange(len(begins)), np.empty(0, dtype=np.int64)
    while len(rest):
        reach = np.maximum.accumulate(ends[rest])
        is_outer = np.ones(len(rest), dtype=np.bool_)
        is_outer[1:] = begins[rest[1:]] >= reach[:-1]
        level = rest[is_outer]
        if len(outer):
            parents[level] = outer[np.searchsorted(begins[outer], begins[level], side="right") - 1]
        rest, outer = rest[~is_outer], level
    return parents


def kinds_of(columns: Columns, nodes: Nodes, kinds: Mapping[str, _T]) -> list[_T]:
    """Return what a table says of the class of each object, or of its nearest base class that is in the table.

    Raises
    ------
    DamagedDataError
        If the table says nothing.
    """
    found = np.empty(len(nodes), dtype=object)
    for java_class, chosen in columns.by_class(nodes):
        names = [name for name in java_class.lineage if name in kinds] if java_class else []
        if not names:
            raise columns.damaged("unknown kind of object", nodes[chosen[0]])
        found[chosen] = kinds[names[0]]
    listed: list[_T] = found.tolist()
    return listed
