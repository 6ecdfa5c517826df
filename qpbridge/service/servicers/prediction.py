"""Predictions: as jobs, as a stream of objects, and the files that they left."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from qpbridge.jobs.board import JobBoard
from qpbridge.jobs.records import Job
from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.intake import Intake
from qpbridge.service.servicers.jobs import JobEvents
from qpbridge.service.servicers.results import find_file, parts_of
from qpbridge.v1 import prediction_pb2
from qpbridge.wire.jobs import ended_well, job_message
from qpbridge.wire.requests import Places


class PredictionServicer:
    """``PredictionService``.

    Parameters
    ----------
    board : JobBoard
        Knows the jobs.
    events : JobEvents
        Of the same board.
    intake : Intake
        Takes requests in.
    places : Places
        Where files may be read.
    """

    def __init__(self, board: JobBoard, events: JobEvents, intake: Intake, places: Places) -> None:
        self._board = board
        self._events = events
        self._intake = intake
        self._places = places

    async def predict(self, request: prediction_pb2.PredictRequest, caller: Caller) -> prediction_pb2.PredictResponse:
        """Begin to predict slides."""
        return prediction_pb2.PredictResponse(job=job_message(await self._intake.submit(request, caller)))

    async def predict_region(
        self, request: prediction_pb2.PredictRegionRequest, caller: Caller
    ) -> AsyncGenerator[prediction_pb2.PredictRegionResponse, None]:
        """Yield the job, the objects of a region as they come, and the report; closing this stops the work."""
        async with self._intake.attended(request, caller) as job:
            last = job
            async with contextlib.aclosing(self._events.watch(job.id)) as events:
                async for event in events:
                    last = event if isinstance(event, Job) else last
                    told = self._events.message(event)
                    yield (
                        prediction_pb2.PredictRegionResponse(job=told.job)
                        if isinstance(event, Job)
                        else prediction_pb2.PredictRegionResponse(objects=told.objects)
                    )
            yield prediction_pb2.PredictRegionResponse(finished=job_message(ended_well(last)).predict_region)

    async def get_results(
        self, request: prediction_pb2.GetResultsRequest, _: Caller
    ) -> AsyncGenerator[prediction_pb2.GetResultsResponse, None]:
        """Yield what a file of results is, then its content."""
        path = find_file(await self._board.get(request.job_id), request.entry)
        async with contextlib.aclosing(parts_of(path, self._places)) as parts:
            async for part in parts:
                yield part
