"""What can be asked of a server, each call once: both clients make them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar, cast

from google.protobuf.message import Message

from qpbridge.client.access import Access, Tls, find_access, own_name
from qpbridge.client.trouble import check_version
from qpbridge.jobs.records import Job, JobState
from qpbridge.v1 import (
    evaluation_pb2_grpc,
    job_pb2,
    job_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    prediction_pb2,
    prediction_pb2_grpc,
    project_pb2,
    project_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
    training_pb2_grpc,
)
from qpbridge.wire.jobs import job_of
from qpbridge.wire.records import pack, unpack
from qpbridge.wire.requests import kind_of, message_of
from qpbridge.wire.size import check_size
from qpbridge.workflows.kinds import Request
from qpbridge.workflows.requests import InspectRequest, PredictRegionRequest

T = TypeVar("T")

CONNECT_S: Final = 20.0
"""How long the first call may take, s."""

Document: TypeAlias = Mapping[str, Any]
"""JSON values, as the verbs of the command line print them with ``--json``."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of a server.

    Parameters
    ----------
    stub : callable
        Makes the service's methods from a channel, blocking or not.
    method : str
        Its name.
    message : Message
        What is sent.
    read : callable
        Makes what the caller gets of an answer.
    """

    stub: Callable[[Any], Any]
    method: str
    message: Message
    read: Callable[[Any], T]

    def on(self, channel: Any) -> Any:
        """Return what carries the call out on a channel."""
        return getattr(self.stub(channel), self.method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An open connection.

    Parameters
    ----------
    access : Access
        How the server is reached.
    channel : grpc.Channel or grpc.aio.Channel
        Open.
    metadata : tuple of (str, str)
        Goes with each call.
    message_bytes_max : int or None
        What the server takes, bytes; None before it has told.
    """

    access: Access
    channel: Any
    metadata: tuple[tuple[str, str], ...]
    message_bytes_max: int | None = None

    def greeted(self, server: Document) -> Self:
        """Return the line to a server that has told what it is.

        Raises
        ------
        ServerVersionError
            If it is of another version.
        """
        check_version(server["version"], self.access)
        return replace(self, message_bytes_max=server["limits"]["message_bytes_max"])

    def method(self, call: Call[Any]) -> Any:
        """Return what carries a call out.

        Raises
        ------
        TooLargeError
            If its message is larger than the server takes.
        """
        if self.message_bytes_max is not None:
            check_size(call.message.ByteSize(), self.message_bytes_max)
        return call.on(self.channel)


class Asker:
    """What clients have in common, blocking or not: which server to ask, and the line to it.

    Parameters
    ----------
    address, token, tls, state_folder, name
        As for ``Client``.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        token: str | None = None,
        tls: Tls | None = None,
        state_folder: Path | None = None,
        name: str | None = None,
    ) -> None:
        self._find = partial(find_access, address, token, tls, state_folder)
        self._name = name or own_name()
        self._line: Line | None = None

    def _opened(self, library: Any) -> Line:
        """Return a new line; ``library`` is ``grpc`` or ``grpc.aio``, which open channels alike."""
        access = self._find()
        if access.tls is None:
            channel = library.insecure_channel(access.address, access.options())
        else:
            channel = library.secure_channel(access.address, access.tls.credentials(), access.options())
        return Line(access=access, channel=channel, metadata=access.metadata(self._name))


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list, and what gives the next one; empty on the last."""

    items: list[T]
    next_page_token: str


Paged: TypeAlias = Callable[[str], Call[Page[T]]]
"""Makes the call for the page of a token."""

_SUBMITTING: Final[Mapping[str, tuple[Callable[[Any], Any], str]]] = {
    "train": (training_pb2_grpc.TrainingServiceStub, "Train"),
    "predict": (prediction_pb2_grpc.PredictionServiceStub, "Predict"),
    "evaluate": (evaluation_pb2_grpc.EvaluationServiceStub, "Evaluate"),
    "export": (project_pb2_grpc.ProjectServiceStub, "ExportProject"),
    "export_model": (model_pb2_grpc.ModelServiceStub, "ExportModel"),
    "undo": (job_pb2_grpc.JobServiceStub, "UndoJob"),
}


