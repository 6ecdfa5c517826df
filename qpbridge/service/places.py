"""The folders that a server may touch: every path of a request is resolved, and refused where it leads elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from qpbridge.errors import BundleNotFoundError, InvalidValueError, PathRefusedError
from qpbridge.workflows.entries.naming import default_results

_NAME: Final = re.compile(r"\w[\w.+=@ -]{0,119}")
"""Of a model within its folder: no separators, and no name that means another folder."""

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_WINDOWS: Final = re.compile(r"[A-Za-z]:|\\")


class AllowedPlaces:
    """The ``Places`` of a server. What it returns is resolved: no link in it leads elsewhere any more.

    Parameters
    ----------
    roots : sequence of Path
        Folders to read and write in.
    model_folders : sequence of Path
        Folders of models; new ones go to the first, which is made where it is missing.
    state : Path
        The state folder, which is closed to requests even within a root.

    Raises
    ------
    InvalidValueError
        If a root or model folder is no folder.
    """

    def __init__(self, roots: Sequence[Path], model_folders: Sequence[Path], state: Path) -> None:
        model_folders[0].mkdir(parents=True, exist_ok=True)
        self.roots = tuple(_folder(path, "roots") for path in roots)
        self.model_folders = tuple(_folder(path, "model_folders") for path in model_folders)
        self._state = Path(os.path.realpath(state))

    def read(self, path: str) -> Path:
        """Return the place of a project, a slide or a folder of predictions.

        Raises
        ------
        PathRefusedError
            If it is outside the roots; in every method here.
        """
        return self._allowed(path, self.roots)

    def write(self, path: str) -> Path:
        """Return the place of a file or folder to be written."""
        return self._allowed(path, self.roots)

    def new_project(self, path: str) -> Path:
        """Return the place of a folder that is made anew: never a root itself, beside which it would be made."""
        place = self.write(path)
        if place in self.roots:
            raise PathRefusedError(f"'{path}' is one of the server's own folders; name one in it for the project")
        return place

    def model(self, name: str) -> Path:
        """Return the bundle of a name or path.

        Raises
        ------
        BundleNotFoundError
            If no model folder has one of that name.
        """
        if not _NAME.fullmatch(name):
            return self._allowed(name, (*self.model_folders, *self.roots))
        found = next((path for folder in self.model_folders if (path := folder / name).is_dir()), None)
        if found is None:
            folders = ", ".join(map(str, self.model_folders))
            raise BundleNotFoundError(f"no model '{name}' in {folders}; ListModels names those that there are")
        return self._allowed(str(found), (*self.model_folders, *self.roots))

    def new_model(self, name: str) -> Path:
        """Return where a bundle of a name or path is to be written."""
        path = str(self.model_folders[0] / name) if _NAME.fullmatch(name) else name
        return self._allowed(path, (*self.model_folders, *self.roots))

    def results(self, inputs: Sequence[Path], model: Path) -> Path:
        """Return where predictions go that nobody gave a folder for: beside the project or the first slide."""
        return self.write(str(default_results(inputs, model)))

    def path_rule(self, rule: str) -> str:
        """Return a rule ``FROM=TO`` whose ``TO`` is in the roots; one without ``=`` is left to who reads it."""
        stored, equals, now = rule.partition("=")
        return f"{stored}={self.read(now)}" if equals else rule

    def _allowed(self, text: str, folders: Iterable[Path]) -> Path:
        place = Path(os.path.realpath(_local(text)))
        if not _is_below(place, folders):
            listed = ", ".join(map(str, folders))
            raise PathRefusedError(
                f"'{text}' lies outside the folders that this server may touch, or a link in it leads there; they are"
                f" {listed}: move it there, or start the server with --root for its folder"
            )
        if _is_below(place, [self._state]) and not _is_below(place, self.model_folders):
            raise PathRefusedError(f"'{text}' lies in the server's own folder; give another place")
        return place


def _folder(path: Path, key: str) -> Path:
    try:
        found = Path(os.path.realpath(path, strict=True))
    except OSError as error:
        raise InvalidValueError(f"{path} in {key} cannot be used ({error.strerror}); give a folder") from error
    if not found.is_dir():
        raise InvalidValueError(f"{path} in {key} is no folder; give the folder that holds it")
    return found


def _is_below(place: Path, folders: Iterable[Path]) -> bool:
    return any(place.is_relative_to(folder) for folder in folders)


def _local(text: str) -> str:
    """Return the absolute path on this machine that a text means."""
    path = _path_of_uri(text) if text[:5].lower() == "file:" else text
    if "\0" in path:
        raise PathRefusedError(f"{text!r} holds a NUL, which no path does")
    if _SCHEME.match(path):
        raise PathRefusedError(f"'{text}' is no file: this server opens files in its own folders, and fetches nothing")
    if _WINDOWS.match(path):
        raise PathRefusedError(f"'{text}' is a path of Windows: give the one by which the server's machine knows it")
    if not path.startswith("/"):
        raise PathRefusedError(f"'{text}' is relative, and to what is not known: give an absolute path on the server")
    return path


def _path_of_uri(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise PathRefusedError(f"'{uri}' is no URI of a file ({error}); give an absolute path") from error
    if parts.netloc not in {"", "localhost"}:
        raise PathRefusedError(f"'{uri}' is on another machine, {parts.netloc}: give a path on the server's")
    # What looks like a query or a fragment is cut off there, and would name another file.
    if parts.query or parts.fragment:
        raise PathRefusedError(f"'{uri}' has a '?' or '#': write them as %3F and %23, or give an absolute path")
    return unquote(parts.path)
