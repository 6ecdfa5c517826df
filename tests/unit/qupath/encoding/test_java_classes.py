import re
import struct

import pytest

from qpbridge.qupath.encoding import java_classes
from qpbridge.qupath.java.writer import ClassDescriptor, utf

VERSIONS = ("qp-0.5.1", "qp-0.6.0", "qp-0.7.0")
SINCE_06 = {"java.util.CollSer"}
"""The names of measurements; 0.5.1 keeps them in another kind of list, and reads this one."""


def descriptors():
    """Return every class that is ever described, bases included."""
    found = {}
    pending = [*vars(java_classes).values()]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(member for member in value.values() if isinstance(member, ClassDescriptor))
        if isinstance(value, ClassDescriptor):
            found[value.name] = value
            pending.append(value.parent)
    return found


def pattern(described):
    """Return a pattern of the bytes of a description, in which texts seen before may stand as references."""
    head = b"r" + utf(described.name) + struct.pack(">qBH", described.uid, described.flags, len(described.fields))
    found = re.escape(head)
    for name, kind in described.fields:
        found += re.escape(kind[:1].encode() + utf(name))
        if len(kind) > 1:
            found += b"(?:" + re.escape(b"t" + utf(kind)) + b"|q....)"
    base = b"p" if described.parent is None else b"(?:q....|" + pattern(described.parent) + b")"
    return found + b"x" + base


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(descriptors()))
def test_classes_are_described_byte_for_byte_as_qupath_does(data_dir, version, name):
    data = data_dir / "made" / version / "project" / "data"
    theirs = b"".join(path.read_bytes() for path in sorted(data.glob("*/data.qpdata")))

    found = re.search(pattern(descriptors()[name]), theirs, flags=re.DOTALL)

    assert (found is not None) == (version != "qp-0.5.1" or name not in SINCE_06)
