"""Verbs that leave the user's own journal and server alone."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State folder of the test."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("QPBRIDGE_STATE", str(folder))
    monkeypatch.delenv("QPBRIDGE_TOKEN", raising=False)
    return folder
