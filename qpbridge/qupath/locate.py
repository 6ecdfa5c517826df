"""Where the slides of a project are now: stored URIs are absolute, and folders move."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from qpbridge.errors import InvalidValueError, SlideNotFoundError
from qpbridge.qupath.project import Project, ProjectEntry

BESIDE_FOLDERS: Final = ("", "images", "slides")
"""Folders of a project in which a slide is looked for by its file name alone; "" is the project's own."""

_DRIVE: Final = re.compile(r"[A-Za-z]:($|/)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMap:
    """Where folders are that stored URIs name: a list of prefixes and what takes their place.

    Parameters
    ----------
    rules : tuple of (str, str)
        Stored folder, written with slashes and unescaped, and the folder that it is now.
    """

    rules: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> PathMap:
        r"""Read rules of the form ``FROM=TO``.

        Parameters
        ----------
        texts : iterable of str
            FROM as the project has it (``file:/C:/slides``) or as the system shows it (``C:\slides``,
            ``\\server\share``, ``/data``); TO a folder on this machine.

        Raises
        ------
        InvalidValueError
            If one has another form.
        """
        rules = []
        for text in texts:
            stored, equals, now = text.partition("=")
            if not (stored.strip() and equals and now.strip()):
                raise InvalidValueError(
                    f"--path-map {text!r} has not the form FROM=TO, e.g. --path-map 'file:/D:/slides=/mnt/slides'"
                )
            target = _stored_path(now.strip()) if now.strip().startswith("file:") else now.strip()
            rules.append((_stored_path(stored.strip()), str(Path(target).expanduser().absolute())))
        return cls(rules=tuple(rules))

    def candidates(self, stored: str) -> Iterator[Path]:
        """Yield where the rules put a stored path, in the order of the rules."""
        parts = _parts(stored)
        for prefix, target in self.rules:
            rest = _below(parts, _parts(prefix))
            if rest is not None:
                yield Path(target, *rest)


def anywhere(_: Path) -> bool:
    """Return that a place may be looked at."""
    return True


def locate_slide(
    project: Project, entry: ProjectEntry, path_map: PathMap, may_read: Callable[[Path], bool] = anywhere
) -> Path:
    """Find the file of an entry.

    Looked for are, in this order: the stored URI itself; what the path map makes of it; the same place relative to the
    project as when it was last saved; ever shorter ends of the stored path in the project's folder and those above
    it; the file name in the project's folder, ``images`` and ``slides``. A file of another name is never taken.

    Parameters
    ----------
    project : Project
        As it lies now.
    entry : ProjectEntry
        One of its entries.
    path_map : PathMap
        Rules of the user.
    may_read : callable
        Whether a place may be looked at; the project does not say whose files it names.

    Returns
    -------
    Path
        An existing file or folder that may be looked at.

    Raises
    ------
    SlideNotFoundError
        If it is nowhere; says where it was looked for, and how to tell where it is.
    UnsupportedImageError, DamagedProjectError
        As ``ProjectEntry.server``.
    """
    uri = entry.server.uri
    stored = _stored_path(uri)
    look = _Look(may_read)
    found = look.first(
        (*_itself(stored), *path_map.candidates(stored), *_moved_with_project(project, stored))
    ) or _first_end(project.folder, _parts(stored), look)
    if found is not None:
        return found
    places = "\n".join(f"  {place}" for place in dict.fromkeys(look.places))
    raise SlideNotFoundError(
        f"the slide of {entry.label} is not to be found: the project {project.path} has it as {uri}; looked at\n"
        f"{places}\nsay where its folder is now: --path-map 'FROM=TO', e.g. --path-map '{_example(uri)}'"
    )


class _Look:
    """Where a slide was looked for."""

    def __init__(self, may_read: Callable[[Path], bool]) -> None:
        self.places: list[str] = []
        self._may_read = may_read

    def first(self, candidates: Iterable[Path]) -> Path | None:
        for candidate in candidates:
            is_open = self._may_read(candidate)
            self.places.append(
                str(candidate) if is_open else f"{candidate} (not looked at: outside the server's roots)"
            )
            if is_open and _exists(candidate):
                return candidate
        return None

    def is_at(self, candidate: Path) -> bool:
        return self._may_read(candidate) and _exists(candidate)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no access, or no possible name
        return False


def _itself(stored: str) -> list[Path]:
    """Return the stored path where this system means the same by it: "C:/slides" is a relative path elsewhere."""
    is_windows_path = stored.startswith("//") or bool(_DRIVE.match(stored))
    is_ours = is_windows_path if os.name == "nt" else stored.startswith("/") and not is_windows_path
    return [Path(stored)] if is_ours else []


def _moved_with_project(project: Project, stored: str) -> list[Path]:
    """Return where the slide is if project and slide moved together."""
    if project.uri is None:
        return []
    old_folder = _parts(_stored_path(project.uri))[:-1]
    parts = _parts(stored)
    pairs = zip(_folded(old_folder), _folded(parts), strict=False)
    common = next((index for index, (old, new) in enumerate(pairs) if old != new), min(len(old_folder), len(parts)))
    if common == 0:
        return []
    up = [".."] * (len(old_folder) - common)
    return [Path(os.path.normpath(Path(project.folder, *up, *parts[common:])))]


def _first_end(folder: Path, parts: Sequence[str], look: _Look) -> Path | None:
    """Look for ends of a stored path, the longest first, then for its last part in few places only."""
    ends = [parts[begin:] for begin in range(1, len(parts) - 1)]
    for end in ends:
        for base in (folder, *folder.parents):
            candidate = Path(base, *end)
            if look.is_at(candidate):
                return candidate
    if ends:
        shortest, longest = "/".join(ends[-1]), "/".join(ends[0])
        range_of_ends = longest if len(ends) == 1 else f"{longest} ... {shortest}"
        look.places.append(f"{range_of_ends} in {folder} and every folder above it")
    return look.first(Path(folder, place, parts[-1]) for place in BESIDE_FOLDERS) if parts else None


def _stored_path(uri: str) -> str:
    """Return the path that a URI or path means, with slashes, unescaped: "/data/a b", "C:/data", "//server/data".

    A URI of another scheme comes back as it is.
    """
    if not uri.startswith("file:"):
        return uri if "://" in uri else uri.replace("\\", "/")
    try:
        parts = urlsplit(uri)
    except ValueError:  # no possible host
        return uri
    path = unquote(parts.path)
    if parts.netloc and parts.netloc != "localhost":
        return f"//{parts.netloc}{path}"
    if path.startswith("//"):
        return "//" + path.lstrip("/")
    return path[1:] if path.startswith("/") and _DRIVE.match(path, 1) else path


def _parts(stored: str) -> list[str]:
    """Return the parts of a stored path; the first is its root: "/", "C:", "//"."""
    root = "//" if stored.startswith("//") else "/" if stored.startswith("/") else ""
    parts = [part for part in stored.split("/") if part and part != "."]
    return [root, *parts] if root else parts


def _folded(parts: Sequence[str]) -> list[str]:
    """Return parts as they compare: Windows does not tell cases apart."""
    is_windows = bool(parts) and (parts[0] == "//" or bool(_DRIVE.match(parts[0])))
    return [part.casefold() for part in parts] if is_windows else list(parts)


def _below(parts: Sequence[str], prefix: Sequence[str]) -> Sequence[str] | None:
    is_below = _folded(parts)[: len(prefix)] == _folded(prefix)
    return parts[len(prefix) :] if is_below else None


def _example(uri: str) -> str:
    return f"{uri.rpartition('/')[0] or uri}=/folder/of/the/slides"
