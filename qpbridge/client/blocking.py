"""The client that blocks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from qpbridge.client import calls
from qpbridge.client.access import Access
from qpbridge.client.calls import CONNECT_S, Asker, Call, Document, Line, Paged
from qpbridge.client.delivery import delivery, keys_of
from qpbridge.client.polling import LOST, PAUSE_S, POLL_S, Patience, polled
from qpbridge.client.region import RegionStream
from qpbridge.client.telling import News
from qpbridge.client.trouble import cause
from qpbridge.core.progress import Progress
from qpbridge.errors import CancelledError, QpbridgeError
from qpbridge.jobs.records import Chunk, Job, JobState
from qpbridge.wire.jobs import ended_well, event_of
from qpbridge.workflows.kinds import Request
from qpbridge.workflows.requests import (
    EvaluateRequest,
    ExportRequest,
    InspectRequest,
    PredictRegionRequest,
    PredictRequest,
    TrainRequest,
    UndoRequest,
)

T = TypeVar("T")


class Client(Asker):
    """Asks a server; a context manager.

    The server runs on for itself: what it was asked to do goes on when the client is closed. Every method raises what
    the work would raise in this process, and where the connection fails, a ``ServerNotRunningError``,
    ``ServerUnreachableError``, ``TokenRefusedError``, ``ServerVersionError``, ``DiscoveryUnsafeError`` or
    ``DamagedDiscoveryError`` that names the step that failed.

    Parameters
    ----------
    address : str or None
        ``HOST:PORT``; where None, the server that the discovery file in the state folder tells of.
    token : str or None
        As the discovery file of the server has it; needed with an address.
    tls : Tls or None
        Certificates, for an encrypted connection.
    state_folder : Path or None
        Where the discovery file lies; ``QPBRIDGE_STATE`` or the user's state folder where None.
    name : str or None
        How the client calls itself; clients of different names take turns. ``user@machine`` where None.
    """

    def __enter__(self) -> Self:
        """Connect, so that what is wrong with the connection is told at once."""
        self._connected()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        line, self._line = self._line, None
        if line is not None:
            line.channel.close()

    @property
    def access(self) -> Access:
        """How the server is reached."""
        return self._connected().access

    def server(self) -> Document:
        """Return what server this is: version, devices, roots, model folders, limits."""
        return self._ask(calls.server())

    def submit(self, request: Request) -> Job:
        """Ask for long work, and return its job at once."""
        return self._ask(calls.submit(request))

    def train(self, request: TrainRequest) -> Job:
        """Ask for the training of a model."""
        return self.submit(request)

    def predict(self, request: PredictRequest) -> Job:
        """Ask for the prediction of slides."""
        return self.submit(request)

    def evaluate(self, request: EvaluateRequest) -> Job:
        """Ask for a comparison with annotations."""
        return self.submit(request)

    def export(self, request: ExportRequest) -> Job:
        """Ask for the objects of a project as GeoJSON."""
        return self.submit(request)

    def undo(self, job_id: str) -> Job:
        """Ask to take a prediction back; its result tells what was removed, what came back and what stays."""
        return self.submit(UndoRequest(job_id=job_id))

    def inspect(self, request: InspectRequest, progress: Progress | None = None) -> Document:
        """Return what of a project can be used, and why the rest cannot."""
        return self._ask(calls.inspect(request), progress)

    def predict_region(self, request: PredictRegionRequest, progress: Progress | None = None) -> RegionStream:
        """Predict one region, and return its objects as they come.

        Parameters
        ----------
        request : PredictRegionRequest
            Which region of which slide.
        progress : Progress or None
            Hears how it goes; may ask to stop.
        """
        return RegionStream(self._stream(calls.predict_region(request), is_polled=True), News(progress))

    def models(self) -> Iterator[Document]:
        """Yield the models in the server's model folders."""
        return self._pages(calls.models())

    def model(self, name: str) -> Document:
        """Return one model, by its name or the path of its folder on the server."""
        return self._ask(calls.model(name))

    def families(self) -> Iterator[Document]:
        """Yield the families of networks that can be trained."""
        return self._pages(calls.families())

    def entries(self, project: Path) -> Iterator[Document]:
        """Yield the entries of a project."""
        return self._pages(calls.entries(str(project)))

    def classes(self, project: Path) -> Iterator[Document]:
        """Yield the classes of a project."""
        return self._pages(calls.classes(str(project)))

    def jobs(self, states: Collection[JobState] = (), kinds: Collection[str] = ()) -> Iterator[Job]:
        """Yield jobs, the newest first, without their results; of all states and kinds where none are named."""
        return self._pages(calls.jobs(states, kinds))

    def job(self, job_id: str) -> Job:
        """Return a job as it stands, with its result if it has one."""
        return self._ask(calls.job(job_id))

    def watch(self, job_id: str) -> Iterator[Job | Chunk]:
        """Yield a job as it stands and again after every change, until it has ended."""
        return map(event_of, self._stream(calls.watch(job_id)))

    def cancel(self, job_id: str) -> Job:
        """Stop a job, and return it ended."""
        return self._ask(calls.cancel(job_id))

    def wait(self, job: Job | str, progress: Progress | None = None) -> Job:
        """Wait for the end of a job, and return it with its result.

        A server that is gone for less than a minute is waited for: it goes on with its jobs when it starts again.

        Parameters
        ----------
        job : Job or str
            The job, or its id.
        progress : Progress or None
            Hears how it goes. If it asks to stop, the wait ends; the job goes on.

        Raises
        ------
        QpbridgeError
            What the job failed of, as if it had run in this process.
        CancelledError
            If somebody stopped the job, or the wait.
        """
        job_id, news, patience = calls.id_of(job), News(progress), Patience()
        while True:
            try:
                self._follow(job_id, news, patience)
                return ended_well(self.job(job_id))
            except LOST as error:
                news.warn(patience.spend(error))
                self.close()
                time.sleep(PAUSE_S)
                news.raise_if_cancelled()

    def run(self, request: Request, progress: Progress | None = None) -> Document:
        """Ask for work, wait for its end, and return what it gave: JSON values, as ``--json`` prints them.

        Parameters
        ----------
        request : request
            Of any workflow but a region, whose objects are a stream.
        progress : Progress or None
            Hears how it goes. If it asks to stop, the job is stopped; so it is by Ctrl-C.

        Raises
        ------
        QpbridgeError
            As the workflow does.
        """
        if isinstance(request, InspectRequest):
            return self.inspect(request, progress)
        job = self.submit(request)
        try:
            return self.wait(job, progress).result or {}
        except (CancelledError, KeyboardInterrupt):
            with contextlib.suppress(QpbridgeError):
                self.cancel(job.id)
            raise

    def download(self, job: Job | str, folder: Path, entries: Collection[str] | None = None) -> list[Path]:
        """Fetch the files of a prediction or an export; each appears under its name when it is whole.

        Parameters
        ----------
        job : Job or str
            The job, or its id; it must have ended.
        folder : Path
            Receives the files.
        entries : collection of str or None
            Keys or image names; all where None.

        Returns
        -------
        list of Path
            The files.
        """
        ended = self.job(calls.id_of(job))
        return [self._fetch(ended.id, key, folder) for key in keys_of(ended, entries)]

    def _fetch(self, job_id: str, key: str, folder: Path) -> Path:
        with delivery(folder) as file, contextlib.closing(self._stream(calls.results(job_id, key))) as answers:
            for answer in answers:
                file.take(answer)
        return file.path

    def _follow(self, job_id: str, news: News, patience: Patience) -> None:
        with contextlib.closing(self._stream(calls.watch(job_id), is_polled=True)) as answers:
            for answer in answers:
                news.hear(answer)
                patience.renew()

    def _connected(self) -> Line:
        if self._line is None:
            self._line = self._connect()
        return self._line

    def _connect(self) -> Line:
        line = self._opened(grpc)
        try:
            return line.greeted(self._answer(line, calls.server(), None, CONNECT_S))
        except BaseException:
            line.channel.close()
            raise

    def _ask(self, call: Call[T], progress: Progress | None = None) -> T:
        return self._answer(self._connected(), call, progress)

    def _answer(self, line: Line, call: Call[T], progress: Progress | None, timeout_s: float | None = None) -> T:
        future = line.method(call).future(call.message, metadata=line.metadata, timeout=timeout_s)
        try:
            return call.read(_awaited(future, progress))
        except grpc.RpcError as error:
            raise cause(error, line.access) from error
        finally:
            future.cancel()

    def _stream(self, call: Call[Any], *, is_polled: bool = False) -> Generator[Any, None, None]:
        """Yield the answers of a call; where polled, None now and then."""
        line = self._connected()
        stream = line.method(call)(call.message, metadata=line.metadata)
        try:
            yield from polled(stream) if is_polled else stream
        except grpc.RpcError as error:
            raise cause(error, line.access) from error
        finally:
            stream.cancel()

    def _pages(self, paged: Paged[T]) -> Iterator[T]:
        token, is_last = "", False
        while not is_last:
            page = self._ask(paged(token))
            yield from page.items
            token = page.next_page_token
            is_last = not token


def _awaited(future: Any, progress: Progress | None) -> Any:
    while True:
        try:
            return future.result(timeout=POLL_S)
        except grpc.FutureTimeoutError:
            if progress is not None:
                progress.raise_if_cancelled()
