"""Jobs, and what they find, as messages."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from qpbridge.errors import CancelledError
from qpbridge.jobs.records import Chunk, Job, JobError, JobPage, JobProgress, JobState
from qpbridge.v1 import job_pb2, objects_pb2
from qpbridge.wire.errors import error_of_reason
from qpbridge.wire.records import pack, unpack

_RESULTS: Final = frozenset(field.name for field in job_pb2.Job.DESCRIPTOR.oneofs_by_name["result"].fields)
"""Kinds of jobs whose results have a message."""

_TIMES: Final = ("created", "started", "finished")
_PLAIN: Final = ("id", "kind", "title", "client", "device", "state", "warnings")


def job_message(job: Job) -> job_pb2.Job:
    """Return the message of a job; its request stays on the server.

    Raises
    ------
    InvalidValueError
        If kind or result are none that messages know.
    """
    values: dict[str, Any] = {name: getattr(job, name) for name in _PLAIN}
    values |= {name: _text(getattr(job, name)) for name in _TIMES}
    values["progress"] = None if job.progress is None else asdict(job.progress)
    values["error"] = None if job.error is None else asdict(job.error)
    if job.result is not None and job.kind in _RESULTS:
        values[job.kind] = job.result
    return pack(job_pb2.Job, values)


def job_of(message: job_pb2.Job) -> Job:
    """Return the job of a message, without its request; its result is the JSON that the workflow gave.

    Raises
    ------
    InvalidValueError
        If kind or state are none that this version knows.
    """
    values = unpack(message)
    results = {name: values.pop(name) for name in _RESULTS}
    values |= {name: _moment(values[name]) for name in _TIMES}
    values["state"] = JobState(values["state"])
    values["warnings"] = tuple(values["warnings"])
    values["progress"] = _record(JobProgress, values["progress"])
    values["error"] = _record(JobError, values["error"])
    return Job(**values, result=results.get(values["kind"]))


def ended_well(job: Job) -> Job:
    """Return a job that ended with a result, be it in part.

    Raises
    ------
    QpbridgeError
        What the job failed of, as if it had run in this process; ``CancelledError`` where somebody stopped it.
    """
    if job.state is JobState.CANCELLED:
        raise CancelledError(f"job {job.id} was cancelled; ask for it again if that was not meant")
    if job.error is not None:
        raise error_of_reason(job.error.reason, job.error.message)
    return job


def page_message(page: JobPage) -> job_pb2.ListJobsResponse:
    """Return the message of a page of jobs."""
    return job_pb2.ListJobsResponse(jobs=map(job_message, page.jobs), next_page_token=page.next_page_token)


def chunk_message(chunk: Chunk) -> objects_pb2.ObjectChunk:
    """Return the message of a part of what a job found."""
    return objects_pb2.ObjectChunk(features=chunk.payload, count=chunk.count)


def event_message(event: Job | Chunk) -> job_pb2.WatchJobResponse:
    """Return the message of what a watcher of a job is told."""
    if isinstance(event, Job):
        return job_pb2.WatchJobResponse(job=job_message(event))
    return job_pb2.WatchJobResponse(objects=chunk_message(event))


def event_of(message: job_pb2.WatchJobResponse) -> Job | Chunk:
    """Return what a watcher of a job is told by a message."""
    if message.WhichOneof("event") == "job":
        return job_of(message.job)
    return Chunk(payload=message.objects.features, count=message.objects.count)


def _record(kind: Any, values: Mapping[str, Any] | None) -> Any:
    return None if values is None else kind(**values)


def _text(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime.datetime | None:
    return None if text is None else datetime.datetime.fromisoformat(text)
