"""Answers about jobs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import InvalidValueError, JobNotFoundError, NothingToUndoError, PathRefusedError
from qpbridge.jobs.records import Chunk, JobProgress, JobState
from qpbridge.service.configuration import Limits
from qpbridge.service.places import AllowedPlaces
from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.intake import Intake
from qpbridge.service.servicers.jobs import MESSAGES_KEPT, JobEvents, JobServicer
from qpbridge.v1 import job_pb2

Finish = Callable[..., Any]
OPTIONS = {"client": "anna", "device": "cpu", "title": "skin"}


@pytest.fixture
def intake(board: Any, places: AllowedPlaces, tmp_path: Path) -> Intake:
    return Intake(board, places, Limits(), ["cpu"], tmp_path)


@pytest.fixture
def servicer(board: Any, intake: Intake) -> JobServicer:
    return JobServicer(board, JobEvents(board), intake)


def test_jobs_are_returned_listed_and_stopped(
    servicer: JobServicer, board: Any, caller: Caller, finish: Finish
) -> None:
    async def work() -> None:
        for kind in ("train", "predict"):
            await board.submit(kind, {}, **OPTIONS)
        job = (await servicer.get_job(job_pb2.GetJobRequest(job_id="j1"), caller)).job
        assert (job.kind, job.title, job.client) == (job_pb2.JOB_KIND_PREDICT, "skin", "anna")
        stopped = (await servicer.cancel_job(job_pb2.CancelJobRequest(job_id="j0"), caller)).job
        assert stopped.state == job_pb2.JOB_STATE_CANCELLED
        asked = job_pb2.ListJobsRequest(
            states=[job_pb2.JOB_STATE_QUEUED], kinds=[job_pb2.JOB_KIND_PREDICT], page_token="next"
        )
        page = await servicer.list_jobs(asked, caller)
        assert ([one.id for one in page.jobs], page.next_page_token) == (["j1"], "next")
        with pytest.raises(JobNotFoundError):
            await servicer.get_job(job_pb2.GetJobRequest(job_id="j7"), caller)

    finish(work())


def test_a_state_that_this_version_does_not_know_is_refused(
    servicer: JobServicer, caller: Caller, finish: Finish
) -> None:
    with pytest.raises(InvalidValueError, match="JobState has no value 99"):
        finish(servicer.list_jobs(job_pb2.ListJobsRequest(states=[99]), caller))


def test_watching_yields_states_and_objects_and_leaves_when_closed(
    servicer: JobServicer, board: Any, caller: Caller, finish: Finish
) -> None:
    board.script = [
        {"state": JobState.RUNNING, "progress": JobProgress(stage="region", done=1, total=2)},
        Chunk(payload=b"{}\n", count=1),
        {"state": JobState.CANCELLED},
    ]

    async def work() -> None:
        await board.submit("predict_region", {}, **OPTIONS)
        asked = job_pb2.WatchJobRequest(job_id="j0")
        events = [event async for event in servicer.watch_job(asked, caller)]
        assert [event.WhichOneof("event") for event in events] == ["job", "job", "objects", "job"]
        assert events[1].job.progress.stage == "region"
        assert events[2].objects.features == b"{}\n"

        watching = servicer.watch_job(asked, caller)
        await anext(watching)
        await watching.aclose()
        assert board.left == 2

    finish(work())


def test_what_many_watch_becomes_a_message_once(board: Any, finish: Finish) -> None:
    events = JobEvents(board)
    jobs = [finish(board.submit("train", {}, **OPTIONS)) for _ in range(MESSAGES_KEPT + 1)]

    first = events.message(jobs[0])

    assert events.message(jobs[0]) is first
    for job in jobs[1:]:
        assert events.message(job).job.id == job.id
    assert events.message(jobs[0]) is not first
    assert events.message(jobs[0]) == first


def test_a_prediction_is_undone_where_it_wrote_its_results(
    servicer: JobServicer, board: Any, caller: Caller, finish: Finish, root: Path
) -> None:
    async def work() -> None:
        await board.submit("predict", {"out": str(root / "out")}, **OPTIONS)
        with pytest.raises(NothingToUndoError, match="job 'j0' is queued"):
            await servicer.undo_job(job_pb2.UndoJobRequest(job_id="j0"), caller)
        await board.cancel("j0")

        answer = await servicer.undo_job(job_pb2.UndoJobRequest(job_id="j0"), caller)

        assert (answer.job.kind, answer.job.title) == (job_pb2.JOB_KIND_UNDO, "job j0")
        assert board.jobs["j1"].request == {"job_id": "j0", "out": str(root / "out")}

    finish(work())


def test_only_predictions_in_the_roots_are_undone(
    servicer: JobServicer, board: Any, caller: Caller, finish: Finish, tmp_path: Path
) -> None:
    async def work() -> None:
        await board.submit("train", {"out": "/m"}, **OPTIONS)
        with pytest.raises(InvalidValueError, match="only a prediction can be undone"):
            await servicer.undo_job(job_pb2.UndoJobRequest(job_id="j0"), caller)
        with pytest.raises(PathRefusedError):
            await servicer.undo_job(job_pb2.UndoJobRequest(job_id="j0", out=str(tmp_path / "else")), caller)

    finish(work())
