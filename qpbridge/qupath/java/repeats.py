"""Objects of a Java object stream that are built alike, taken all at once instead of step by step.

A file of QuPath holds few builds of objects and very many objects of each: the same type codes, classes and counts,
with other text, numbers and references between them. Objects that the walk has passed become patterns, and where the
bytes that follow fit one, they mean what a walk would find there. Faults are left to the walk: only what fits is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from qpbridge.qupath.java.patterns import HEAD_BYTES, Bytes, Fitting, Pattern, fitting, pattern_of
from qpbridge.qupath.java.walking import (
    DEPTH,
    HANDLES,
    LEFT,
    MAX_DEPTH,
    NODE,
    NODES,
    OBJECT,
    POSITION,
    REFERENCE,
    Integers,
)

if TYPE_CHECKING:
    from qpbridge.qupath.java.scanning import Scan

_HEAD: Final = bytes((OBJECT, REFERENCE))
_MAX_PATTERNS: Final = 32
_WINDOW_BYTES: Final = 1 << 23
_NODES_AT_ONCE: Final = 1 << 20
"""Of one pattern; more would only take more memory."""

_NODES_PER_BYTE: Final = 2
"""That may be compared with patterns; files of QuPath need a tenth, but others could fit halfway everywhere."""


class Chain(NamedTuple):
    """Objects that follow one another.

    Attributes
    ----------
    end : int
        The byte behind the last.
    nodes, handles : int
        How many all of them have.
    members : sequence of (Fitting, ndarray, ndarray, ndarray)
        Of each pattern the rows that are members, and the first node and the first handle of each.
    """

    end: int
    nodes: int
    handles: int
    members: Sequence[tuple[Fitting, Integers, Integers, Integers]]


@dataclass(slots=True)
class _Siblings:
    """Objects directly inside of one: heads that were seen among them, and where the last one begins."""

    owner: int
    heads: set[bytes] = field(default_factory=set)
    last: tuple[int, int] | None = None


class Repeats:
    """The builds of objects in a stream, as they become known.

    Parameters
    ----------
    data : bytes
        The whole stream.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._siblings: dict[int, _Siblings] = {}
        self._patterns: list[Pattern] = []
        self._window = _Window(np.frombuffer(data, dtype=np.uint8), 0, 0)
        self._budget = _NODES_PER_BYTE * len(data)

    def ahead(self, scan: Scan) -> Chain | None:
        """Return the objects, from where the walk stands, that are built like some that it has passed."""
        state, frame = scan.state, scan.frames[scan.state[DEPTH]]
        position, node, depth = int(state[POSITION]), int(state[NODES]), int(state[DEPTH])
        head = self._data[position : position + HEAD_BYTES]
        if frame[LEFT] >= 0 or not head.startswith(_HEAD):
            return None
        siblings = self._siblings.get(depth)
        if siblings is None or siblings.owner != frame[NODE]:
            siblings = self._siblings[depth] = _Siblings(owner=int(frame[NODE]))
        chain = self._chain(scan)
        last = siblings.last
        if last is not None and scan.ends[last[0]] == node and head in siblings.heads and self._learn(scan, *last):
            chain = self._chain(scan)
        siblings.heads.add(head)
        siblings.last = None if chain is not None else (node, position)
        return chain

    def take(self, scan: Scan, chain: Chain) -> None:
        """Add a chain to what the walk has found, and stand behind it; there must be room."""
        for fitted, _, nodes, handles in chain.members:
            with_handle = fitted.pattern.with_handle
            scan.handles[handles[:, None] + np.arange(len(with_handle))] = nodes[:, None] + with_handle
        for fitted, rows, nodes, _ in chain.members:
            pattern, begins = fitted.pattern, nodes[:, None]
            at = begins + np.arange(len(pattern.codes))
            scan.codes[at] = pattern.codes
            scan.places[at] = fitted.places[rows]
            scan.ends[at] = begins + pattern.ends
            scan.links[at] = pattern.links
            scan.links[begins + pattern.texts] = fitted.lengths[rows]
            scan.links[begins + pattern.references] = scan.handles[fitted.targets[rows]]
        scan.state[POSITION] = chain.end
        scan.state[NODES] += chain.nodes
        scan.state[HANDLES] += chain.handles

    def _learn(self, scan: Scan, node: int, position: int) -> bool:
        """Make a pattern of the object at whose end the walk stands; tell whether there is a new one."""
        if len(self._patterns) == _MAX_PATTERNS or self._budget <= 0:
            return False
        pattern = pattern_of(scan, self._window.data, node, position)
        if pattern is None:
            return False
        self._patterns.append(pattern)
        self._budget -= self._window.look(pattern)
        return True

    def _chain(self, scan: Scan) -> Chain | None:
        if not self._patterns or scan.state[DEPTH] + max(one.height for one in self._patterns) > MAX_DEPTH:
            return None
        position = int(scan.state[POSITION])
        if position >= self._window.end and self._budget > 0:
            self._window = _Window(self._window.data, position, position + _WINDOW_BYTES)
            self._budget -= sum(map(self._window.look, self._patterns))
        return _numbered(scan, self._window.run(position))


