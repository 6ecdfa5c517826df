"""Whether a QuPath may be here; a glance that loads neither paquo nor Java, which take seconds."""

from __future__ import annotations

import importlib.util
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ENVIRONMENT: Final = "QPBRIDGE_QUPATH_DIR"
"""Environment variable: the folder of a QuPath; it wins over paquo's configuration."""

ADVICE: Final = (
    "get one with `python -m paquo get_qupath --install-path FOLDER 0.6.0`, or from qupath.github.io, and set"
    f" {ENVIRONMENT} to its folder"
)

_CONFIGURATION: Final = ".paquo.toml"


def told_folder() -> str | None:
    """Return the folder that the environment names for QuPath; None where it names none."""
    return os.environ.get(ENVIRONMENT) or None


def may_be_here() -> bool:
    """Return whether anything speaks for a QuPath; False only where paquo would find none."""
    if told_folder() or any(name.startswith("PAQUO_") for name in os.environ) or os.environ.get("CONDA_PREFIX"):
        return True
    folders = [Path.cwd(), *Path.cwd().parents]
    if any((folder / place / _CONFIGURATION).is_file() for folder in folders for place in (".", "config")):
        return True
    return any(True for _ in _likely_folders())


def _likely_folders() -> Iterator[Path]:
    """Yield folders called like QuPath where paquo looks by default."""
    defaults = _defaults()
    is_named = re.compile(defaults.get("qupath_search_dir_regex", "")).match
    for place in defaults.get("qupath_search_dirs", ()):
        folder = Path(place)
        if folder.is_dir():
            yield from (one for one in folder.iterdir() if is_named(one.name) and one.is_dir())


def _defaults() -> dict[str, Any]:
    spec = importlib.util.find_spec("paquo")
    assert spec is not None
    assert spec.origin is not None
    return tomllib.loads((Path(spec.origin).parent / ".paquo.defaults.toml").read_text("utf-8"))
