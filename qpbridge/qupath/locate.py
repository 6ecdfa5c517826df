"""Where the slides of a project are now: stored URIs are absolute, and folders move."""

from __future__ import annotations

import enum
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from qpbridge.errors import InvalidValueError, SlideNotFoundError
from qpbridge.qupath.project import Project, ProjectEntry

BESIDE_FOLDERS: Final = ("", "images", "slides")
"""Folders of a project in which a slide is looked for by its file name alone; "" is the project's own."""

_SCHEME: Final = "file:"
_DRIVE: Final = re.compile(r"[A-Za-z]:($|/)")
_HOST: Final = re.compile(r"//(?P<host>[^/]+)(?P<path>.*)", re.DOTALL)
_EXTENDED: Final = re.compile(r"//[?.]/(?P<share>UNC/)?", re.IGNORECASE)
"""What Windows puts before long paths: two backslashes, a question mark, a backslash, and "UNC" for shares."""

_ROOT_PARTS: Final = {"//": 3, "/": 2}
"""Parts that tell one place of storage from another: share of a server, first folder; otherwise the drive."""


class FoundBy(enum.Enum):
    """What led to a slide."""

    GIVEN = "given"
    STORED = "stored path"
    PATH_MAP = "path map"
    DRIVE = "drive below /mnt"
    MOVED = "moved with the project"
    END = "end of the stored path"
    NAME = "name beside the project"

    @property
    def is_guess(self) -> bool:
        """Whether only names speak for it."""
        return self in {FoundBy.END, FoundBy.NAME}


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A slide that was found, and how."""

    path: Path
    found_by: FoundBy


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
            FROM as the project has it (``file:/C:/slides``, with percent escapes) or as the system shows it
            (``C:\slides``, ``\\server\share``, ``/data``), with either slash; Windows forms in any case. TO a
            folder on this machine. A FROM with an equals sign must be a URI with ``%3D``.

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
            target = _stored_path(now.strip()) if _is_uri(now.strip()) else now.strip()
            rules.append((_stored_path(stored.strip()), str(Path(target).expanduser().absolute())))
        return cls(rules=tuple(rules))

    def candidates(self, stored: str) -> Iterator[Path]:
        """Yield where the rules put a stored path: the longest prefix first, equal ones in the order of the rules."""
        parts = _parts(stored)
        fitting = [(len(_parts(prefix)), target) for prefix, target in self.rules if _is_below(parts, _parts(prefix))]
        for length, target in sorted(fitting, key=lambda rule: -rule[0]):
            yield Path(target, *parts[length:])


def anywhere(_: Path) -> bool:
    """Return that a place may be looked at."""
    return True


def locate_slide(
    project: Project, entry: ProjectEntry, path_map: PathMap, may_read: Callable[[Path], bool] = anywhere
) -> Located:
    """Find the file of an entry.

    Looked for are, in this order: the stored URI itself; what the path map makes of it; a Windows drive below
    ``/mnt``, where WSL has it; the same place relative to the project as when it was last saved; ever shorter ends of
    the stored path in the project's folder and those above it; the file name in the project's folder, ``images``
    and ``slides``. A file of another name is never taken, but accents may be spelt in either of Unicode's ways, which
    systems differ in.

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
    Located
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
    parts = _parts(stored)
    look = _Look(may_read)
    certain = {
        FoundBy.STORED: _itself(stored),
        FoundBy.PATH_MAP: path_map.candidates(stored),
        FoundBy.DRIVE: _below_mnt(parts),
        FoundBy.MOVED: _moved_with_project(project, stored),
    }
    for found_by, candidates in certain.items():
        if (path := look.first(candidates)) is not None:
            return Located(path=path, found_by=found_by)
    guessed = _first_end(project.folder, parts, look)
    if guessed is not None:
        return guessed
    places = "\n".join(f"  {place}" for place in dict.fromkeys(look.places))
    raise SlideNotFoundError(
        f"the slide of {entry.label} is not to be found: the project {project.path} has it as {uri}\n"
        f"looked at\n{places}\nsay where its folder is now: --path-map 'FROM=TO', e.g. --path-map '{_example(uri)}'"
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
            if is_open and (found := _as_it_lies(candidate)) is not None:
                return found
        return None

    def at(self, candidate: Path) -> Path | None:
        return _as_it_lies(candidate) if self._may_read(candidate) else None


def _as_it_lies(path: Path) -> Path | None:
    """Return a path as it exists, accented letters in one piece or in two; None where it does not."""
    spelt = [str(path)]
    if not spelt[0].isascii():
        spelt += [unicodedata.normalize("NFC", spelt[0]), unicodedata.normalize("NFD", spelt[0])]
    return next((Path(one) for one in spelt if _exists(Path(one))), None)


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


def _below_mnt(parts: Sequence[str]) -> list[Path]:
    is_drive = os.name != "nt" and len(parts) > 1 and bool(_DRIVE.fullmatch(parts[0]))
    return [Path("/mnt", parts[0][0].lower(), *parts[1:])] if is_drive else []


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


def _first_end(folder: Path, parts: Sequence[str], look: _Look) -> Located | None:
    """Look for ends of a stored path, the longest first, then for its last part in few places only."""
    ends = [parts[begin:] for begin in range(1, len(parts) - 1)]
    for end in ends:
        for base in (folder, *folder.parents):
            found = look.at(Path(base, *end))
            if found is not None:
                return Located(path=found, found_by=FoundBy.END)
    if ends:
        shortest, longest = "/".join(ends[-1]), "/".join(ends[0])
        range_of_ends = longest if len(ends) == 1 else f"{longest} ... {shortest}"
        look.places.append(f"{range_of_ends} in {folder} and every folder above it")
    beside = look.first(Path(folder, place, parts[-1]) for place in BESIDE_FOLDERS) if parts else None
    return None if beside is None else Located(path=beside, found_by=FoundBy.NAME)


def folders_of(uris: Iterable[str]) -> Mapping[str, int]:
    """Return few folders that hold some stored files, as path rules take them, with the number of files in each.

    Parameters
    ----------
    uris : iterable of str
        As projects have them.

    Returns
    -------
    mapping of str to int
        For each drive, network share or first folder the deepest folder that holds all of its files.
    """
    groups: defaultdict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for uri in uris:
        *folder, _ = ["", *_parts(_stored_path(uri))]
        folder = folder[1:]
        groups[tuple(_folded(folder)[: _ROOT_PARTS.get(folder[0], 1) if folder else 0])].append(folder)
    return {_joined(_common(group)): len(group) for group in groups.values()}


def _common(folders: Sequence[Sequence[str]]) -> Sequence[str]:
    # As text sorts, so do lists: what the first and the last share, all share.
    folded = sorted(_folded(folder) for folder in folders)
    pairs = zip(folded[0], folded[-1], strict=False)
    length = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(folded[0]), len(folded[-1])))
    return folders[0][:length]


