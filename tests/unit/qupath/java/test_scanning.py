from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qpbridge.qupath.java import scanning, walking
from qpbridge.qupath.java.scanning import begin, finish

HEADER = b"\xac\xed\x00\x05"


def found(data: bytes) -> list[list[int]]:
    scan = finish(begin(data))
    return [column.tolist() for column in (scan.codes, scan.places, scan.ends, scan.links, scan.state)]


@pytest.mark.parametrize("kept", [1.0, 0.99, 0.5, 0.1])
def test_the_compiled_walk_finds_what_the_plain_one_finds(data_dir: Path, kept, monkeypatch):
    """Also in files cut short, where it must stop at their end."""
    paths = sorted(data_dir.rglob("data.qpdata"))
    streams = [path.read_bytes() for path in (data_dir / "java" / "kinds.ser", *paths)]
    cut = [data[: int(kept * len(data))] for data in streams]

    plain = [found(data) for data in cut]
    monkeypatch.setattr(scanning, "PLAIN_STEPS_MAX", 0)

    assert [found(data) for data in cut] == plain


def test_there_is_room_for_more_nodes_and_classes_than_expected():
    described = b"".join(b"r\x00\x01A" + bytes(8) + b"\x02\x00\x00xp" for _ in range(500))

    scan = finish(begin(HEADER + b"p" * 5000 + described))

    assert scan.state[walking.FAULT] == walking.COMPLETE
    assert len(scan.codes) == 5500
    assert scan.state[walking.CLASSES] == 500
    assert np.array_equal(scan.ends, np.arange(1, 5501))


def test_the_compiled_walk_goes_on_where_the_plain_one_stops(data_dir: Path, monkeypatch):
    data = (data_dir / "java" / "kinds.ser").read_bytes()

    plain = found(data)
    monkeypatch.setattr(scanning, "PLAIN_STEPS_MAX", 100)

    assert found(data) == plain
