import io

import javaobj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.qupath.java.writer import EXTERNALIZABLE, ClassDescriptor, JavaWriter, modified_utf8, utf

POINT = ClassDescriptor("geo.Point", (("x", "D"), ("z", "I"), ("name", "Ljava/lang/String;")))
CIRCLE = ClassDescriptor("geo.Circle", (("radius", "F"),), uid=7, parent=POINT)
BAG = ClassDescriptor("geo.Bag", flags=EXTERNALIZABLE)
INTS = ClassDescriptor("[I", uid=5600894804908749477)


def parsed(write):
    """Return what an independent reader makes of one written content."""
    out = io.BytesIO()
    with JavaWriter(out) as java:
        write(java)
    return javaobj.loads(out.getvalue())


def test_a_string_is_read_by_an_independent_reader():
    assert parsed(lambda java: java.string("Nécrose/坏死")) == "Nécrose/坏死"


def test_a_string_beyond_the_short_form_is_written_in_the_long_one():
    text = "abcdefgh" * 9000

    out = io.BytesIO()
    with JavaWriter(out) as java:
        java.string(text)

    assert out.getvalue()[4:13] == b"\x7c" + len(text).to_bytes(8, "big")
    assert javaobj.loads(out.getvalue()) == text


def test_an_object_has_the_fields_of_its_bases_first():
    def write(java):
        java.begin(CIRCLE)
        java.fields("di", 1.5, 3)
        java.string("center")
        java.fields("f", 0.25)

    circle = parsed(write)

    assert (circle.x, circle.z, circle.name, circle.radius) == (1.5, 3, "center", 0.25)
    described = circle.get_class()
    assert (described.name, described.serialVersionUID) == ("geo.Circle", 7)
    assert (described.superclass.name, described.superclass.fields_names) == ("geo.Point", ["x", "z", "name"])


def test_a_class_is_described_once():
    def write(java, count):
        for _ in range(count):
            java.begin(BAG)
            java.end()

    def size(count):
        out = io.BytesIO()
        with JavaWriter(out) as java:
            write(java, count)
        return len(out.getvalue())

    assert size(2) - size(1) == 1 + 5 + 1
    assert size(3) - size(2) == size(2) - size(1)


def test_shared_strings_are_references_after_the_first():
    out = io.BytesIO()
    with JavaWriter(out) as java:
        java.string("own")
        java.shared_string("one")
        java.shared_string("one")

    assert out.getvalue().endswith(b"t\x00\x03oneq\x00\x7e\x00\x01")


def test_handles_count_everything_that_java_counts():
    out = io.BytesIO()
    with JavaWriter(out) as java:
        java.begin(CIRCLE)  # class 0, class 1, type string 2, object 3
        java.fields("di", 0, 0)
        java.null()
        java.fields("f", 0)
        java.array(INTS, 1, b"\0\0\0\1")  # class 4, array 5
        java.begin(BAG, key="bag")  # class 6, object 7
        java.end()
        assert java.refer("bag")
        assert not java.refer("other")

    assert out.getvalue().endswith(b"q\x00\x7e\x00\x07")


@pytest.mark.parametrize(("size", "head"), [(1, b"w\x01"), (255, b"w\xff"), (256, b"z\x00\x00\x01\x00")])
def test_blocks_beyond_255_bytes_take_the_long_form(size, head):
    out = io.BytesIO()
    with JavaWriter(out) as java:
        java.block(b"x" * size)

    assert out.getvalue() == b"\xac\xed\x00\x05" + head + b"x" * size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", b"plain"),
        ("é", b"\xc3\xa9"),
        ("a\0b", b"a\xc0\x80b"),
        ("\U0001f600", b"\xed\xa0\xbd\xed\xb8\x80"),
        ("\ud800", b"\xed\xa0\x80"),
    ],
)
def test_text_is_in_modified_utf8(text, expected):
    assert modified_utf8(text) == expected
    assert utf(text) == len(expected).to_bytes(2, "big") + expected


@given(st.text())
def test_modified_utf8_has_no_zero_byte_and_keeps_the_text(text):
    content = modified_utf8(text)

    units = content.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
    assert b"\0" not in content
    assert units.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass") == text


def test_a_long_stream_goes_out_in_pieces():
    pieces = []

    class Sink(io.BytesIO):
        def write(self, content):
            pieces.append(len(content))
            return super().write(content)

    with JavaWriter(Sink()) as java:
        for _ in range(300_000):
            java.begin(BAG)
            java.end()

    assert len(pieces) > 1
    assert max(pieces) < 2_000_000
