from dataclasses import replace
from pathlib import Path

import pytest

from qpbridge.client import calls
from qpbridge.core.geometry import Region
from qpbridge.jobs.records import JobState
from qpbridge.v1 import job_pb2, project_pb2
from qpbridge.workflows.kinds import Request
from qpbridge.workflows.requests import (
    EvaluateRequest,
    ExportModelRequest,
    ExportRequest,
    InspectRequest,
    PredictRegionRequest,
    PredictRequest,
    TrainRequest,
)

PROJECT, MODEL = Path("/p/project.qpproj"), Path("/m")


class Channel:
    """Makes a method that is its path."""

    def unary_unary(self, path: str, **_: object) -> str:
        return path

    unary_stream = unary_unary


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (TrainRequest(project=PROJECT, out=MODEL, family="dmmn"), "TrainingService/Train"),
        (PredictRequest(inputs=(PROJECT,), model=MODEL, out=Path("/o")), "PredictionService/Predict"),
        (EvaluateRequest(project=PROJECT, model=MODEL), "EvaluationService/Evaluate"),
        (ExportRequest(project=PROJECT, out=Path("/o")), "ProjectService/ExportProject"),
        (ExportModelRequest(model=MODEL, out=Path("/o.onnx")), "ModelService/ExportModel"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_long_work_goes_to_its_service(request_: Request, path: str) -> None:
    assert calls.submit(request_).on(Channel()) == f"/qpbridge.v1.{path}"


def test_what_is_no_job_goes_to_its_service_too() -> None:
    region = PredictRegionRequest(
        input=Path("/a.svs"), model=MODEL, region=Region(x_px=0, y_px=0, width_px=8, height_px=8)
    )
    told = [
        (calls.inspect(InspectRequest(project=PROJECT)), "ProjectService/InspectProject"),
        (calls.predict_region(region), "PredictionService/PredictRegion"),
        (calls.server(), "ServerService/GetServer"),
        (calls.job("7"), "JobService/GetJob"),
        (calls.cancel("7"), "JobService/CancelJob"),
        (calls.watch("7"), "JobService/WatchJob"),
        (calls.results("7", "1"), "PredictionService/GetResults"),
        (calls.model("skin"), "ModelService/GetModel"),
        (calls.models()(""), "ModelService/ListModels"),
        (calls.families()(""), "ModelService/ListFamilies"),
        (calls.entries("/p")(""), "ProjectService/ListEntries"),
        (calls.classes("/p")(""), "ProjectService/ListClasses"),
        (calls.jobs((), ())(""), "JobService/ListJobs"),
    ]

    assert [call.on(Channel()) for call, _ in told] == [f"/qpbridge.v1.{path}" for _, path in told]


def test_a_list_is_asked_for_page_by_page_with_the_same_conditions() -> None:
    paged = calls.jobs([JobState.FAILED, JobState.CANCELLED], ["train"])

    first, second = paged("").message, paged("more").message

    assert isinstance(first, job_pb2.ListJobsRequest)
    assert isinstance(second, job_pb2.ListJobsRequest)
    assert list(first.states) == [job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED]
    assert list(first.kinds) == [job_pb2.JOB_KIND_TRAIN]
    assert (first.page_token, second.page_token) == ("", "more")
    assert second.states == first.states


def test_a_page_is_read_with_the_token_of_the_next() -> None:
    answer = project_pb2.ListEntriesResponse(entries=[{"id": "1", "name": "a.svs"}], next_page_token="more")

    page = calls.entries("/p")("").read(answer)

    assert [(one["id"], one["name"]) for one in page.items] == [("1", "a.svs")]
    assert page.next_page_token == "more"


def test_the_request_travels_whole() -> None:
    request = TrainRequest(project=PROJECT, out=MODEL, family="dmmn", settings={"epochs": "3"}, seed=4)

    messages = [calls.submit(one).message for one in (request, replace(request, seed=5))]

    assert "epochs" in str(messages[0])
    assert messages[0] != messages[1]
