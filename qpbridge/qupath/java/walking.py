"""Steps through a Java object stream, one type code after the other; no recursion, and no Python object per node.

These functions run as they are, or compiled. Everything that they know stands in this module, since compiled code is
kept until this file changes.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from qpbridge.qupath.java.scanning import Scan

MAX_DEPTH: Final = 200
"""Objects inside objects; hierarchies of QuPath nest a few levels, its other objects fewer."""

MAX_BASES: Final = 32
"""Classes in one lineage."""

# Codes of nodes: type codes of the stream, and one for the primitive fields of an object
PRIMITIVES: Final = 0
NULL: Final = 0x70
REFERENCE: Final = 0x71
DESCRIPTION: Final = 0x72
OBJECT: Final = 0x73
STRING: Final = 0x74
ARRAY: Final = 0x75
CLASS: Final = 0x76
BLOCK: Final = 0x77
END: Final = 0x78
_RESET: Final = 0x79
LONG_BLOCK: Final = 0x7A
LONG_STRING: Final = 0x7C
PROXY: Final = 0x7D
ENUM: Final = 0x7E

# Columns of ``state``
POSITION, NODES, HANDLES, CLASSES, FAULT, DETAIL, DEPTH, _GIVEN = range(8)
# Columns of ``frames``: what is being read, and how many contents are left of it; -1 until an end is found
_KIND, NODE, _CLASS, _STEP, LEFT = range(5)
_TOP, _AWAITING, _DESCRIBING, _FIELDS, _ITEMS = range(5)
# Columns of ``classes``; a part is a class of the lineage that brings content
CLASS_NODE, CLASS_FLAGS, CLASS_PARENT, _SIZE, _OBJECTS, _OWN_PART = range(6)
_NEXT_PART, _PARTS, ELEMENT, _UNREAD, BASES = range(6, 11)

HAS_WRITE_METHOD: Final = 0x01
IS_SERIALIZABLE: Final = 0x02
IS_EXTERNALIZABLE: Final = 0x04
_HAS_BLOCKS: Final = 0x08

# Faults; what they mean is said where they are raised
NO_FAULT, COMPLETE, ENDS_EARLY, UNKNOWN_CODE, BAD_HANDLE, NO_CLASS = range(6)
OLD_FORM, BAD_FIELD, TOO_DEEP, BAD_ARRAY, TOO_MANY_BASES = range(6, 11)

FIRST_HANDLE: Final = 0x7E0000
HEADER_BYTES: Final = 4
TOP_FRAME: Final = (_TOP, -1, -1, 0, -1)
FRAME_COLUMNS: Final = 5
CLASS_COLUMNS: Final = 11

_PRIMITIVE_BYTES: Final = np.zeros(256, dtype=np.int64)
for _codes, _size in (("BZ", 1), ("CS", 2), ("FI", 4), ("DJ", 8)):
    for _code in _codes:
        _PRIMITIVE_BYTES[ord(_code)] = _size

Integers = npt.NDArray[np.int64]


def advance(scan: Scan) -> None:
    """Walk on until the stream ends, room for nodes or classes is used up, or something is wrong.

    Raises
    ------
    IndexError
        If the stream ends early.
    """
    while can_step(scan):
        step(scan)


def can_step(scan: Scan) -> bool:
    """Tell whether nothing is wrong yet, nor the end reached, and there is room for what a step finds."""
    state = scan.state
    has_room = state[NODES] + 2 <= scan.codes.size and state[CLASSES] < len(scan.classes)
    return bool(has_room and state[FAULT] == NO_FAULT)


def step(scan: Scan) -> None:
    """Read one content, or what an object needs before its next.

    Raises
    ------
    IndexError
        If the stream ends early.
    """
    frame = scan.frames[scan.state[DEPTH]]
    if frame[LEFT] < 0:
        _open_content(scan, frame)
    elif frame[LEFT] > 0:
        frame[LEFT] -= 1
        _content(scan)
    elif frame[_KIND] == _FIELDS:
        _next_part(scan, frame)
    elif frame[_KIND] == _AWAITING:
        _await_class(scan, frame)
    elif frame[_KIND] == _DESCRIBING:
        _describe_further(scan, frame)
    else:
        _close(scan, frame)


def _open_content(scan: Scan, frame: Integers) -> None:
    """Read one of the contents that go on until an end."""
    state = scan.state
    if frame[_KIND] == _TOP:
        if state[POSITION] >= len(scan.data):
            state[FAULT] = COMPLETE
        elif scan.data[state[POSITION]] == _RESET:
            state[HANDLES] = 0
            state[POSITION] += 1
        else:
            _content(scan)
    elif scan.data[state[POSITION]] == END:
        frame[LEFT] = 0
        if frame[_KIND] == _FIELDS:
            _add(scan, END, 1)
        else:
            state[POSITION] += 1
    else:
        _content(scan)


def _content(scan: Scan) -> None:
    code = scan.data[scan.state[POSITION]]
    if code in (OBJECT, ARRAY, CLASS, ENUM):
        _push(scan, _AWAITING, _add(scan, code, 1), -1)
    elif code == NULL:
        _add(scan, code, 1)
    elif code in (DESCRIPTION, PROXY):
        _describe(scan, code)
    else:
        _leaf(scan, code)


def _leaf(scan: Scan, code: int) -> None:
    state = scan.state
    if code == REFERENCE:
        index = _number(scan.data, state[POSITION] + 1, 4) - FIRST_HANDLE
        if 0 <= index < state[HANDLES]:
            target = scan.handles[index]
            scan.links[_add(scan, code, 5)] = target
        else:
            _fail(scan, BAD_HANDLE, index + FIRST_HANDLE)
    elif code == STRING:
        _keep(scan, _bytes(scan, code, 2))
    elif code == BLOCK:
        _bytes(scan, code, 1)
    elif code == LONG_BLOCK:
        _bytes(scan, code, 4)
    elif code == LONG_STRING:
        _keep(scan, _bytes(scan, code, 8))
    else:
        _fail(scan, UNKNOWN_CODE, code)


def _bytes(scan: Scan, code: int, length_bytes: int) -> int:
    """Step over text or a block, whose length comes first."""
    state = scan.state
    length = _number(scan.data, state[POSITION] + 1, length_bytes)
    node = _add(scan, code, 1 + length_bytes)
    if 0 <= length <= len(scan.data) - state[POSITION] and length < 1 << 31:
        scan.links[node] = length
        state[POSITION] += length
    else:
        _fail(scan, ENDS_EARLY, 0)
    return node


def _await_class(scan: Scan, frame: Integers) -> None:
    """Read the class of an object, array or enum, and begin what follows it."""
    state = scan.state
    if state[_GIVEN] == 0:
        _read_class(scan)
    if state[_GIVEN] == 0:
        return
    number, node = state[_GIVEN] - 1, frame[NODE]
    state[_GIVEN] = 0
    _keep(scan, node)
    scan.links[node] = scan.classes[number, CLASS_NODE]
    scan.places[node] = state[POSITION]
    frame[_CLASS], frame[_KIND], frame[LEFT] = number, _ITEMS, 0
    if scan.codes[node] == ARRAY:
        _begin_array(scan, frame)
    elif scan.codes[node] == ENUM:
        frame[LEFT] = 1
    elif scan.codes[node] == OBJECT:
        if scan.classes[number, CLASS_FLAGS] & IS_EXTERNALIZABLE:
            frame[LEFT] = -1
        else:
            frame[_KIND] = _FIELDS


def _read_class(scan: Scan) -> None:
    """Read a description, or a reference to one, which is then given to the frame that asked."""
    state = scan.state
    code = scan.data[state[POSITION]]
    if code in (DESCRIPTION, PROXY):
        _describe(scan, code)
        return
    index = _number(scan.data, state[POSITION] + 1, 4) - FIRST_HANDLE if code == REFERENCE else -1
    if 0 <= index < state[HANDLES]:
        target = scan.handles[index]
        if scan.codes[target] == DESCRIPTION or scan.codes[target] == PROXY:
            number = scan.links[target]
            if scan.classes[number, BASES] > 0:
                state[_GIVEN] = number + 1
                state[POSITION] += 5
                return
    _fail(scan, NO_CLASS, 0)


def _begin_array(scan: Scan, frame: Integers) -> None:
    state = scan.state
    length = _number(scan.data, state[POSITION], 4)
    element = scan.classes[frame[_CLASS], ELEMENT]
    state[POSITION] += 4
    if length * max(1, element) > len(scan.data) - state[POSITION]:
        _fail(scan, BAD_ARRAY, length)
        return
    scan.places[frame[NODE]] = state[POSITION]
    state[POSITION] += length * element
    frame[LEFT] = length if element == 0 else 0


def _next_part(scan: Scan, frame: Integers) -> None:
    """Begin the fields of the next class of a lineage, the most basic first, or what it wrote beyond them."""
    part, is_beyond = frame[_STEP] // 2, frame[_STEP] % 2
    classes, number = scan.classes, frame[_CLASS]
    if part >= classes[number, _PARTS]:
        _close(scan, frame)
        return
    frame[_STEP] += 1
    owner = classes[number, _OWN_PART]
    for _ in range(classes[number, _PARTS] - 1 - part):
        owner = classes[owner, _NEXT_PART]
    if is_beyond:
        frame[LEFT] = -1 if classes[owner, CLASS_FLAGS] & HAS_WRITE_METHOD else 0
        return
    if classes[owner, _SIZE]:
        scan.links[_add(scan, PRIMITIVES, 0)] = classes[owner, _SIZE]
        _skip(scan, classes[owner, _SIZE])
    frame[LEFT] = classes[owner, _OBJECTS]


def _describe(scan: Scan, code: int) -> None:
    """Begin the description of a class."""
    state, data = scan.state, scan.data
    node, number = _add(scan, code, 1), state[CLASSES]
    row = scan.classes[number]
    row[:] = 0
    row[CLASS_NODE], row[CLASS_FLAGS] = node, IS_SERIALIZABLE
    scan.links[node] = number
    state[CLASSES] += 1
    _keep(scan, node)
    _push(scan, _DESCRIBING, node, number)
    if code == PROXY:
        names = _number(data, state[POSITION], 4)
        state[POSITION] += 4
        while names > 0:
            _skip(scan, 2 + _number(data, state[POSITION], 2))
            names -= 1
        return
    length = _number(data, state[POSITION], 2)
    if length == 2 and data[state[POSITION] + 2] == ord("["):
        row[ELEMENT] = _PRIMITIVE_BYTES[data[state[POSITION] + 3]]
    _skip(scan, 2 + length + 8)
    row[CLASS_FLAGS] = data[state[POSITION]]
    row[_UNREAD] = _number(data, state[POSITION] + 1, 2)
    state[POSITION] += 3
    if row[CLASS_FLAGS] & (IS_EXTERNALIZABLE | _HAS_BLOCKS) == IS_EXTERNALIZABLE:
        _fail(scan, OLD_FORM, 0)


def _describe_further(scan: Scan, frame: Integers) -> None:
    """Go on with a description: its fields, what its loader added, its base class."""
    state, row = scan.state, scan.classes[frame[_CLASS]]
    if row[_UNREAD] > 0:
        row[_UNREAD] -= 1
        _field(scan, row)
    elif frame[_STEP] == 0:
        frame[_STEP], frame[LEFT] = 1, -1
    elif state[_GIVEN] > 0:
        _describe_last(scan, frame, state[_GIVEN] - 1)
    elif scan.data[state[POSITION]] == NULL:
        state[POSITION] += 1
        _describe_last(scan, frame, -1)
    else:
        frame[_STEP] = 2
        _read_class(scan)


def _field(scan: Scan, row: Integers) -> None:
    code = scan.data[scan.state[POSITION]]
    size = _PRIMITIVE_BYTES[code]
    if (size == 0 and code != ord("L") and code != ord("[")) or (size > 0 and row[_OBJECTS] > 0):
        _fail(scan, BAD_FIELD, code)
        return
    _skip(scan, 3 + _number(scan.data, scan.state[POSITION] + 1, 2))
    row[_SIZE] += size
    if size == 0:
        row[_OBJECTS] += 1
        _leaf(scan, scan.data[scan.state[POSITION]])  # name of the field's type


def _describe_last(scan: Scan, frame: Integers, parent: int) -> None:
    """Close a description, whose parts now are known, and give the class to the frame that asked for it."""
    state, classes, number = scan.state, scan.classes, frame[_CLASS]
    row = classes[number]
    row[CLASS_PARENT], row[_OWN_PART], row[BASES], state[_GIVEN] = parent, -1, 1, 0
    if parent >= 0:
        row[_OWN_PART], row[_PARTS], row[BASES] = (
            classes[parent, _OWN_PART],
            classes[parent, _PARTS],
            classes[parent, BASES] + 1,
        )
    has_items = row[CLASS_FLAGS] & (HAS_WRITE_METHOD | IS_SERIALIZABLE) == HAS_WRITE_METHOD | IS_SERIALIZABLE
    if not has_items:
        row[CLASS_FLAGS] &= ~HAS_WRITE_METHOD
    if row[_SIZE] + row[_OBJECTS] > 0 or has_items:
        row[_NEXT_PART], row[_OWN_PART] = row[_OWN_PART], number
        row[_PARTS] += 1
    if row[BASES] > MAX_BASES:
        _fail(scan, TOO_MANY_BASES, 0)
    _close(scan, frame)
    asking = scan.frames[state[DEPTH]]
    if asking[_KIND] == _AWAITING or (asking[_KIND] == _DESCRIBING and asking[_STEP] == 2):
        state[_GIVEN] = number + 1


def _add(scan: Scan, code: int, size: int) -> int:
    """Add a node whose content begins ``size`` bytes further on."""
    state = scan.state
    node = int(state[NODES])
    state[NODES] += 1
    state[POSITION] += size
    scan.codes[node] = code
    scan.places[node] = state[POSITION]
    scan.ends[node] = node + 1
    scan.links[node] = -1
    return node


def _keep(scan: Scan, node: int) -> None:
    """Give a node the next handle."""
    scan.handles[scan.state[HANDLES]] = node
    scan.state[HANDLES] += 1


def _push(scan: Scan, kind: int, node: int, number: int) -> None:
    state = scan.state
    state[DEPTH] += 1
    scan.ends[node] = 0  # until it is closed
    frame = scan.frames[state[DEPTH]]
    frame[_KIND], frame[NODE], frame[_CLASS], frame[_STEP], frame[LEFT] = kind, node, number, 0, 0
    if state[DEPTH] > MAX_DEPTH:
        _fail(scan, TOO_DEEP, 0)


def _close(scan: Scan, frame: Integers) -> None:
    scan.ends[frame[NODE]] = scan.state[NODES]
    scan.state[DEPTH] -= 1


def _skip(scan: Scan, length: int) -> None:
    if length > len(scan.data) - scan.state[POSITION]:
        _fail(scan, ENDS_EARLY, 0)
    scan.state[POSITION] += length


def _fail(scan: Scan, fault: int, detail: int) -> None:
    """Note what is wrong; the first fault is the one that counts."""
    if scan.state[FAULT] == NO_FAULT:
        scan.state[FAULT], scan.state[DETAIL] = fault, detail


def _number(data: npt.NDArray[np.uint8] | bytes, position: int, length: int) -> int:
    """Return an unsigned number; eight bytes that exceed 63 bits may come out negative."""
    number: int = 0
    for index in range(position, position + length):
        number = number << 8 | int(data[index])
    return number


PIECES: Final = tuple(one for one in globals().copy().values() if isinstance(one, FunctionType) and one is not advance)
"""What ``advance`` calls."""
