"""Folders that a worker may read in."""

import os
from pathlib import Path

import pytest

from qpbridge.workflows.entries.roots import ENVIRONMENT, may_read, reading_only_in


def test_everything_may_be_read_where_nobody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)

    assert may_read(Path("/etc/passwd"))


def test_only_the_roots_may_be_read_wherever_links_lead(tmp_path: Path) -> None:
    roots = [tmp_path / 'a "b"', tmp_path / "c"]
    for root in roots:
        root.mkdir()
    (roots[0] / "out").symlink_to(tmp_path)
    (tmp_path / "in").symlink_to(roots[1])

    with reading_only_in(roots):
        assert all(may_read(path) for path in (*roots, roots[0] / "new" / "x", tmp_path / "in" / "x"))
        for path in (tmp_path, roots[0] / "out", roots[0] / ".." / "x", roots[1] / "../c2", Path("/"), Path("c")):
            assert not may_read(path)


def test_what_held_before_holds_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "[]")

    with reading_only_in([tmp_path]):
        assert may_read(tmp_path / "x")

    assert os.environ[ENVIRONMENT] == "[]"
    assert not may_read(tmp_path / "x")
