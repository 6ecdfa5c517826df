"""A ``data.qpdata`` comes from anywhere: whatever it holds, reading ends in objects or in our own error.

``QPBRIDGE_FUZZ_EXAMPLES=100000 uv run pytest tests/integration/test_untrusted_qpdata.py`` looks longer.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.errors import DamagedDataError
from qpbridge.qupath.encoding.image_data import ImageDetails, write_qpdata
from qpbridge.qupath.java import scanning, walking
from qpbridge.qupath.java.repeats import Repeats
from qpbridge.qupath.java.stream import read_contents
from qpbridge.qupath.qpdata import read_qpdata

EXAMPLES = int(os.environ.get("QPBRIDGE_FUZZ_EXAMPLES", "60"))
FUZZ = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 1000, suppress_health_check=list(HealthCheck)
)
BYTES_PER_BYTE = 400
"""Memory that reading may take, for each byte of a file; QuPath's own lists take a third of it."""

NUMBERS = st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
HANDLES = st.integers(walking.FIRST_HANDLE, walking.FIRST_HANDLE + 1300)
PLACE = st.floats(0, 1, exclude_max=True)
CHANGE = st.one_of(
    st.tuples(st.just("flip"), PLACE, st.integers(0, 255)),
    st.tuples(st.just("code"), PLACE, st.integers(0x70, 0x7E)),
    st.tuples(st.just("number"), PLACE, NUMBERS),
    st.tuples(st.just("handle"), PLACE, HANDLES),
    st.tuples(st.just("insert"), PLACE, st.binary(min_size=1, max_size=12)),
    st.tuples(st.just("repeat"), PLACE, st.integers(1, 3000)),
    st.tuples(st.just("delete"), PLACE, st.integers(1, 200)),
)


def set_code(out: bytearray, at: int, code: int) -> None:
    """Replace the next type code, or what looks like one."""
    at = next((index for index in range(at, len(out)) if 0x70 <= out[index] <= 0x7E), at)
    out[at : at + 1] = bytes([code])


def set_handle(out: bytearray, at: int, handle: int) -> None:
    at = out.find(b"q\x00\x7e", at)
    if at >= 0:
        out[at + 1 : at + 5] = struct.pack(">I", handle)


DAMAGES: dict[str, Callable[[bytearray, int, Any], None]] = {
    "flip": lambda out, at, value: out.__setitem__(slice(at, at + 1), bytes([value])),
    "code": set_code,
    "number": lambda out, at, value: out.__setitem__(slice(at, at + 4), struct.pack(">I", value)),
    "handle": set_handle,
    "insert": lambda out, at, value: out.__setitem__(slice(at, at), value),
    "repeat": lambda out, at, value: out.__setitem__(slice(at, at), out[at : at + value]),
    "delete": lambda out, at, value: out.__delitem__(slice(at, at + value)),
}


def changed(data: bytes, changes: list[tuple[str, float, Any]]) -> bytes:
    out = bytearray(data)
    for kind, place, value in changes:
        DAMAGES[kind](out, int(place * len(out)), value)
    return bytes(out)


def read_safely(data: bytes) -> None:
    tracemalloc.start()
    with contextlib.suppress(DamagedDataError):
        assert all(isinstance(item, PathObject) for item in read_qpdata(data).objects)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < BYTES_PER_BYTE * len(data) + 2e6


@pytest.fixture(scope="module")
def originals(data_dir: Path) -> list[Path]:
    paths = sorted((data_dir / "made").rglob("data.qpdata"))
    read_qpdata(paths[0].read_bytes())  # what libraries import at their first use is not the file's
    return paths


@FUZZ
@given(which=st.integers(0, 1000), changes=st.lists(CHANGE, min_size=1, max_size=6), kept=st.floats(0.1, 2))
def test_a_changed_file_ends_in_objects_or_our_error(originals, which, changes, kept):
    data = changed(originals[which % len(originals)].read_bytes(), changes)

    read_safely(data[: int(kept * len(data))])


