"""A server that answers what a test tells it to."""
# ruff: noqa: N802 - gRPC names the methods

import contextlib
import datetime
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from qpbridge import __version__
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, JobNotFoundError, QpbridgeError, TokenRefusedError
from qpbridge.jobs.records import Chunk, Job, JobState
from qpbridge.v1 import (
    job_pb2,
    job_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    prediction_pb2,
    prediction_pb2_grpc,
    project_pb2,
    project_pb2_grpc,
    reports_pb2,
    server_pb2,
    server_pb2_grpc,
    training_pb2,
    training_pb2_grpc,
)
from qpbridge.wire.discovery import Discovery, write_discovery
from qpbridge.wire.errors import call_status
from qpbridge.wire.jobs import chunk_message, event_message, job_message

TOKEN = "right"
STAYING = {"WatchJob", "PredictRegion", "InspectProject"}
LONG_S = 20.0
"""Ends a test that hangs."""


def job(state: JobState = JobState.RUNNING, **changes: Any) -> Job:
    values: dict[str, Any] = {"kind": "train", "title": "skin", "client": "ann", "device": "cpu"} | changes
    return Job(id="7", state=state, created=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), **values)


def feature(number: int) -> bytes:
    """Return an object of which the last digit of the id is a number, as one line."""
    return (
        b'{"type":"Feature","id":"5f0b4b0e-8f6c-5d0a-9a55-6a1f5c9d2e7%d","geometry":{"type":"Polygon","coordinates":'
        b'[[[0,0],[9,0],[9,9],[0,9],[0,0]]]},"properties":{"objectType":"annotation","classification":'
        b'{"name":"Tumor","color":[200,0,0]}}}' % number
    )


TRAINED = {"bundle": "/m", "digest": "f00d", "classes": ["Tumor", "Stroma"], "mean_iou": 0.5, "device": "cpu"}


class Watching(SilentProgress):
    """Remembers what it is told, and asks to stop from a stage on."""

    def __init__(self, stop_at: str = "nowhere") -> None:
        super().__init__()
        self.reports: list[tuple[str, int, int, dict[str, float]]] = []
        self._stop_at = stop_at

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        self.reports.append((stage, done, total, numbers))

    def raise_if_cancelled(self) -> None:
        if any(stage == self._stop_at for stage, *_ in self.reports):
            raise CancelledError("stopped on request")