class _Run(NamedTuple):
    """Objects one directly behind the other: the pattern of each among ``fits``, and its row there."""

    fits: Sequence[Fitting]
    which: Integers
    rows: Integers


class _Window:
    """A piece of a stream, and the objects that begin in it and fit a pattern."""

    def __init__(self, data: Bytes, begin: int, end: int) -> None:
        self.data, self.end = data, min(end, len(data))
        self._begin = begin
        self._left: dict[bytes, Integers] = {}
        self._fits: list[Fitting] = []
        self._sorted: tuple[Integers, Integers, Integers, Integers] | None = None

    def look(self, pattern: Pattern) -> int:
        """Look for objects that fit a pattern; return how many nodes were compared."""
        left = self._left.get(pattern.head)
        if left is None:
            left = self._begin + _places(self.data[self._begin : self.end + HEAD_BYTES - 1], pattern.head)
        most = max(1, _NODES_AT_ONCE // len(pattern.codes))
        if len(left) > most:
            self.end = int(left[most])
            left = left[:most]
        fitted = fitting(pattern, self.data, left)
        self._left[pattern.head] = np.setdiff1d(left, fitted.starts, assume_unique=True)
        self._fits.append(fitted)
        self._sorted = None
        return len(left) * len(pattern.codes)

    def run(self, position: int) -> _Run:
        """Return the objects from a position on."""
        if self._sorted is None:
            self._sorted = _sorted(self._fits)
        starts, which, rows, lasts = self._sorted
        first = int(np.searchsorted(starts, position))
        is_one = first < len(starts) and starts[first] == position
        members = slice(first, int(lasts[np.searchsorted(lasts, first)]) + 1 if is_one else first)
        return _Run(self._fits, which[members], rows[members])


def _sorted(fits: Sequence[Fitting]) -> tuple[Integers, Integers, Integers, Integers]:
    """Return where objects start, ascending, the pattern and row of each, and which are not followed by another."""
    counts = [len(fitted.starts) for fitted in fits]
    starts = np.concatenate([fitted.starts for fitted in fits])
    ends = np.concatenate([fitted.ends for fitted in fits])
    which = np.repeat(np.arange(len(fits)), counts)
    rows = np.concatenate([np.arange(count) for count in counts])
    order = np.argsort(starts)
    starts = starts[order]
    lasts = np.flatnonzero(ends[order] != np.append(starts[1:], -1))
    return starts, which[order], rows[order], lasts


def _places(data: Bytes, content: bytes) -> Integers:
    """Return where some bytes stand."""
    count = len(data) - len(content) + 1
    found = np.flatnonzero(data[:count] == content[0]) if count > 0 else np.empty(0, dtype=np.int64)
    for offset, byte in enumerate(content[1:], 1):
        found = found[data[found + offset] == byte]
    return found


def _numbered(scan: Scan, run: _Run) -> Chain | None:
    """Give objects their nodes and handles; before the first that refers to what is not there, the chain ends."""
    fits, which, rows = run
    nodes = _begins(scan.state[NODES], np.array([len(fitted.pattern.codes) for fitted in fits])[which])
    handles = _begins(scan.state[HANDLES], np.array([len(fitted.pattern.with_handle) for fitted in fits])[which])
    members = [(fits[number], np.flatnonzero(which == number)) for number in np.unique(which).tolist()]
    whole = min((_whole(fitted, rows[mine], mine, handles) for fitted, mine in members), default=0)
    if whole == 0:
        return None
    last = fits[which[whole - 1]]
    kept = [(fitted, mine[mine < whole]) for fitted, mine in members]
    return Chain(
        end=int(last.ends[rows[whole - 1]]),
        nodes=int(nodes[whole] - nodes[0]),
        handles=int(handles[whole] - handles[0]),
        members=[(fitted, rows[mine], nodes[mine], handles[mine]) for fitted, mine in kept],
    )


def _begins(first: int, counts: Integers) -> Integers:
    """Return where each of several begins, and where the last ends."""
    return first + np.concatenate(([0], np.cumsum(counts)))


def _whole(fitted: Fitting, rows: Integers, members: Integers, handles: Integers) -> int:
    """Return how many objects of a run stand before the first with a reference to a handle that is not there yet."""
    pattern, targets = fitted.pattern, fitted.targets[rows]
    given = handles[members][:, None] + np.searchsorted(pattern.with_handle, pattern.references)
    is_wrong = ((targets < 0) | (targets >= given)).any(axis=1)
    return int(members[is_wrong.argmax()]) if is_wrong.any() else len(handles) - 1
