from __future__ import annotations

from pathlib import Path

import pytest

from qpbridge.qupath.paquo_backend import installation
from qpbridge.qupath.paquo_backend.installation import ENVIRONMENT, may_be_here, told_folder


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which nothing speaks for a QuPath."""
    for name in (ENVIRONMENT, "CONDA_PREFIX", "PAQUO_QUPATH_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    searched = {"qupath_search_dirs": [str(tmp_path / "opt")], "qupath_search_dir_regex": "(?i)qupath.*"}
    monkeypatch.setattr(installation, "_defaults", lambda: searched)
    return tmp_path


def test_without_a_sign_of_a_qupath_there_is_none(bare):
    (bare / "opt").mkdir()
    (bare / "opt" / "ImageJ").mkdir()
    (bare / "opt" / "qupath.txt").touch()

    assert not may_be_here()
    assert told_folder() is None


@pytest.mark.parametrize("name", [ENVIRONMENT, "CONDA_PREFIX", "PAQUO_QUPATH_DIR"])
def test_the_environment_may_speak_for_one(bare, monkeypatch, name):
    monkeypatch.setenv(name, "/somewhere")

    assert may_be_here()
    assert told_folder() == ("/somewhere" if name == ENVIRONMENT else None)


def test_a_configuration_of_paquo_may_speak_for_one(bare, monkeypatch):
    (bare / ".paquo.toml").touch()
    (bare / "deeper").mkdir()
    monkeypatch.chdir(bare / "deeper")

    assert may_be_here()


def test_a_folder_called_like_qupath_where_paquo_looks_may_be_one(bare):
    (bare / "opt" / "QuPath-0.6.0").mkdir(parents=True)

    assert may_be_here()


def test_the_places_where_paquo_looks_are_those_of_its_own_configuration():
    assert "/opt" in installation._defaults()["qupath_search_dirs"]
