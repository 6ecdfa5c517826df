"""The client that awaits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from qpbridge.client import calls
from qpbridge.client.calls import CONNECT_S, Asker, Call, Document, Line, Paged
from qpbridge.client.delivery import delivery, keys_of
from qpbridge.client.polling import LOST, PAUSE_S, POLL_S, Patience
from qpbridge.client.region import AsyncRegionStream
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


class AsyncClient(Asker):
    """As ``Client``, to be awaited; for one event loop.

    Parameters
    ----------
    address, token, tls, state_folder, name
        As for ``Client``.
    """

    async def __aenter__(self) -> Self:
        """Connect, so that what is wrong with the connection is told at once."""
        await self._connected()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; the next call opens another one."""
        line, self._line = self._line, None
        if line is not None:
            await line.channel.close()

    async def server(self) -> Document:
        """Return what server this is; see ``Client.server``."""
        return await self._ask(calls.server())

    async def submit(self, request: Request) -> Job:
        """Ask for long work, and return its job at once."""
        return await self._ask(calls.submit(request))

    async def train(self, request: TrainRequest) -> Job:
        """Ask for the training of a model."""
        return await self.submit(request)

    async def predict(self, request: PredictRequest) -> Job:
        """Ask for the prediction of slides."""
        return await self.submit(request)

    async def evaluate(self, request: EvaluateRequest) -> Job:
        """Ask for a comparison with annotations."""
        return await self.submit(request)

    async def export(self, request: ExportRequest) -> Job:
        """Ask for the objects of a project as GeoJSON."""
        return await self.submit(request)

    async def undo(self, job_id: str) -> Job:
        """Ask to take a prediction back; its result tells what was removed, what came back and what stays."""
        return await self.submit(UndoRequest(job_id=job_id))

    async def inspect(self, request: InspectRequest) -> Document:
        """Return what of a project can be used, and why the rest cannot."""
        return await self._ask(calls.inspect(request))

    def predict_region(self, request: PredictRegionRequest, progress: Progress | None = None) -> AsyncRegionStream:
        """Predict one region, and return its objects as they come; see ``Client.predict_region``."""
        return AsyncRegionStream(self._stream(calls.predict_region(request), is_polled=True), News(progress))

    def models(self) -> AsyncIterator[Document]:
        """Yield the models in the server's model folders."""
        return self._pages(calls.models())

    async def model(self, name: str) -> Document:
        """Return one model, by its name or the path of its folder on the server."""
        return await self._ask(calls.model(name))

    def families(self) -> AsyncIterator[Document]:
        """Yield the families of networks that can be trained."""
        return self._pages(calls.families())

    def entries(self, project: Path) -> AsyncIterator[Document]:
        """Yield the entries of a project."""
        return self._pages(calls.entries(str(project)))

    def classes(self, project: Path) -> AsyncIterator[Document]:
        """Yield the classes of a project."""
        return self._pages(calls.classes(str(project)))

    def jobs(self, states: Collection[JobState] = (), kinds: Collection[str] = ()) -> AsyncIterator[Job]:
        """Yield jobs, the newest first, without their results; of all states and kinds where none are named."""
        return self._pages(calls.jobs(states, kinds))

    async def job(self, job_id: str) -> Job:
        """Return a job as it stands, with its result if it has one."""
        return await self._ask(calls.job(job_id))

    async def watch(self, job_id: str) -> AsyncIterator[Job | Chunk]:
        """Yield a job as it stands and again after every change, until it has ended."""
        async with contextlib.aclosing(self._stream(calls.watch(job_id))) as answers:
            async for answer in answers:
                yield event_of(answer)

    async def cancel(self, job_id: str) -> Job:
        """Stop a job, and return it ended."""
        return await self._ask(calls.cancel(job_id))

    async def wait(self, job: Job | str, progress: Progress | None = None) -> Job:
        """Wait for the end of a job, and return it with its result; see ``Client.wait``."""
        job_id, news, patience = calls.id_of(job), News(progress), Patience()
        while True:
            try:
                await self._follow(job_id, news, patience)
                return ended_well(await self.job(job_id))
            except LOST as error:
                news.warn(patience.spend(error))
                await self.close()
                await asyncio.sleep(PAUSE_S)
                news.raise_if_cancelled()

    async def run(self, request: Request, progress: Progress | None = None) -> Document:
        """Ask for work, wait for its end, and return what it gave; see ``Client.run``.

        Where the task is cancelled, so is the job.
        """
        if isinstance(request, InspectRequest):
            return await self.inspect(request)
        job = await self.submit(request)
        try:
            return (await self.wait(job, progress)).result or {}
        except (CancelledError, asyncio.CancelledError):
            with contextlib.suppress(QpbridgeError):
                await asyncio.shield(self.cancel(job.id))
            raise

    async def download(self, job: Job | str, folder: Path, entries: Collection[str] | None = None) -> list[Path]:
        """Fetch the files of a prediction or an export; see ``Client.download``."""
        ended = await self.job(calls.id_of(job))
        return [await self._fetch(ended.id, key, folder) for key in keys_of(ended, entries)]

    async def _fetch(self, job_id: str, key: str, folder: Path) -> Path:
        with delivery(folder) as file:
            async with contextlib.aclosing(self._stream(calls.results(job_id, key))) as answers:
                async for answer in answers:
                    file.take(answer)
        return file.path

    async def _follow(self, job_id: str, news: News, patience: Patience) -> None:
        async with contextlib.aclosing(self._stream(calls.watch(job_id), is_polled=True)) as answers:
            async for answer in answers:
                news.hear(answer)
                patience.renew()

    async def _connected(self) -> Line:
        if self._line is None:
            self._line = await self._connect()
        return self._line

    async def _connect(self) -> Line:
        line = self._opened(grpc.aio)
        try:
            return line.greeted(await self._answer(line, calls.server(), CONNECT_S))
        except BaseException:
            await line.channel.close()
            raise

    async def _ask(self, call: Call[T]) -> T:
        return await self._answer(await self._connected(), call)

    async def _answer(self, line: Line, call: Call[T], timeout_s: float | None = None) -> T:
        try:
            return call.read(await line.method(call)(call.message, metadata=line.metadata, timeout=timeout_s))
        except grpc.RpcError as error:
            raise await asyncio.to_thread(cause, error, line.access) from error

    async def _stream(self, call: Call[Any], *, is_polled: bool = False) -> AsyncGenerator[Any, None]:
        """Yield the answers of a call; where polled, None now and then."""
        line = await self._connected()
        stream = line.method(call)(call.message, metadata=line.metadata)
        try:
            async for answer in _polled(stream) if is_polled else stream:
                yield answer
        except grpc.RpcError as error:
            raise await asyncio.to_thread(cause, error, line.access) from error
        finally:
            stream.cancel()

    async def _pages(self, paged: Paged[T]) -> AsyncIterator[T]:
        token, is_last = "", False
        while not is_last:
            page = await self._ask(paged(token))
            for item in page.items:
                yield item
            token = page.next_page_token
            is_last = not token


async def _polled(stream: Any) -> AsyncGenerator[Any, None]:
    """Yield what a stream brings, and None whenever it has brought nothing for a while."""
    answers = aiter(stream)
    while True:
        coming = asyncio.ensure_future(anext(answers, None))
        while not (await asyncio.wait({coming}, timeout=POLL_S))[0]:
            yield None
        answer = coming.result()
        if answer is None:
            return
        yield answer
