"""Jobs: how they stand, and that they stop."""

from __future__ import annotations

import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator
from typing import Final, cast

from qpbridge.jobs.board import JobBoard
from qpbridge.jobs.records import Chunk, Job, JobState
from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.intake import Intake
from qpbridge.v1 import job_pb2
from qpbridge.wire.jobs import event_message, job_message, page_message
from qpbridge.wire.records import unpack
from qpbridge.workflows.entries.naming import results_folder

LOG: Final = logging.getLogger(__name__)

MESSAGES_KEPT: Final = 64
"""States of jobs whose messages are kept for others who watch."""


class JobEvents:
    """What those who watch jobs are told; a state that many watch becomes a message once."""

    def __init__(self, board: JobBoard) -> None:
        self._board = board
        # By identity: all who watch get the same object, and comparing two of them costs more than the message.
        self._messages: OrderedDict[int, tuple[Job, job_pb2.WatchJobResponse]] = OrderedDict()

    async def watch(self, job_id: str) -> AsyncGenerator[Job | Chunk, None]:
        """Yield what ``JobBoard.watch`` does; leaves the audience where it is closed."""
        events = cast("AsyncGenerator[Job | Chunk, None]", self._board.watch(job_id))
        async with contextlib.aclosing(events):
            async for event in events:
                yield event

    def message(self, event: Job | Chunk) -> job_pb2.WatchJobResponse:
        """Return the message of an event."""
        if isinstance(event, Chunk):
            return event_message(event)
        known = self._messages.get(id(event))
        if known is not None:
            return known[1]
        message = event_message(event)
        # The job is kept as long as its message, so that no other takes its identity.
        self._messages[id(event)] = event, message
        if len(self._messages) > MESSAGES_KEPT:
            self._messages.popitem(last=False)
        return message


class JobServicer:
    """``JobService``.

    Parameters
    ----------
    board : JobBoard
        Knows the jobs.
    events : JobEvents
        Of the same board.
    intake : Intake
        Takes requests in.
    """

    def __init__(self, board: JobBoard, events: JobEvents, intake: Intake) -> None:
        self._board = board
        self._events = events
        self._intake = intake

    async def get_job(self, request: job_pb2.GetJobRequest, _: Caller) -> job_pb2.GetJobResponse:
        """Return a job as it stands."""
        return job_pb2.GetJobResponse(job=job_message(await self._board.get(request.job_id)))

    async def list_jobs(self, request: job_pb2.ListJobsRequest, _: Caller) -> job_pb2.ListJobsResponse:
        """Return a page of jobs."""
        asked = unpack(request)
        states = [JobState(state) for state in asked["states"] if state is not None]
        kinds = [kind for kind in asked["kinds"] if kind is not None]
        return page_message(await self._board.list(asked["page_size"], asked["page_token"], states, kinds))

    async def watch_job(
        self, request: job_pb2.WatchJobRequest, _: Caller
    ) -> AsyncGenerator[job_pb2.WatchJobResponse, None]:
        """Yield a job as it stands, then every change."""
        async with contextlib.aclosing(self._events.watch(request.job_id)) as events:
            async for event in events:
                yield self._events.message(event)

    async def cancel_job(self, request: job_pb2.CancelJobRequest, caller: Caller) -> job_pb2.CancelJobResponse:
        """Stop a job."""
        job = await self._board.cancel(request.job_id)
        LOG.info("job stopped", extra={"job": job.id, "state": job.state.value, "client": caller.client})
        return job_pb2.CancelJobResponse(job=job_message(job))

    async def undo_job(self, request: job_pb2.UndoJobRequest, caller: Caller) -> job_pb2.UndoJobResponse:
        """Begin to take a prediction back."""
        asked = job_pb2.UndoJobRequest()
        asked.CopyFrom(request)
        if not request.HasField("out"):
            asked.out = str(results_folder(await self._board.get(request.job_id)))
        return job_pb2.UndoJobResponse(job=job_message(await self._intake.submit(asked, caller)))
