"""Many objects of a Java object stream at once: one array a field, and no Python object per object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from qpbridge.errors import DamagedDataError
from qpbridge.qupath.java import walking
from qpbridge.qupath.java.objects import JavaClass
from qpbridge.qupath.java.stream import JavaStream, Nodes

Truths = npt.NDArray[np.bool_]

_WITH_CLASS: Final = (walking.OBJECT, walking.ARRAY, walking.ENUM)
_FLOATS: Final[dict[str, tuple[np.dtype[np.floating], int]]] = {"[F": (np.dtype(">f4"), 4), "[D": (np.dtype(">f8"), 8)}
_LENGTH: Final = np.dtype(">i4")


class Fields:
    """Fields of many objects of one class.

    Attributes
    ----------
    numbers : dict of str to ndarray
        Primitive fields by name.
    nodes : dict of str to ndarray
        What the other fields refer to, by name.
    """

    def __init__(self, columns: Columns, java_class: JavaClass, nodes: Nodes) -> None:
        self.numbers: dict[str, npt.NDArray[np.generic]] = {}
        self.nodes: dict[str, Nodes] = {}
        self._columns, self._class, self._owners = columns, java_class, nodes
        stream = columns.stream
        at = columns.begins(nodes)
        for part in java_class.parts:
            if part.packed.size:
                records = columns.records(at, part.column_type())
                self.numbers |= {name: records[name] for name in part.primitive_names}
                at = at + 1
            for name in part.object_names:
                self.nodes[name] = columns.resolved(at)
                at = stream.ends[at].astype(np.int64)
            if part.has_items:
                break

    def integers(self, *names: str) -> list[Nodes]:
        """Return int fields.

        Raises
        ------
        DamagedDataError
            If the class has no such field, or it is no int; says where its first object is.
        """
        return [self._numbers(name, "i").astype(np.int64) for name in names]

    def doubles(self, *names: str) -> list[npt.NDArray[np.float64]]:
        """Return float and double fields.

        Raises
        ------
        DamagedDataError
            As ``integers``.
        """
        return [self._numbers(name, "f").astype(np.float64) for name in names]

    def objects(self, name: str) -> Nodes:
        """Return what a field that is no primitive refers to.

        Raises
        ------
        DamagedDataError
            As ``integers``.
        """
        if name not in self.nodes:
            raise self._lacks(name)
        return self.nodes[name]

    def _numbers(self, name: str, kind: str) -> npt.NDArray[np.generic]:
        values = self.numbers.get(name)
        if values is None or values.dtype.kind != kind:
            raise self._lacks(name)
        return values

    def _lacks(self, name: str) -> DamagedDataError:
        what = f"{self._class.name} without a field {name!r} of the right type"
        return self._columns.damaged(what, self._owners[0])


class Columns:
    """What many nodes of one stream hold."""

    def __init__(self, stream: JavaStream) -> None:
        self.stream = stream
        self._bytes = np.frombuffer(stream.data, dtype=np.uint8)
        # Arrays may be shared by many objects; honest files hold several bytes for everything that we make of them
        self._budget = len(stream.data)

    def spend(self, amounts: Nodes, nodes: Nodes) -> None:
        """Account for what is made of nodes, one amount each.

        Raises
        ------
        DamagedDataError
            If more has been made than the file is long; says of which node.
        """
        self._budget -= int(amounts.sum())
        if self._budget < 0:
            raise self.damaged("more content than the file is long, by sharing", nodes[amounts.argmax()])

    def resolved(self, nodes: Nodes) -> Nodes:
        """Return nodes with references replaced by what they refer to."""
        stream = self.stream
        return np.where(stream.codes[nodes] == walking.REFERENCE, stream.links[nodes], nodes).astype(np.int64)

    def begins(self, nodes: Nodes) -> Nodes:
        """Return the first node inside each; the one after it where nothing is inside."""
        stream = self.stream
        first = nodes + 1
        is_described = stream.links[nodes] == first
        return np.where(is_described, stream.ends[np.where(is_described, first, nodes)], first).astype(np.int64)

    def class_numbers(self, nodes: Nodes) -> Nodes:
        """Return the number of each node's class; -1 where it has none."""
        stream = self.stream
        has_class = np.isin(stream.codes[nodes], _WITH_CLASS)
        described = np.where(has_class, stream.links[nodes], 0)
        return np.where(has_class, stream.links[described], -1).astype(np.int64)

    def is_a(self, nodes: Nodes, class_name: str) -> Truths:
        """Tell which nodes are objects of a class or of one derived from it."""
        return self._where(nodes, lambda java_class: class_name in java_class.lineage)

    def is_in(self, nodes: Nodes, package: str) -> Truths:
        """Tell which nodes are objects of a package, or derived from a class of it."""
        return self._where(nodes, lambda java_class: any(name.startswith(package) for name in java_class.lineage))

    def _where(self, nodes: Nodes, is_meant: Callable[[JavaClass], bool]) -> Truths:
        stream = self.stream
        meant = [stream.is_described(one) and is_meant(stream.java_class(one)) for one in range(stream.class_count)]
        chosen: Truths = np.array([*meant, False], dtype=np.bool_)[self.class_numbers(nodes)]
        return chosen

    def by_class(self, nodes: Nodes) -> Iterator[tuple[JavaClass | None, Nodes]]:
        """Yield each class that occurs, None for what is no object, and the indices of its nodes."""
        numbers = self.class_numbers(nodes)
        for number in np.unique(numbers).tolist():
            yield self.stream.java_class(number) if number >= 0 else None, np.flatnonzero(numbers == number)

    def fields(self, java_class: JavaClass, nodes: Nodes) -> Fields:
        """Return the fields of objects of one class that does not write itself."""
        return Fields(self, java_class, nodes)

    def records(self, nodes: Nodes, dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
        """Return the bytes at the places of nodes, as records; that the nodes are that long is for the caller."""
        content = self._bytes[self.stream.places[nodes][:, None] + np.arange(dtype.itemsize)]
        records: npt.NDArray[np.void] = content.view(dtype).reshape(len(nodes))
        return records

    def blocks(self, nodes: Nodes, length: int) -> Truths:
        """Tell which nodes are primitive data of at least some bytes."""
        stream = self.stream
        codes = stream.codes[nodes]
        is_block: Truths = (codes == walking.BLOCK) | (codes == walking.LONG_BLOCK)
        return is_block & (stream.links[nodes] >= length)

    def lengths(self, nodes: Nodes) -> Nodes:
        """Return the lengths of arrays.

        Raises
        ------
        DamagedDataError
            If one is no array.
        """
        is_array = self.stream.codes[nodes] == walking.ARRAY
        if not is_array.all():
            raise self.damaged("array expected", nodes[is_array.argmin()])
        content = self._bytes[self.stream.places[nodes][:, None] + np.arange(-4, 0)]
        lengths: Nodes = content.view(_LENGTH).reshape(len(nodes)).astype(np.int64)
        return lengths

    def floats(self, nodes: Nodes) -> tuple[npt.NDArray[np.float64], Nodes]:
        """Return the numbers of arrays of float or double, one array after the other, and how many each has.

        Raises
        ------
        DamagedDataError
            If one is anything else.
        """
        counts = self.lengths(nodes)
        parts = [self._floats(java_class, nodes[chosen], counts[chosen]) for java_class, chosen in self.by_class(nodes)]
        if len(parts) == 1:
            return parts[0], counts
        values = np.empty(int(counts.sum()))
        for (_, chosen), part in zip(self.by_class(nodes), parts, strict=True):
            mine = np.zeros(len(nodes), dtype=np.bool_)
            mine[chosen] = True
            values[np.repeat(mine, counts)] = part
        return values, counts

    def _floats(self, java_class: JavaClass | None, nodes: Nodes, counts: Nodes) -> npt.NDArray[np.float64]:
        if java_class is None or java_class.name not in _FLOATS:
            raise self.damaged("array of numbers expected", nodes[0])
        dtype, size = _FLOATS[java_class.name]
        begins = self.stream.places[nodes]
        cuts = map(slice, begins.tolist(), (begins + counts * size).tolist())
        with np.errstate(invalid="ignore"):  # numbers that are none are for the caller to judge
            return np.frombuffer(b"".join(map(self.stream.data.__getitem__, cuts)), dtype).astype(np.float64)

    def texts(self, nodes: Nodes) -> list[str | None]:
        """Return strings, None for what is none.

        Raises
        ------
        DamagedDataError
            If one is no modified UTF-8.
        """
        found: list[str | None] = [None] * len(nodes)
        present = np.flatnonzero(self.is_text(nodes))
        owners = nodes[present]
        begins = self.stream.places[owners]
        cuts = map(slice, begins.tolist(), (begins + self.stream.links[owners]).tolist())
        raw = map(self.stream.data.__getitem__, cuts)
        for index, part, node in zip(present.tolist(), raw, owners.tolist(), strict=True):
            found[index] = part.decode("ascii") if part.isascii() else self.stream.text(node)
        return found

    def is_text(self, nodes: Nodes) -> Truths:
        """Tell which nodes are strings."""
        return np.isin(self.stream.codes[nodes], (walking.STRING, walking.LONG_STRING))

    def mapped(self, nodes: Nodes, function: Callable[[int], object]) -> tuple[list[object], list[int]]:
        """Return what a function makes of each different node, and which of these belongs to each node."""
        different, which = distinct(nodes)
        return [function(node) for node in different.tolist()], which.tolist()

    def refuse(self, is_wrong: Truths, what: str, nodes: Nodes) -> None:
        """Raise ``DamagedDataError`` for the first node that is wrong, where there is one."""
        if is_wrong.any():
            raise self.damaged(what, nodes[is_wrong.argmax()])

    def damaged(self, what: str, node: int | np.integer) -> DamagedDataError:
        """Return the error for a node that is not what must stand in its place."""
        numbers = self.class_numbers(np.array([node]))
        name = f": {self.stream.java_class(int(numbers[0])).name}" if numbers[0] >= 0 else ""
        return DamagedDataError(f"{what}{name} at byte {self.stream.places[node]}")


def distinct(nodes: Nodes) -> tuple[Nodes, Nodes]:
    """Return each node once, in ascending order, and the index there of each one given."""
    if (nodes[1:] > nodes[:-1]).all():
        return nodes, np.arange(len(nodes))
    different, which = np.unique(nodes, return_inverse=True)
    return different, which
