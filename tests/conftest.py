"""Where tests find data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Tests run side by side: threads of one that wait for threads of another cost far more than they gain.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from qpbridge.qupath.paquo_backend.process import QuPathProcess

ROOT = Path(__file__).parent.parent

# No test asserts on time: a loaded machine is no defect.
settings.register_profile("timeless", deadline=None)
settings.load_profile("timeless")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Our own fixtures, committed with the project."""
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Real data that may not be committed; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("QPBRIDGE_FIXTURES", ROOT.parent / "shared" / "fixtures"))
    if not folder.is_dir():
        pytest.skip(f"no fixtures at {folder}; set QPBRIDGE_FIXTURES to their folder")
    return folder


@pytest.fixture(scope="session")
def qupath() -> Iterator[QuPathProcess]:
    """A real QuPath in its process; tests that need one skip where there is none."""
    from qpbridge.errors import QupathMissingError
    from qpbridge.qupath.paquo_backend.installation import ENVIRONMENT, told_folder
    from qpbridge.qupath.paquo_backend.process import QuPathProcess

    if told_folder() is None:
        pytest.skip(f"no QuPath; run `{ENVIRONMENT}=FOLDER uv run pytest -m qupath` with the folder of one")
    process = QuPathProcess()
    try:
        process.start()
    except QupathMissingError as error:
        pytest.skip(str(error))
    yield process
    process.close()
