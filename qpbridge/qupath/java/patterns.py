"""Builds of objects in a Java object stream: what is the same in many of them, and which bytes fit one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from qpbridge.qupath.java import walking
from qpbridge.qupath.java.walking import ARRAY, BLOCK, ENUM, OBJECT, PRIMITIVES, REFERENCE, STRING, Integers

if TYPE_CHECKING:
    from qpbridge.qupath.java.scanning import Scan

HEAD_BYTES: Final = 6
"""The code of an object, and a reference to its class."""

_MAX_NODES: Final = 512
_WITH_CONTENT: Final = (OBJECT, ARRAY, ENUM)
_WITH_HANDLE: Final = (*_WITH_CONTENT, STRING)
_ALLOWED: Final = (*_WITH_HANDLE, PRIMITIVES, REFERENCE, BLOCK, walking.NULL, walking.END)
_LENGTH_BYTES: Final = {STRING: 2, BLOCK: 1, ARRAY: 4}
_HANDLE: Final = np.dtype(">u4")

Bytes = npt.NDArray[np.uint8]
Truths = npt.NDArray[np.bool_]


class Segment(NamedTuple):
    """Bytes of a pattern, up to its end or to a length that may differ from object to object, and the nodes in them.

    Attributes
    ----------
    content : ndarray of uint8
        The bytes of the object from which the pattern comes.
    is_fixed : ndarray of bool
        Which of them are the same in all objects.
    nodes : slice
        Nodes whose content begins in it, or directly behind it.
    offsets : ndarray of int
        Where that is.
    handles : list of int
        Where the handles begin that references name.
    length_bytes, unit_bytes : int
        Size of the length at its end, 0 where none is, and what it counts.
    """

    content: Bytes
    is_fixed: Truths
    nodes: slice
    offsets: Integers
    handles: list[int]
    length_bytes: int
    unit_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pattern:
    """The build of an object; its nodes are counted from its first.

    Parameters
    ----------
    head : bytes
        The first ``HEAD_BYTES``.
    codes, ends, links : ndarray
        As in a ``Scan``; links of references, text and blocks differ from object to object.
    with_handle, references, texts : ndarray of int
        Nodes that get handles, in this order; references; text and blocks.
    has_text : ndarray of bool
        Which of the lengths that may differ are those of text and blocks; the others are of arrays.
    height : int
        Objects inside objects, itself included.
    segments : sequence of Segment
        Its bytes.
    """

    head: bytes
    codes: Bytes
    ends: Integers
    links: Integers
    with_handle: Integers
    references: Integers
    texts: Integers
    has_text: Truths
    height: int
    segments: Sequence[Segment]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitting:
    """Objects that fit a pattern, one a row.

    Parameters
    ----------
    pattern : Pattern
        Their build.
    starts, ends : ndarray of int
        Bytes at which they begin and end.
    places : ndarray of int
        Where the content of each node begins.
    lengths : ndarray of int
        Of each text or block.
    targets : ndarray of int
        Number of the handle that each reference names; that it exists is not checked.
    """

    pattern: Pattern
    starts: Integers
    ends: Integers
    places: Integers
    lengths: Integers
    targets: Integers


def pattern_of(scan: Scan, data: Bytes, node: int, position: int) -> Pattern | None:
    """Return the build of the last object of a walk.

    Parameters
    ----------
    scan : Scan
        The walk, which stands at the end of the object.
    data : ndarray of uint8
        The stream.
    node, position : int
        Where the object begins.

    Returns
    -------
    Pattern or None
        None for a large object, and for one that describes classes.
    """
    span = slice(node, int(scan.state[walking.NODES]))
    codes = scan.codes[span].copy()
    if len(codes) > _MAX_NODES or not np.isin(codes, _ALLOWED).all():
        return None
    ends = scan.ends[span].astype(np.int64) - node
    free = [_free(scan, data, one) for one in range(span.start, span.stop)]
    content = data[position : int(scan.state[walking.POSITION])]
    return Pattern(
        head=data[position : position + HEAD_BYTES].tobytes(),
        codes=codes,
        ends=ends,
        links=scan.links[span].astype(np.int64),
        with_handle=np.flatnonzero(np.isin(codes, _WITH_HANDLE)),
        references=np.flatnonzero(codes == REFERENCE),
        texts=np.flatnonzero(np.isin(codes, (STRING, BLOCK))),
        has_text=np.array([code != ARRAY for code, one in zip(codes, free, strict=True) if one.unit], dtype=np.bool_),
        height=max(int((ends[: at + 1] > at).sum()) for at in np.flatnonzero(np.isin(codes, _WITH_CONTENT))),
        segments=tuple(_segments(codes, scan.places[span] - position, free, content)),
    )


def fitting(pattern: Pattern, data: Bytes, starts: Integers) -> Fitting:
    """Return those objects that fit a pattern to the last byte.

    Parameters
    ----------
    pattern : Pattern
        Their build.
    data : ndarray of uint8
        The stream.
    starts : ndarray of int
        Where they may begin.
    """
    at, fits = starts, np.ones(len(starts), dtype=np.bool_)
    places = np.empty((len(starts), len(pattern.codes)), dtype=np.int64)
    lengths: list[Integers] = []
    targets: list[Integers] = []
    for segment in pattern.segments:
        size = len(segment.content)
        fits &= at + size <= len(data)
        at = np.where(fits, at, 0)
        rows = np.lib.stride_tricks.sliding_window_view(data, size)[at]
        fits &= ~((rows != segment.content) & segment.is_fixed).any(axis=1)
        places[:, segment.nodes] = at[:, None] + segment.offsets
        targets += [_handles(rows[:, begin : begin + _HANDLE.itemsize]) for begin in segment.handles]
        at = at + size
        if segment.length_bytes:
            lengths.append(_numbers(rows[:, size - segment.length_bytes :]))
            at = at + lengths[-1] * segment.unit_bytes
    kept = np.flatnonzero(fits & (at <= len(data)))
    return Fitting(
        pattern=pattern,
        starts=starts[kept],
        ends=at[kept],
        places=places[kept],
        lengths=_columns(lengths, len(starts))[kept][:, pattern.has_text],
        targets=_columns(targets, len(starts))[kept],
    )


def _columns(columns: list[Integers], rows: int) -> Integers:
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0), dtype=np.int64)


def _handles(digits: Bytes) -> Integers:
    return _numbers(digits) - walking.FIRST_HANDLE


def _numbers(digits: Bytes) -> Integers:
    """Return unsigned numbers, one a row, the highest byte first."""
    return digits.astype(np.int64) @ (1 << 8 * np.arange(digits.shape[1], dtype=np.int64)[::-1])


class _Free(NamedTuple):
    """How many bytes before and behind the place of a node may differ, and what a length at the place counts."""

    before: int = 0
    behind: int = 0
    unit: int = 0


def _free(scan: Scan, data: Bytes, node: int) -> _Free:
    code, place, link = (int(column[node]) for column in (scan.codes, scan.places, scan.links))
    if code == REFERENCE:
        return _Free(before=_HANDLE.itemsize)
    if code == PRIMITIVES:
        return _Free(behind=link)
    if code in (STRING, BLOCK):
        return _Free(_LENGTH_BYTES[code], link, 1)
    unit = int(scan.classes[scan.links[link], walking.ELEMENT]) if code == ARRAY else 0
    if not unit:
        return _Free()
    length_bytes = _LENGTH_BYTES[ARRAY]
    return _Free(length_bytes, unit * int(_numbers(data[None, place - length_bytes : place])[0]), unit)


def _segments(codes: Bytes, places: Integers, free: Sequence[_Free], content: Bytes) -> Iterator[Segment]:
    """Cut the bytes of an object behind each length that may differ; places are those in the object."""
    is_fixed = np.ones(len(content), dtype=np.bool_)
    for place, one in zip(places.tolist(), free, strict=True):
        is_fixed[place - one.before : place + one.behind] = False
    first = begin = 0
    for index, one in [*((index, one) for index, one in enumerate(free) if one.unit), (len(free), _Free())]:
        nodes = slice(first, index + 1)
        end = int(places[index]) if one.unit else len(content)
        yield Segment(
            content=content[begin:end],
            is_fixed=is_fixed[begin:end],
            nodes=nodes,
            offsets=places[nodes] - begin,
            handles=(places[nodes][codes[nodes] == REFERENCE] - begin - _HANDLE.itemsize).tolist(),
            length_bytes=one.before if one.unit else 0,
            unit_bytes=one.unit,
        )
        first, begin = index + 1, end + one.behind
