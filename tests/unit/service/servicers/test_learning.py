"""Training and evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.service.configuration import Limits
from qpbridge.service.places import AllowedPlaces
from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.intake import Intake
from qpbridge.service.servicers.learning import EvaluationServicer, TrainingServicer
from qpbridge.v1 import evaluation_pb2, job_pb2, training_pb2


@pytest.fixture
def intake(board: Any, places: AllowedPlaces, tmp_path: Path) -> Intake:
    return Intake(board, places, Limits(), ["cpu"], tmp_path)


def test_training_is_answered_with_its_job(
    intake: Intake, board: Any, root: Path, caller: Caller, finish: Callable[..., Any]
) -> None:
    asked = training_pb2.TrainRequest(project=str(root), out="m", family="dmmn", settings={"epochs": "3"})

    job = finish(TrainingServicer(intake).train(asked, caller)).job

    assert (job.kind, job.state) == (job_pb2.JOB_KIND_TRAIN, job_pb2.JOB_STATE_QUEUED)
    assert board.jobs[job.id].request["settings"] == {"epochs": "3"}


def test_evaluation_is_answered_with_its_job(
    intake: Intake, board: Any, root: Path, caller: Caller, finish: Callable[..., Any]
) -> None:
    asked = evaluation_pb2.EvaluateRequest(project=str(root), predictions=str(root / "out"))

    job = finish(EvaluationServicer(intake).evaluate(asked, caller)).job

    assert job.kind == job_pb2.JOB_KIND_EVALUATE
    assert board.jobs[job.id].request["predictions"] == str(root / "out")
