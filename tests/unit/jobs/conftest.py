"""Boards whose workers do the work of ``fake_work``."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from qpbridge.jobs.board import BoardSettings, JobBoard

HERE = Path(__file__).parent


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> str:
    """What worker processes run."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    return "fake_work:run"


@pytest.fixture
def make_board(tmp_path: Path, entry: str) -> Callable[..., JobBoard]:
    """Make a board on the test's own state folder."""

    def make(**settings: object) -> JobBoard:
        return JobBoard(tmp_path / "state", BoardSettings(entry=entry, **settings))

    return make


@pytest.fixture(autouse=True)
def _no_test_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    run = asyncio.run
    monkeypatch.setattr(asyncio, "run", lambda work: run(asyncio.wait_for(work, 60)))
