"""What somebody chose for an image in QuPath, for a new project to keep."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qpbridge.qupath.encoding.image_data import UNSET_TYPE
from qpbridge.qupath.encoding.java_classes import IMAGE_TYPE, STAINS
from qpbridge.qupath.java.writer import utf

_HEAD_BYTES: Final = 1 << 20
"""Of a file: both stand before the history and the objects, which may be long."""


_REST: Final = rb".{8}.\x00\x00x"
"""Of the description of a class without fields: uid, flags, count of fields, end."""

_TYPE: Final = re.compile(
    rb"~r" + re.escape(utf(IMAGE_TYPE.name)) + _REST + rb"r" + re.escape(utf("java.lang.Enum")) + _REST + rb"pt",
    flags=re.DOTALL,
)
_STAINS: Final = re.compile(rb"sr" + re.escape(utf(STAINS.name)) + _REST + rb"pw\x04\x00\x00\x00\x01t", flags=re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """What was chosen for an image.

    Parameters
    ----------
    image_type : str
        Name of QuPath's image type.
    stains : str or None
        Of color deconvolution, as QuPath writes them.
    """

    image_type: str = UNSET_TYPE
    stains: str | None = None


def read_settings(path: Path) -> ImageSettings:
    """Read what a ``data.qpdata`` says before its objects, without reading these.

    Of a file that is missing, or says nothing of the kind, nothing.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return ImageSettings()
    return ImageSettings(image_type=_text_after(_TYPE, head) or UNSET_TYPE, stains=_text_after(_STAINS, head))


def _text_after(pattern: re.Pattern[bytes], head: bytes) -> str | None:
    found = pattern.search(head)
    if found is None:
        return None
    begin = found.end() + 2
    raw = head[begin : begin + int.from_bytes(head[found.end() : begin])]
    return raw.decode("utf-8", "replace") or None
