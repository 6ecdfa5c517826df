"""Stations need what boards need."""

from pathlib import Path

import pytest

from qpbridge.jobs.store.state_folder import StateFolder


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")