def _joined(parts: Sequence[str]) -> str:
    is_rooted = bool(parts) and parts[0] in _ROOT_PARTS
    return parts[0] + "/".join(parts[1:]) if is_rooted else "/".join(parts)


def _is_uri(text: str) -> bool:
    return text[: len(_SCHEME)].lower() == _SCHEME


def _stored_path(uri: str) -> str:
    """Return the path that a URI or path means, with slashes, unescaped: "/data/a b", "C:/data", "//server/data".

    A URI of another scheme comes back as it is.
    """
    if not _is_uri(uri):
        return uri if "://" in uri else _unmarked(uri.replace("\\", "/"))
    # Not by urlsplit: stored URIs have question marks, backslashes and drives where the standard has none.
    path = uri[len(_SCHEME) :].replace("\\", "/")
    at_host = _HOST.fullmatch(path)
    if at_host is not None:
        is_here = at_host["host"].lower() == "localhost"
        separator = "" if is_here or _DRIVE.fullmatch(at_host["host"]) else "//"
        path = f"{separator}{'' if is_here else at_host['host']}{at_host['path']}"
    elif path.startswith("//"):
        # "///data" is "/data"; for a share, Java writes "////server".
        path = f"//{path.lstrip('/')}" if path.startswith("////") else path[2:]
    return _unmarked(unquote(path))


def _unmarked(path: str) -> str:
    """Return a path without what only marks it as one of Windows: "/C:/data", "//?/C:/data"."""
    extended = _EXTENDED.match(path)
    if extended is not None:
        path = f"{'//' if extended['share'] else ''}{path[extended.end() :]}"
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


def _is_below(parts: Sequence[str], prefix: Sequence[str]) -> bool:
    return _folded(parts)[: len(prefix)] == _folded(prefix)


def _example(uri: str) -> str:
    return f"{uri.rpartition('/')[0] or uri}=/folder/of/the/slides"
