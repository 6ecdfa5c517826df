"""Requests on their way to the board."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import InvalidValueError, TooLargeError
from qpbridge.jobs.records import JobState
from qpbridge.service.configuration import Limits
from qpbridge.service.places import AllowedPlaces
from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.intake import Intake
from qpbridge.v1 import evaluation_pb2, prediction_pb2, project_pb2, training_pb2

Finish = Callable[..., Any]


@pytest.fixture
def make_intake(board: Any, places: AllowedPlaces, tmp_path: Path) -> Callable[..., Intake]:
    def make(*devices: str, **limits: int) -> Intake:
        return Intake(board, places, Limits(**limits), devices or ("cuda:0", "cuda:1"), tmp_path)

    return make


def training(root: Path, **changes: Any) -> training_pb2.TrainRequest:
    return training_pb2.TrainRequest(project=str(root / "skin"), out="m", family="dmmn", **changes)


def test_a_request_becomes_a_job_with_device_title_and_client(
    make_intake: Callable[..., Intake], board: Any, root: Path, caller: Caller, finish: Finish, tmp_path: Path
) -> None:
    job = finish(make_intake().submit(training(root, seed=3), caller))

    assert (job.kind, job.title, job.client, job.device) == ("train", "skin", "anna", "cuda")
    assert job.request["seed"] == 3
    assert job.request["out"] == str(tmp_path / "state" / "models" / "m")
    assert board.options["is_resumable"]


@pytest.mark.parametrize(
    ("devices", "wanted", "expected"),
    [
        (("cuda:0", "cpu"), "", "cuda"),
        (("cuda:0", "cpu"), "auto", "cuda"),
        (("cuda:0", "cpu"), "cpu", "cpu"),
        (("cuda:0", "cuda:1"), "cuda:1", "cuda:1"),
        (("cpu", "cpu"), "auto", "cpu"),
    ],
)
def test_auto_means_the_first_kind_of_device(
    devices: tuple[str, ...], wanted: str, expected: str, make_intake: Callable[..., Intake], root: Path
) -> None:
    assert make_intake(*devices).order(training(root, device=wanted)).device == expected


@pytest.mark.parametrize("wanted", ["files", "cuda:7", "mps", "nonsense"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(
    wanted: str, make_intake: Callable[..., Intake], root: Path
) -> None:
    with pytest.raises(InvalidValueError, match="auto, cuda:0, cuda:1"):
        make_intake().order(training(root, device=wanted))


def test_what_needs_no_device_goes_to_its_own_worker_and_is_not_resumed_if_somebody_waits(
    make_intake: Callable[..., Intake], board: Any, root: Path, caller: Caller, finish: Finish
) -> None:
    inspection = project_pb2.InspectProjectRequest(project=str(root))
    export = project_pb2.ExportProjectRequest(project=str(root), out=str(root / "out"))

    assert finish(make_intake().submit(inspection, caller)).device == "files"
    assert not board.options["is_resumable"]
    assert finish(make_intake().submit(export, caller)).device == "files"
    assert board.options["is_resumable"]


def test_limits_hold_before_there_is_a_job(
    make_intake: Callable[..., Intake], board: Any, root: Path, caller: Caller, finish: Finish
) -> None:
    given = [{"entry": str(number), "geojson": b'{"type": "Feature"}'} for number in range(3)]

    with pytest.raises(TooLargeError, match="3 objects"):
        finish(make_intake(objects_max=2).submit(training(root, annotations=given), caller))
    assert not board.jobs


def test_the_file_of_an_evaluation_is_a_json_file(make_intake: Callable[..., Intake], root: Path) -> None:
    def asked(out: str) -> evaluation_pb2.EvaluateRequest:
        return evaluation_pb2.EvaluateRequest(project=str(root), predictions=str(root), out=str(root / out))

    assert make_intake().order(asked("scores.json")).request["out"] == str(root / "scores.json")
    with pytest.raises(InvalidValueError, match=r"does not end in \.json"):
        make_intake().order(asked("a.svs"))


def region(root: Path) -> prediction_pb2.PredictRegionRequest:
    span = {"width_px": 1, "height_px": 1}
    return prediction_pb2.PredictRegionRequest(slide=str(root / "a"), model=str(root), region=span)


def test_work_that_somebody_waited_for_is_stopped_when_they_go(
    make_intake: Callable[..., Intake], board: Any, root: Path, caller: Caller, finish: Finish
) -> None:
    async def wait(begun: asyncio.Event) -> None:
        async with make_intake().attended(region(root), caller):
            begun.set()
            await asyncio.Event().wait()

    async def go_away() -> None:
        begun = asyncio.Event()
        waiting = asyncio.create_task(wait(begun))
        await begun.wait()
        waiting.cancel()
        await asyncio.wait([waiting])

    finish(go_away())
    assert board.jobs["j0"].state is JobState.CANCELLED


def test_who_goes_before_the_job_is_there_leaves_none_behind(
    make_intake: Callable[..., Intake], board: Any, root: Path, caller: Caller, finish: Finish
) -> None:
    async def go_away() -> None:
        board.delay = asyncio.Event()
        waiting = asyncio.create_task(anext_of(make_intake().attended(region(root), caller)))
        await asyncio.sleep(0.05)
        waiting.cancel()
        board.delay.set()
        await asyncio.wait([waiting])

    finish(go_away())
    assert board.jobs["j0"].state is JobState.CANCELLED


async def anext_of(attended: Any) -> None:
    async with attended:
        await asyncio.Event().wait()


def test_a_request_that_is_refused_stops_nothing(
    make_intake: Callable[..., Intake], board: Any, root: Path, caller: Caller, finish: Finish
) -> None:
    with pytest.raises(InvalidValueError):
        finish(anext_of(make_intake().attended(prediction_pb2.PredictRegionRequest(slide=str(root / "a")), caller)))
    assert board.cancelled == []