@dataclass
class Script:
    """What the server answers."""

    version: str = __version__
    message_bytes_max: int = 2**20
    job: Job = field(default_factory=lambda: job(JobState.SUCCEEDED, result=TRAINED))
    events: list[Job | Chunk] = field(default_factory=list)
    region: list[Any] = field(default_factory=list)
    files: dict[str, list[Any]] = field(default_factory=dict)
    error: QpbridgeError | None = None
    waits: bool = False
    """Whether streams stay open at their end."""

    asked: list[tuple[str, Any, dict[str, Any]]] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    def note(self, name: str, message: Any, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        self.asked.append((name, message, metadata))
        if metadata.get("authorization") != f"Bearer {TOKEN}":
            refuse(context, TokenRefusedError("no token"))
        if self.waits and name in STAYING and not context.add_callback(self.let_go.set):
            self.let_go.set()
        if self.error is not None and name != "GetServer":
            refuse(context, self.error)

    def names(self) -> list[str]:
        return [name for name, *_ in self.asked]

    def stay(self) -> None:
        """Keep a stream open until the client ends it."""
        if self.waits:
            self.let_go.wait(LONG_S)


def refuse(context: Any, error: QpbridgeError) -> None:
    status = call_status(error)
    context.set_trailing_metadata(status.trailing_metadata)
    context.abort(status.code, status.details)


class Servicer(
    server_pb2_grpc.ServerServiceServicer,
    job_pb2_grpc.JobServiceServicer,
    training_pb2_grpc.TrainingServiceServicer,
    prediction_pb2_grpc.PredictionServiceServicer,
    project_pb2_grpc.ProjectServiceServicer,
    model_pb2_grpc.ModelServiceServicer,
):
    def __init__(self, script: Script) -> None:
        self.script = script

    def GetServer(self, request: Any, context: Any) -> Any:
        self.script.note("GetServer", request, context)
        limits = server_pb2.Limits(message_bytes_max=self.script.message_bytes_max)
        server = server_pb2.Server(version=self.script.version, devices=["cpu"], roots=["/data"], limits=limits)
        return server_pb2.GetServerResponse(server=server)

    def Train(self, request: Any, context: Any) -> Any:
        self.script.note("Train", request, context)
        return training_pb2.TrainResponse(job=job_message(job(JobState.QUEUED)))

    def Predict(self, request: Any, context: Any) -> Any:
        self.script.note("Predict", request, context)
        return prediction_pb2.PredictResponse(job=job_message(job(JobState.QUEUED, kind="predict")))

    def GetJob(self, request: Any, context: Any) -> Any:
        self.script.note("GetJob", request, context)
        if request.job_id != self.script.job.id:
            refuse(context, JobNotFoundError(f"no job '{request.job_id}'"))
        return job_pb2.GetJobResponse(job=job_message(self.script.job))

    def CancelJob(self, request: Any, context: Any) -> Any:
        self.script.note("CancelJob", request, context)
        self.script.job = job(JobState.CANCELLED)
        return job_pb2.CancelJobResponse(job=job_message(self.script.job))

    def ListJobs(self, request: Any, context: Any) -> Any:
        self.script.note("ListJobs", request, context)
        if not request.page_token:
            return job_pb2.ListJobsResponse(jobs=[job_message(job())] * 2, next_page_token="more")
        return job_pb2.ListJobsResponse(jobs=[job_message(job(JobState.CANCELLED))])

    def WatchJob(self, request: Any, context: Any) -> Iterator[Any]:
        self.script.note("WatchJob", request, context)
        yield from map(event_message, self.script.events)
        self.script.stay()

    def PredictRegion(self, request: Any, context: Any) -> Iterator[Any]:
        self.script.note("PredictRegion", request, context)
        for event in self.script.region:
            if isinstance(event, QpbridgeError):
                refuse(context, event)
            yield region_message(event)
        self.script.stay()

    def GetResults(self, request: Any, context: Any) -> Iterator[Any]:
        self.script.note("GetResults", request, context)
        for part in self.script.files[request.entry]:
            if isinstance(part, bytes):
                yield prediction_pb2.GetResultsResponse(data=part)
            else:
                name, size = part
                yield prediction_pb2.GetResultsResponse(file={"name": name, "size_bytes": size})

    def InspectProject(self, request: Any, context: Any) -> Any:
        self.script.note("InspectProject", request, context)
        self.script.stay()
        return project_pb2.InspectProjectResponse(
            report=reports_pb2.InspectReport(project=request.project, qupath_version="0.6.0")
        )

    def ListEntries(self, request: Any, context: Any) -> Any:
        self.script.note("ListEntries", request, context)
        return project_pb2.ListEntriesResponse(entries=[{"id": "1", "name": "a.svs"}])

    def ListClasses(self, request: Any, context: Any) -> Any:
        self.script.note("ListClasses", request, context)
        return project_pb2.ListClassesResponse(classes=[{"name": "Tumor", "color_rgb": {"red": 200}}])

    def ListModels(self, request: Any, context: Any) -> Any:
        self.script.note("ListModels", request, context)
        return model_pb2.ListModelsResponse(models=[{"name": "skin"}])

    def GetModel(self, request: Any, context: Any) -> Any:
        self.script.note("GetModel", request, context)
        return model_pb2.GetModelResponse(model={"name": request.model, "path": "/models/skin"})

    def ListFamilies(self, request: Any, context: Any) -> Any:
        self.script.note("ListFamilies", request, context)
        return model_pb2.ListFamiliesResponse(families=[{"name": "dmmn"}])


def region_message(event: Any) -> Any:
    kind = prediction_pb2.PredictRegionResponse
    if isinstance(event, Job):
        return kind(job=job_message(event))
    if isinstance(event, Chunk):
        return kind(objects=chunk_message(event))
    return kind(finished=event)


@contextlib.contextmanager
def serving(script: Script, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> Iterator[int]:
    """Run a server; yield its port."""
    with ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads)
        servicer = Servicer(script)
        for module in (job_pb2_grpc, server_pb2_grpc, training_pb2_grpc, prediction_pb2_grpc, project_pb2_grpc):
            add = next(one for name, one in vars(module).items() if name.startswith("add_"))
            add(servicer, server)
        model_pb2_grpc.add_ModelServiceServicer_to_server(servicer, server)
        address = f"127.0.0.1:{port}"
        bound = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
        server.start()
        try:
            yield bound
        finally:
            script.let_go.set()
            server.stop(0).wait(LONG_S)


def discoverable(folder: Path, port: int, **changes: Any) -> None:
    values: dict[str, Any] = {
        "address": f"127.0.0.1:{port}",
        "pid": os.getpid(),
        "token": TOKEN,
        "started": datetime.datetime.now(datetime.UTC),
        "version": __version__,
    }
    write_discovery(folder, Discovery(**(values | changes)))
