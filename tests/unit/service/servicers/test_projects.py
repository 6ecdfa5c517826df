"""Answers about projects."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import PathRefusedError, ProjectNotFoundError, SlideNotFoundError
from qpbridge.jobs.records import JobError, JobState
from qpbridge.qupath.project import open_project
from qpbridge.service.configuration import Limits
from qpbridge.service.places import AllowedPlaces
from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.intake import Intake
from qpbridge.service.servicers.jobs import JobEvents
from qpbridge.service.servicers.projects import ProjectServicer
from qpbridge.v1 import job_pb2, project_pb2

Finish = Callable[..., Any]


@pytest.fixture
def project(data_dir: Path) -> Path:
    return next((data_dir / "made" / "qp-0.6.0").rglob("*.qpproj"))


@pytest.fixture
def servicer(board: Any, data_dir: Path, root: Path, tmp_path: Path) -> ProjectServicer:
    places = AllowedPlaces([root, data_dir], [tmp_path / "models"], tmp_path / "state")
    return ProjectServicer(JobEvents(board), Intake(board, places, Limits(), ["cpu"], tmp_path), places)


def test_entries_come_in_the_projects_order(
    servicer: ProjectServicer, project: Path, caller: Caller, finish: Finish
) -> None:
    expected = open_project(project).entries
    asked = project_pb2.ListEntriesRequest(project=str(project))

    answer = finish(servicer.list_entries(asked, caller))
    first = finish(servicer.list_entries(project_pb2.ListEntriesRequest(project=str(project), page_size=1), caller))

    assert [(one.id, one.name, one.has_data) for one in answer.entries] == [
        (one.id, one.name, one.has_data) for one in expected
    ]
    assert [dict(one.metadata) for one in answer.entries] == [dict(one.metadata) for one in expected]
    assert (len(first.entries), first.total_size, answer.total_size) == (1, len(expected), len(expected))
    assert first.next_page_token
    assert not answer.next_page_token


def test_classes_come_with_their_colors(
    servicer: ProjectServicer, project: Path, caller: Caller, finish: Finish
) -> None:
    expected = open_project(project).classes

    answer = finish(servicer.list_classes(project_pb2.ListClassesRequest(project=str(project)), caller))

    assert [(one.name, one.color_rgb.red, one.is_ignored) for one in answer.classes] == [
        (one.name, one.color_rgb[0], one.is_ignored) for one in expected
    ]
    assert any(one.is_ignored for one in answer.classes)


def test_what_is_no_project_or_elsewhere_is_told(
    servicer: ProjectServicer, root: Path, caller: Caller, finish: Finish
) -> None:
    for path, error in ((root, ProjectNotFoundError), (Path("/etc"), PathRefusedError)):
        with pytest.raises(error):
            finish(servicer.list_entries(project_pb2.ListEntriesRequest(project=str(path)), caller))


def test_an_inspection_waits_for_its_report(
    servicer: ProjectServicer, board: Any, root: Path, caller: Caller, finish: Finish
) -> None:
    board.script = [
        {"state": JobState.RUNNING},
        {"state": JobState.SUCCEEDED, "result": {"project": "/p", "entries": []}},
    ]

    answer = finish(servicer.inspect_project(project_pb2.InspectProjectRequest(project=str(root)), caller))

    assert answer.report.project == "/p"
    assert board.jobs["j0"].kind == "inspect"


def test_an_inspection_that_fails_raises_the_error_of_its_job(
    servicer: ProjectServicer, board: Any, root: Path, caller: Caller, finish: Finish
) -> None:
    board.script = [{"state": JobState.FAILED, "error": JobError(reason="SLIDE_NOT_FOUND", message="gone")}]

    with pytest.raises(SlideNotFoundError, match="gone"):
        finish(servicer.inspect_project(project_pb2.InspectProjectRequest(project=str(root)), caller))


def test_an_inspection_that_nobody_waits_for_is_stopped(
    servicer: ProjectServicer, board: Any, root: Path, caller: Caller, finish: Finish
) -> None:
    async def go_away() -> None:
        board.script = [asyncio.Event()]
        asked = project_pb2.InspectProjectRequest(project=str(root))
        waiting = asyncio.create_task(servicer.inspect_project(asked, caller))
        while not board.jobs:
            await asyncio.sleep(0.001)
        waiting.cancel()
        await asyncio.wait([waiting])

    finish(go_away())
    assert board.jobs["j0"].state is JobState.CANCELLED


def test_an_export_is_answered_with_its_job(
    servicer: ProjectServicer, board: Any, root: Path, caller: Caller, finish: Finish
) -> None:
    asked = project_pb2.ExportProjectRequest(project=str(root), out=str(root / "out"), gzip=True)

    job = finish(servicer.export_project(asked, caller)).job

    assert job.kind == job_pb2.JOB_KIND_EXPORT
    assert board.jobs[job.id].request["gzip"] is True
