"""The walk through a Java object stream: step by step, in leaps over what repeats, or compiled where little does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from qpbridge.qupath.java.repeats import Repeats
from qpbridge.qupath.java.walking import (
    CLASS_COLUMNS,
    CLASSES,
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
    can_step,
    step,
)

PLAIN_STEPS_MAX: Final = 250_000
"""Loading the compiler takes as long."""

_STEPS_PER_LEAP: Final = 50
_NODES_PER_STEP: Final = 2


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
    nodes = len(data) // 8 + 64  # memory that nobody wrote to takes no room
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
    _walk_in_leaps(scan)
    while scan.state[FAULT] == NO_FAULT:
        _make_room(scan, 0)
        _walked(_compiled(), scan._replace(data=np.frombuffer(scan.data, dtype=np.uint8)))
    count, handles = int(scan.state[NODES]), np.empty(0, np.int32)
    return scan._replace(
        codes=scan.codes[:count],
        places=scan.places[:count],
        ends=scan.ends[:count],
        links=scan.links[:count],
        handles=handles,
    )


def _walk_in_leaps(scan: Scan) -> None:
    """Walk until the stream ends, or so many steps were needed that compiled ones take less time."""
    repeats, steps = Repeats(scan.data), 0
    while scan.state[FAULT] == NO_FAULT and steps < PLAIN_STEPS_MAX:
        chain = repeats.ahead(scan)
        if chain is not None:
            _make_room(scan, chain.nodes)
            repeats.take(scan, chain)
            steps += _STEPS_PER_LEAP
        elif can_step(scan):
            _walked(step, scan)
            steps += 1
        else:
            _make_room(scan, 0)


def _walked(walk: Callable[[Scan], None], scan: Scan) -> None:
    try:
        walk(scan)
    except IndexError:
        scan.state[FAULT] = ENDS_EARLY


def _make_room(scan: Scan, more: int) -> None:
    """Grow what is full."""
    needed = int(scan.state[NODES]) + more + _NODES_PER_STEP
    if needed > len(scan.codes):
        for column in (scan.codes, scan.places, scan.ends, scan.links, scan.handles):
            column.resize(max(needed, len(scan.codes) * 3 // 2), refcheck=False)
    if scan.state[CLASSES] >= len(scan.classes):
        scan.classes.resize((2 * len(scan.classes), scan.classes.shape[1]), refcheck=False)


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
