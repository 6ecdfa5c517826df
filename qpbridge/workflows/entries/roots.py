"""The folders that this process may read in: a server tells its workers, so that no project leads them elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ENVIRONMENT: Final = "QPBRIDGE_ROOTS"
"""Environment variable: a JSON list of folders without links. Every place may be read where it is not set."""


@contextlib.contextmanager
def reading_only_in(roots: Sequence[Path]) -> Iterator[None]:
    """Let this process, and those that it starts meanwhile, read in these folders only, as long as the block lasts."""
    former = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = json.dumps([str(root) for root in roots])
    try:
        yield
    finally:
        del os.environ[ENVIRONMENT]
        if former is not None:
            os.environ[ENVIRONMENT] = former


def may_read(path: Path) -> bool:
    """Return whether a path is in those folders, wherever links in it lead."""
    told = os.environ.get(ENVIRONMENT)
    if told is None:
        return True
    place = Path(os.path.realpath(path))
    return any(place.is_relative_to(root) for root in json.loads(told))