NAME = st.sampled_from(["A", "[I", "[F", "[Lx;", "java.util.ArrayList", "qupath.lib.objects.PathAnnotationObject"])
LEAF = st.one_of(
    st.just(b"p"),
    HANDLES.map(lambda handle: b"q" + struct.pack(">I", min(handle, walking.FIRST_HANDLE + 12))),
    st.binary(max_size=6).map(lambda raw: b"t" + struct.pack(">H", len(raw)) + raw),
    st.binary(max_size=9).map(lambda raw: b"w" + bytes([len(raw)]) + raw),
)
FIELDS = st.lists(st.sampled_from([b"I\x00\x01i", b"D\x00\x01d", b"L\x00\x01ot\x00\x01x"]), max_size=3).map(sorted)


def described(name: str, flags: int, fields: list[bytes], base: bytes) -> bytes:
    raw = name.encode()
    head = b"r" + struct.pack(">H", len(raw)) + raw + bytes(8)
    return head + bytes([flags]) + struct.pack(">H", len(fields)) + b"".join(fields) + b"x" + base


CLASS = st.builds(
    described, NAME, st.sampled_from([2, 3, 12, 0x12, 4]), FIELDS, st.sampled_from([b"p", b"q\x00\x7e\x00\x00"])
)


def grown(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    inside = st.lists(content, max_size=4).map(b"".join)
    return st.one_of(
        st.builds(lambda java_class, items: b"s" + java_class + items + b"x", CLASS, inside),
        st.builds(
            lambda java_class, n, items: b"u" + java_class + struct.pack(">I", n) + items, CLASS, NUMBERS, inside
        ),
        st.builds(lambda java_class, item: b"~" + java_class + item, CLASS, content),
        st.builds(lambda java_class: b"v" + java_class, CLASS),
    )


@FUZZ
@given(contents=st.lists(st.recursive(LEAF, grown, max_leaves=12), max_size=8))
def test_streams_of_any_contents_end_in_values_or_our_error(contents):
    data = b"\xac\xed\x00\x05" + b"".join(contents)
    try:
        values = list(read_contents(data))
    except DamagedDataError:
        return
    assert len(values) <= len(data)


def found(data: bytes) -> list[list[int]]:
    scan = scanning.finish(scanning.begin(data))
    return [column.tolist() for column in (scan.codes, scan.places, scan.ends, scan.links, scan.state)]


@pytest.fixture(scope="module")
def nuclei() -> bytes:
    """Cells of few builds, and many of each."""
    out = io.BytesIO()
    classes = [PathClass("Tumor", (200, 0, 0)), PathClass("Tumor: Positive", (250, 0, 0))]
    cells = [
        PathObject(
            id=str(uuid.UUID(int=number, version=4)),
            kind=ObjectKind.CELL,
            geometry=shapely.Point(number, 0).buffer(5, quad_segs=1 + number % 2),
            nucleus=shapely.Point(number, 0).buffer(3, quad_segs=1) if number % 3 else None,
            path_class=classes[number % 2],
            name="seen" if number % 5 == 0 else None,
            measurements={"Area": float(number), "Length": 1.0},
        )
        for number in range(1, 61)
    ]
    write_qpdata(out, ImageDetails(server_json="{}", root_id=str(uuid.UUID(int=1, version=4))), cells, classes)
    return out.getvalue()


@FUZZ
@given(changes=st.lists(CHANGE, max_size=6), kept=st.floats(0.5, 2))
def test_leaps_over_what_repeats_find_what_steps_find(nuclei, changes, kept):
    data = changed(nuclei, changes)
    data = data[: int(kept * len(data))]
    with pytest.MonkeyPatch.context() as patch:
        leaping = found(data)
        patch.setattr(Repeats, "ahead", lambda *_: None)

        assert found(data) == leaping


@settings(FUZZ, max_examples=max(15, EXAMPLES // 4))
@given(which=st.integers(0, 1000), changes=st.lists(CHANGE, min_size=1, max_size=6))
def test_the_compiled_walk_is_as_safe_as_the_plain_one(originals, which, changes):
    data = changed(originals[which % len(originals)].read_bytes(), changes)
    with pytest.MonkeyPatch.context() as patch:
        plain = found(data)
        patch.setattr(scanning, "PLAIN_STEPS_MAX", 0)

        assert found(data) == plain
