"""Where tests find data."""

import os
from pathlib import Path

# Tests run side by side: threads of one that wait for threads of another cost far more than they gain.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

ROOT = Path(__file__).parent.parent


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
