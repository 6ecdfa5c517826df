import gzip
import io
import zipfile
from collections import Counter

import pytest

from qpbridge.core.objects import ObjectKind
from qpbridge.errors import DamagedGeoJsonError
from qpbridge.qupath.geojson import QupathVersion, containers, judge, parse_objects
from qpbridge.qupath.geojson.containers import LINES_JOINED, gunzipped, raw_features, unzipped

POINT = b'{"type": "Point", "coordinates": [1, 2]}'


def archive(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name.replace("__", "."), content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (POINT, 1),
        (b"\xef\xbb\xbf \n" + POINT + b"\n", 1),
        (b"[" + POINT + b"," + POINT + b"]", 2),
        (b'{"features": [' + POINT + b"]}", 1),
        (b'{"type": "FeatureCollection"}', 0),
        (gzip.compress(POINT), 1),
        (archive(a__geojson=POINT, b__JSON=b"[" + POINT + b"]", c__txt=b"hello"), 2),
    ],
    ids=["alone", "after a byte order mark", "list", "collection", "empty collection", "gzip", "zip"],
)
def test_features_are_found_however_they_are_packed(content: bytes, count: int) -> None:
    mended: Counter[str] = Counter()

    assert [bytes(raw) for raw in raw_features(content, mended)] == [POINT] * count
    assert not mended


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\n\x1e", b"\n\n"])
def test_features_in_lines_are_read_and_counted(separator: bytes) -> None:
    mended: Counter[str] = Counter()

    raws = raw_features(separator.join([POINT, POINT, b"[]"]), mended)

    assert [bytes(raw) for raw in raws] == [POINT, POINT]
    assert mended == {LINES_JOINED: 3}


def test_lines_may_hold_bare_words_for_numbers() -> None:
    line = b'{"type":"Feature","geometry":%s,"properties":{"measurements":{"a":NaN}}}' % POINT

    found = parse_objects(line + b"\n" + line, "text")

    assert [item.kind for item in found.objects] == [ObjectKind.ANNOTATION] * 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello\nworld",
        POINT + b"\n{",
        POINT[:-1],
        b'{"type": "Topology"}',
        archive(a__txt=b"hello"),
        archive(a__json=POINT)[:40],
        archive(a__json=b"{"),
        gzip.compress(POINT)[:-5],
    ],
    ids=["empty", "text", "line cut", "cut", "other type", "zip without", "zip cut", "zip of damage", "gzip cut"],
)
def test_what_is_no_geojson_is_told(content: bytes) -> None:
    with pytest.raises(DamagedGeoJsonError, match="text is no GeoJSON"):
        parse_objects(content, "text")


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: archive(a__json=POINT, b__json=content)])
def test_what_unpacks_to_far_more_than_any_export_is_refused(pack, monkeypatch) -> None:
    monkeypatch.setattr(containers, "_ALWAYS_BYTES", 1000)
    packed = pack(POINT + b" " * 200_000)
    assert len(packed) * containers.TIMES_MAX < 200_000

    with pytest.raises(DamagedGeoJsonError, match="text is no GeoJSON: it unpacks to more than"):
        parse_objects(packed, "text")


def test_what_is_compressed_as_usual_is_read(monkeypatch) -> None:
    monkeypatch.setattr(containers, "_ALWAYS_BYTES", 0)
    points = (b'{"type": "Point", "coordinates": [%d, 2]}' % number for number in range(500))
    packed = gzip.compress(b"[" + b",".join(points) + b"]")

    assert len(parse_objects(packed, "text").objects) == 500
    assert judge(gunzipped(packed), QupathVersion.V0_7_0).is_accepted


def test_files_of_an_archive_come_in_their_order() -> None:
    packed = archive(b__json=b"1", readme__txt=b"2", a__GEOJSON=b"3")

    assert list(unzipped(packed)) == [b"1", b"3"]
