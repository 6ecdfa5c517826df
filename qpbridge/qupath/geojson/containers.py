"""The features in a file, however they are packed: a collection, a list, lines, one alone; compressed or not."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Final

import msgspec

from qpbridge.qupath.geojson.outlines import DEPTHS

LINES_JOINED: Final = "line read as a feature of its own"

TIMES_MAX: Final = 100
"""By how much a file may grow when it is unpacked; exports of QuPath grow four to thirty times."""

_ALWAYS_BYTES: Final = 1 << 26
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SUFFIXES: Final = (".geojson", ".json")


class _Collection(msgspec.Struct, gc=False):
    type: str | None = None
    features: list[msgspec.Raw] | None = None


def raw_features(content: bytes, mended: Counter[str]) -> list[msgspec.Raw]:
    """Return the JSON texts of the features, or bare geometries, in the content of a file.

    Parameters
    ----------
    content : bytes
        UTF-8, or that compressed by gzip, or a zip archive of such files (names in ``.geojson`` or ``.json``).
    mended : Counter of str
        Counts features that stand in lines of their own, which QuPath refuses.

    Raises
    ------
    ValueError, msgspec.DecodeError, OSError, EOFError, zlib.error, zipfile.BadZipFile, RecursionError
        If it is nothing of that.
    """
    return [raw for part in _unpacked(content) for raw in _features(part, mended)]


def gunzipped(content: bytes) -> bytes:
    """Return what gzip has compressed.

    Raises
    ------
    ValueError, OSError, EOFError, zlib.error
        If it is damaged, or far larger than any export.
    """
    with gzip.open(io.BytesIO(content)) as file:
        return _Room(content).read(file)


def unzipped(content: bytes) -> Iterator[bytes]:
    """Yield the GeoJSON files of a zip archive.

    Raises
    ------
    ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile
        As ``gunzipped``; together they count as one.
    """
    room = _Room(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if name.lower().endswith(_SUFFIXES):
                with archive.open(name) as file:
                    yield room.read(file)


class _Room:
    """How much a compressed file may hold: a small one can unpack to more than any memory holds."""

    def __init__(self, content: bytes) -> None:
        self._most = self._left = max(_ALWAYS_BYTES, TIMES_MAX * len(content))

    def read(self, file: gzip.GzipFile | IO[bytes]) -> bytes:
        content = file.read(self._left + 1)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"it unpacks to more than {self._most >> 20} MiB, {TIMES_MAX} times its size or more")
        return content


def _unpacked(content: bytes) -> Iterator[bytes]:
    if content.startswith(_GZIP):
        content = gunzipped(content)
    if not content.startswith(_ZIP):
        yield content.removeprefix(_BYTE_ORDER_MARK).strip()
        return
    parts = list(unzipped(content))
    if not parts:
        raise ValueError(f"the archive holds no file named {' or '.join(f'*{suffix}' for suffix in _SUFFIXES)}")
    for part in parts:
        yield part.removeprefix(_BYTE_ORDER_MARK).strip()


def _features(content: bytes, mended: Counter[str]) -> Sequence[msgspec.Raw]:
    try:
        return _listed(_strict(content))
    except (msgspec.DecodeError, json.JSONDecodeError):
        lines = [line for line in content.splitlines() if line.strip(b" \t\x1e")]
        if len(lines) < 2:
            raise
        features = [raw for line in lines for raw in _listed(_strict(line.strip(b" \t\x1e")))]
        mended[LINES_JOINED] += len(lines)
        return features


def _strict(content: bytes) -> bytes:
    try:
        msgspec.json.decode(content, type=msgspec.Raw)
    except msgspec.DecodeError:
        # Java and Python write NaN and Infinity as bare words, which JSON does not know.
        return msgspec.json.encode(json.loads(content, parse_constant=str))
    return content


def _listed(content: bytes) -> Sequence[msgspec.Raw]:
    if content.startswith(b"["):
        return msgspec.json.decode(content, type=list[msgspec.Raw])
    collection = msgspec.json.decode(content, type=_Collection)
    if collection.features is not None:
        return collection.features
    if collection.type == "FeatureCollection":
        return []
    if collection.type in ("Feature", "GeometryCollection", *DEPTHS):
        return [msgspec.Raw(content)]
    raise ValueError(f"its type is {collection.type!r}, neither a FeatureCollection nor a feature nor a geometry")
