"""Which class of a list is meant by a class of QuPath, or by a tag that somebody typed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from qpbridge.core.objects import PathClass

_NO_COLOR: Final = (0, 0, 0)
_DENIAL: Final = re.compile(r"\s*no\s+(?=\S)", re.IGNORECASE)


def class_label(path_class: PathClass, class_names: Sequence[str]) -> int | None:
    """Return the position of a class, or of its nearest base class, among some names; None where it has none."""
    for end in range(len(path_class.parts), 0, -1):
        name = ": ".join(path_class.parts[:end])
        if name in class_names:
            return class_names.index(name)
    return None


def tag_label(tag: str, class_names: Sequence[str]) -> int | None:
    """Return the position of the class that a tag names or denies, or of its nearest base class; None where none."""
    return tag_meaning(tag, class_names)[0]


def tag_meaning(tag: str, class_names: Sequence[str]) -> tuple[int | None, bool]:
    """Return the class that a tag is about, as ``tag_label`` does, and whether it says that the class occurs.

    "no Stroma" says that Stroma does not, unless a class is called so.
    """
    stated = _named(tag, class_names)
    if stated is not None or _DENIAL.match(tag) is None:
        return stated, True
    return _named(tag_name(tag), class_names), False


def tag_name(tag: str) -> str:
    """Return a tag without "no" before it."""
    return _DENIAL.sub("", tag, count=1) if _DENIAL.match(tag) else tag


def _named(tag: str, class_names: Sequence[str]) -> int | None:
    exact = class_label(PathClass(tag, _NO_COLOR), class_names)
    if exact is not None:
        return exact
    # Typed by hand: case and blanks do not count where that leaves one class.
    alike = [i for i, name in enumerate(class_names) if _folded(name) == _folded(tag)]
    return alike[0] if len(alike) == 1 else None


def _folded(name: str) -> str:
    return "".join(name.split()).casefold()
