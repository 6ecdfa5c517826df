from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qpbridge.core.backend import Backend
from qpbridge.errors import InvalidValueError, QupathMissingError
from qpbridge.qupath import backends
from qpbridge.qupath.backends import NO_QUPATH, open_project_with
from qpbridge.qupath.paquo_backend import installation, process, project
from qpbridge.qupath.paquo_backend.records import QuPathFacts
from qpbridge.qupath.project import open_project

FACTS = {"version": "0.5.1", "folder": "/q", "java_version": "17", "java_folder": "/q/lib/runtime"}


@pytest.fixture
def made(data_dir: Path) -> Path:
    return data_dir / "made" / "qp-0.6.0" / "project"


@pytest.fixture
def qupath(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A QuPath that starts as the list's first item says: with an error, or with so much of an area kept."""
    outcomes: list[Any] = [1.0]

    class Process:
        def start(self) -> QuPathFacts:
            outcome = outcomes[0]
            outcomes.append("started")
            if isinstance(outcome, Exception):
                raise outcome
            return QuPathFacts(**FACTS, area_kept=outcome)

        def close(self) -> None:
            outcomes.append("closed")

    def open_by_paquo(path: Path, _: Process, backend: Backend) -> Any:
        return open_project(path, backend)

    monkeypatch.setattr(backends, "_distrusted", {})
    monkeypatch.setattr(process, "QuPathProcess", Process)
    monkeypatch.setattr(project, "open_by_paquo", open_by_paquo)
    monkeypatch.setenv(installation.ENVIRONMENT, "/q")
    return outcomes


def test_auto_takes_paquo_where_a_qupath_keeps_areas(qupath, made):
    assert open_project_with("auto", made).backend == Backend(name="paquo", detail="QuPath 0.5.1 in /q on Java 17")


def test_auto_takes_native_where_there_is_no_qupath_and_says_so(made, monkeypatch):
    monkeypatch.setattr(installation, "may_be_here", lambda: False)

    assert open_project_with("auto", made).backend == Backend(name="native", detail=NO_QUPATH)


def test_auto_takes_native_where_java_loses_areas_and_warns_each_time_but_tries_once(qupath, made):
    qupath[0] = 0.17

    for _ in range(2):
        backend = open_project_with("auto", made).backend
        assert backend.name == "native"
        assert backend.warning is not None
        assert "17% of a trial outline's area" in backend.warning
        assert "so the project is read without QuPath" in backend.warning
    assert qupath[1:] == ["started", "closed"]


def test_auto_takes_native_where_the_qupath_that_was_named_does_not_start_and_warns(qupath, made):
    qupath[0] = QupathMissingError("no QuPath to work with: it does not start")

    backend = open_project_with("auto", made).backend

    assert (backend.name, backend.warning) == ("native", "no QuPath to work with: it does not start")


def test_auto_says_without_a_warning_that_there_is_none_where_nobody_named_one(qupath, made, monkeypatch):
    qupath[0] = QupathMissingError("paquo finds none")
    monkeypatch.delenv(installation.ENVIRONMENT)
    monkeypatch.setattr(installation, "may_be_here", lambda: True)

    assert open_project_with("auto", made).backend == Backend(name="native", detail="paquo finds none")


def test_paquo_is_not_replaced_where_it_was_asked_for(qupath, made):
    qupath[0] = 0.17
    backend = open_project_with("paquo", made).backend
    assert backend.name == "paquo"
    assert backend.warning is not None

    qupath[0] = QupathMissingError("none")
    with pytest.raises(QupathMissingError):
        open_project_with("paquo", made)


def test_native_asks_for_no_qupath(qupath, made):
    assert open_project_with("native", made).backend == Backend()
    assert qupath[1:] == []


def test_another_backend_is_refused(made):
    with pytest.raises(InvalidValueError, match="auto, paquo, native, not 'bioformats'"):
        open_project_with("bioformats", made)  # type: ignore[arg-type]