def submit(request: Request) -> Call[Job]:
    """Ask for long work."""
    message = message_of(request)
    stub, method = _SUBMITTING[kind_of(message)]
    return Call(stub, method, message, lambda answer: job_of(answer.job))


def inspect(request: InspectRequest) -> Call[Document]:
    """Look at a project."""
    stub = project_pb2_grpc.ProjectServiceStub
    return Call(stub, "InspectProject", message_of(request), lambda answer: unpack(answer.report))


def predict_region(request: PredictRegionRequest) -> Call[Any]:
    """Predict one region; the answers of the stream come as they are."""
    return Call(prediction_pb2_grpc.PredictionServiceStub, "PredictRegion", message_of(request), lambda answer: answer)


def server() -> Call[Document]:
    """Ask what server this is."""
    return Call(
        server_pb2_grpc.ServerServiceStub,
        "GetServer",
        server_pb2.GetServerRequest(),
        lambda answer: unpack(answer.server),
    )


def job(job_id: str) -> Call[Job]:
    """Ask how a job stands."""
    message = job_pb2.GetJobRequest(job_id=job_id)
    return Call(job_pb2_grpc.JobServiceStub, "GetJob", message, lambda answer: job_of(answer.job))


def id_of(job: Job | str) -> str:
    """Return the id of a job that may be given by it."""
    return job if isinstance(job, str) else job.id


def cancel(job_id: str) -> Call[Job]:
    """Stop a job."""
    message = job_pb2.CancelJobRequest(job_id=job_id)
    return Call(job_pb2_grpc.JobServiceStub, "CancelJob", message, lambda answer: job_of(answer.job))


def watch(job_id: str) -> Call[Any]:
    """Follow a job; the answers of the stream come as they are."""
    return Call(job_pb2_grpc.JobServiceStub, "WatchJob", job_pb2.WatchJobRequest(job_id=job_id), lambda answer: answer)


def results(job_id: str, entry: str) -> Call[Any]:
    """Fetch the results of one slide; the answers of the stream come as they are."""
    message = prediction_pb2.GetResultsRequest(job_id=job_id, entry=entry)
    return Call(prediction_pb2_grpc.PredictionServiceStub, "GetResults", message, lambda answer: answer)


def jobs(states: Collection[JobState], kinds: Collection[str]) -> Paged[Job]:
    """Ask for jobs, the newest first."""
    values = {"states": [state.value for state in states], "kinds": list(kinds)}
    return _paged(job_pb2_grpc.JobServiceStub, "ListJobs", pack(job_pb2.ListJobsRequest, values), "jobs", job_of)


def models() -> Paged[Document]:
    """Ask for the models of the server."""
    return _paged(model_pb2_grpc.ModelServiceStub, "ListModels", model_pb2.ListModelsRequest(), "models", unpack)


def model(name: str) -> Call[Document]:
    """Ask for one model."""
    message = model_pb2.GetModelRequest(model=name)
    return Call(model_pb2_grpc.ModelServiceStub, "GetModel", message, lambda answer: unpack(answer.model))


def families() -> Paged[Document]:
    """Ask for the families of networks."""
    return _paged(model_pb2_grpc.ModelServiceStub, "ListFamilies", model_pb2.ListFamiliesRequest(), "families", unpack)


def entries(project: str) -> Paged[Document]:
    """Ask for the entries of a project."""
    message = project_pb2.ListEntriesRequest(project=project)
    return _paged(project_pb2_grpc.ProjectServiceStub, "ListEntries", message, "entries", unpack)


def classes(project: str) -> Paged[Document]:
    """Ask for the classes of a project."""
    message = project_pb2.ListClassesRequest(project=project)
    return _paged(project_pb2_grpc.ProjectServiceStub, "ListClasses", message, "classes", unpack)


def _paged(
    stub: Callable[[Any], Any], method: str, message: Message, field: str, read_one: Callable[[Any], T]
) -> Paged[T]:
    def call(token: str) -> Call[Page[T]]:
        page = cast(Any, type(message))()
        page.CopyFrom(message)
        page.page_token = token
        return Call(stub, method, page, read)

    def read(answer: Any) -> Page[T]:
        return Page([read_one(one) for one in getattr(answer, field)], answer.next_page_token)

    return call
