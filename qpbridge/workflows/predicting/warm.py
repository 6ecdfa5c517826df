"""Models that stay loaded between predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from qpbridge.models.bundle import SPEC, WEIGHTS, Bundle, load_bundle

LoadBundle: TypeAlias = Callable[[Path], Bundle]

_State: TypeAlias = tuple[Path, tuple[tuple[int, int, int], ...]]


class WarmModel:
    """Keeps the model that was loaded last, on the device that it was last used on.

    Parameters
    ----------
    load : callable
        Loads a model from its folder.
    """

    def __init__(self, load: LoadBundle = load_bundle) -> None:
        self._load = load
        self._kept: tuple[_State, Bundle] | None = None

    def load(self, folder: Path) -> Bundle:
        """Return a model: the one kept where it is that and its files have not changed since.

        Raises
        ------
        BundleNotFoundError, DamagedBundleError
            As ``load_bundle``.
        """
        # Asked before loading: what changes meanwhile is noticed the next time.
        state = _state(folder)
        if self._kept is not None and state is not None and self._kept[0] == state:
            return self._kept[1]
        self._kept = None  # before loading, so that there are never two
        bundle = self._load(folder)
        if state is not None:
            self._kept = state, bundle
        return bundle


def _state(folder: Path) -> _State | None:
    """Return what changes when somebody writes to a model; None where there is none."""
    try:
        found = [(folder / name).stat() for name in (SPEC, WEIGHTS)]
    except OSError:
        return None
    return folder.resolve(), tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)
