"""The walk through a Java object stream: plain Python for small files, compiled for large ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from qpbridge.qupath.java.walking import (
    CLASS_COLUMNS,
    ENDS_EARLY,
    FAULT,
    FRAME_COLUMNS,
    HEADER_BYTES,
    MAX_DEPTH,
    NO_FAULT,
    NODES,
    PIECES,
    POSITION,
    TOP_FRAME,
    Integers,
    advance,
)

COMPILED_FROM_BYTES: Final = 2 << 20
"""Below, loading the compiler takes longer than the walk."""


class Scan(NamedTuple):
    """A walk under way: what is found, and where it stands. Nodes are in the order of the stream, parents first."""

    data: Any
    codes: npt.NDArray[np.uint8]
    places: Integers
    """Where the content of a node begins, after its code, class and length."""
    ends: npt.NDArray[np.int32]
    """The node after the last one inside; a node without content inside ends at the next."""
    links: npt.NDArray[np.int32]
    """Of a reference its target, of text and blocks the length, of objects the description of their class."""
    handles: npt.NDArray[np.int32]
    classes: Integers
    frames: Integers
    state: Integers


def begin(data: bytes) -> Scan:
    """Return a walk that stands behind the header of a stream."""
    nodes = len(data) // 16 + 64
    state = np.zeros(8, dtype=np.int64)
    state[POSITION] = HEADER_BYTES
    frames = np.zeros((MAX_DEPTH + 2, FRAME_COLUMNS), dtype=np.int64)
    frames[0] = TOP_FRAME
    return Scan(
        data=data,
        codes=np.zeros(nodes, dtype=np.uint8),
        places=np.zeros(nodes, dtype=np.int64),
        ends=np.zeros(nodes, dtype=np.int32),
        links=np.zeros(nodes, dtype=np.int32),
        handles=np.zeros(nodes, dtype=np.int32),
        classes=np.zeros((64, CLASS_COLUMNS), dtype=np.int64),
        frames=frames,
        state=state,
    )


def finish(scan: Scan) -> Scan:
    """Walk to the end of the stream, or to what is wrong in it."""
    is_large = len(scan.data) >= COMPILED_FROM_BYTES
    walk = _compiled() if is_large else advance
    data = np.frombuffer(scan.data, dtype=np.uint8) if is_large else scan.data
    while scan.state[FAULT] == NO_FAULT:
        try:
            walk(scan._replace(data=data))
        except IndexError:
            scan.state[FAULT] = ENDS_EARLY
        if scan.state[FAULT] == NO_FAULT:
            scan = _grown(scan)
    count, handles = int(scan.state[NODES]), np.empty(0, np.int32)
    return scan._replace(
        codes=scan.codes[:count],
        places=scan.places[:count],
        ends=scan.ends[:count],
        links=scan.links[:count],
        handles=handles,
    )


def _grown(scan: Scan) -> Scan:
    nodes = max(len(scan.codes) * 3 // 2, int(scan.state[NODES]) + 64)
    for column in (scan.codes, scan.places, scan.ends, scan.links, scan.handles):
        column.resize(nodes, refcheck=False)
    scan.classes.resize((2 * len(scan.classes), scan.classes.shape[1]), refcheck=False)
    return scan


@cache
def _compiled() -> Callable[[Scan], None]:
    from numba import njit
    from numba.extending import register_jitable

    # Without counting references to arrays, which would take ten times as long as the walk; nothing here makes any
    options = {"boundscheck": True, "nogil": True, "_nrt": False}
    for function in PIECES:
        register_jitable(**options)(function)
    compiled: Callable[[Scan], None] = njit(cache=True, **options)(advance)
    return compiled
