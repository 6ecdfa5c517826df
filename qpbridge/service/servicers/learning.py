"""Training, and judging what was trained: jobs, answered at once."""

from __future__ import annotations

from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.intake import Intake
from qpbridge.v1 import evaluation_pb2, training_pb2
from qpbridge.wire.jobs import job_message


class TrainingServicer:
    """``TrainingService``.

    Parameters
    ----------
    intake : Intake
        Takes requests in.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def train(self, request: training_pb2.TrainRequest, caller: Caller) -> training_pb2.TrainResponse:
        """Begin to train a network."""
        return training_pb2.TrainResponse(job=job_message(await self._intake.submit(request, caller)))


class EvaluationServicer:
    """``EvaluationService``.

    Parameters
    ----------
    intake : Intake
        Takes requests in.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def evaluate(
        self, request: evaluation_pb2.EvaluateRequest, caller: Caller
    ) -> evaluation_pb2.EvaluateResponse:
        """Begin to compare predictions with annotations."""
        return evaluation_pb2.EvaluateResponse(job=job_message(await self._intake.submit(request, caller)))
