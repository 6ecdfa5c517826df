"""Predictions, as jobs and as streams."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import CancelledError, SlideNotFoundError
from qpbridge.jobs.records import Chunk, JobError, JobState
from qpbridge.service.configuration import Limits
from qpbridge.service.places import AllowedPlaces
from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.intake import Intake
from qpbridge.service.servicers.jobs import JobEvents
from qpbridge.service.servicers.prediction import PredictionServicer
from qpbridge.v1 import job_pb2, prediction_pb2

Finish = Callable[..., Any]
REPORT = {"objects": 2, "classes": [], "region": {"x_px": 0, "y_px": 0, "width_px": 1, "height_px": 1}}


@pytest.fixture
def servicer(board: Any, places: AllowedPlaces, tmp_path: Path) -> PredictionServicer:
    intake = Intake(board, places, Limits(), ["cpu"], tmp_path)
    return PredictionServicer(board, JobEvents(board), intake, places)


@pytest.fixture
def region(root: Path) -> prediction_pb2.PredictRegionRequest:
    span = {"width_px": 1, "height_px": 1}
    return prediction_pb2.PredictRegionRequest(slide=str(root / "a.svs"), model=str(root), region=span)


async def all_of(stream: Any) -> list[Any]:
    return [answer async for answer in stream]


def test_a_prediction_is_answered_with_its_job(
    servicer: PredictionServicer, board: Any, root: Path, caller: Caller, finish: Finish
) -> None:
    asked = prediction_pb2.PredictRequest(project={"project": str(root)}, model=str(root / "m"))

    job = finish(servicer.predict(asked, caller)).job

    assert job.kind == job_pb2.JOB_KIND_PREDICT
    assert board.jobs[job.id].request["out"] == str(root / "qpbridge-results" / "m")


def test_a_region_ends_with_its_report(
    servicer: PredictionServicer, board: Any, region: Any, caller: Caller, finish: Finish
) -> None:
    board.script = [
        {"state": JobState.RUNNING},
        Chunk(payload=b"{}\n{}\n", count=2),
        {"state": JobState.SUCCEEDED, "result": REPORT},
    ]

    answers = finish(all_of(servicer.predict_region(region, caller)))

    assert [one.WhichOneof("event") for one in answers] == ["job", "job", "objects", "job", "finished"]
    assert (answers[2].objects.count, answers[-1].finished.objects) == (2, 2)
    assert board.jobs["j0"].state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (
            {"state": JobState.FAILED, "error": JobError(reason="SLIDE_NOT_FOUND", message="gone")},
            SlideNotFoundError,
        ),
        ({"state": JobState.CANCELLED}, CancelledError),
    ],
)
def test_a_region_that_does_not_end_well_ends_with_the_error_of_its_job(
    end: Any, error: type[Exception], servicer: PredictionServicer, board: Any, region: Any, finish: Finish
) -> None:
    board.script = [end]
    answers = []

    async def read() -> None:
        async for answer in servicer.predict_region(region, Caller(client="anna")):
            answers.append(answer)

    with pytest.raises(error):
        finish(read())
    assert [answer.WhichOneof("event") for answer in answers] == ["job", "job"]


def test_closing_a_region_stops_its_work(
    servicer: PredictionServicer, board: Any, region: Any, caller: Caller, finish: Finish
) -> None:
    board.script = [{"state": JobState.RUNNING}, Chunk(payload=b"{}\n", count=1)]

    async def leave() -> None:
        stream = servicer.predict_region(region, caller)
        await anext(stream)
        await stream.aclose()

    finish(leave())
    assert board.jobs["j0"].state is JobState.CANCELLED
    assert board.left == 1


def test_results_come_with_what_they_are(
    servicer: PredictionServicer, board: Any, root: Path, caller: Caller, finish: Finish
) -> None:
    (root / "a.geojson").write_bytes(b"[]")
    asked = prediction_pb2.PredictRequest(slides={"paths": [str(root / "a.svs")]}, model=str(root / "m"))

    async def work() -> list[Any]:
        job = (await servicer.predict(asked, caller)).job
        slide = {"key": "a", "name": "a.svs", "file": str(root / "a.geojson")}
        board.script = [{"state": JobState.SUCCEEDED, "result": {"slides": [slide]}}]
        await all_of(board.watch(job.id))
        return await all_of(
            servicer.get_results(prediction_pb2.GetResultsRequest(job_id=job.id, entry="a.svs"), caller)
        )

    first, second = finish(work())
    assert (first.file.name, first.file.size_bytes, second.data) == ("a.geojson", 2, b"[]")
