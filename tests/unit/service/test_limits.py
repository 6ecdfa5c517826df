"""Counting what a request brings; refusals are tried in tests/integration/test_service_limits.py, too."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.errors import DiskFullError, InvalidValueError, TooLargeError
from qpbridge.service.configuration import Limits
from qpbridge.service.limits import check_annotations, check_disk
from qpbridge.v1.objects_pb2 import EntryAnnotations

OUTLINES = st.lists(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers()), max_size=6), max_size=4)


def polygon(rings: object) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": rings}


def number_told(text: bytes, limits: Limits) -> int:
    try:
        check_annotations([EntryAnnotations(entry="a", geojson=text)], limits)
    except TooLargeError as error:
        return int(str(error).split()[3].replace(",", ""))
    return 0


@given(outlines=st.lists(OUTLINES, max_size=5), indent=st.sampled_from([None, 0, 7]), is_list=st.booleans())
def test_vertices_are_counted_exactly_however_they_are_written(
    outlines: list[list[list[tuple[float, int]]]], indent: int | None, is_list: bool
) -> None:
    features = [
        {"type": "Feature", "geometry": polygon(rings), "properties": {"color": [1, 2, 3], "name": "[1, [2"}}
        for rings in outlines
    ]
    text = json.dumps(features if is_list else {"features": features}, indent=indent).encode()
    expected = sum(len(ring) for rings in outlines for ring in rings)

    assert number_told(text, Limits(vertices_max=1)) == (expected if expected > 1 else 0)
    assert number_told(text, Limits(objects_max=1)) == (len(outlines) if len(outlines) > 1 else 0)


def test_cells_and_collections_count_with_all_their_parts() -> None:
    ring = [[[0, 0], [1, 0], [1, 1], [0, 0]]]
    cell = {"type": "Feature", "geometry": polygon(ring), "nucleusGeometry": polygon(ring)}
    several = {"type": "GeometryCollection", "geometries": [polygon(ring), {"type": "Point", "coordinates": [1, 2]}]}

    assert number_told(json.dumps(cell).encode(), Limits(vertices_max=1)) == 8
    assert number_told(json.dumps(several).encode(), Limits(vertices_max=1)) == 5
    assert number_told(json.dumps({"geometry": several}).encode(), Limits(vertices_max=1)) == 5


@pytest.mark.parametrize("text", [b"", b"[", b"3", b"\xff", b'{"features": [3]}', b"[" * 10**5, b'{"a":' * 10**5])
def test_what_is_no_geojson_is_told_with_its_entry(text: bytes) -> None:
    with pytest.raises(InvalidValueError, match="annotations of 'a7' are no GeoJSON"):
        check_annotations([EntryAnnotations(entry="a7", geojson=text)], Limits())


def test_too_little_room_is_told_with_what_there_must_be(tmp_path: Path) -> None:
    check_disk([tmp_path / "not" / "yet"], Limits(free_disk_bytes_min=0))

    with pytest.raises(DiskFullError, match=r"no work begins below 1,152,921,504,607 MB"):
        check_disk([tmp_path / "not" / "yet"], Limits(free_disk_bytes_min=2**60))
