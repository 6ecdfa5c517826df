"""The objects of one region, as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from qpbridge.client.calls import Document
from qpbridge.client.telling import Lines, News, objects_of
from qpbridge.errors import ServerFaultError
from qpbridge.jobs.records import Chunk, Job
from qpbridge.wire.jobs import ended_well, job_of
from qpbridge.wire.records import unpack

if TYPE_CHECKING:
    from qpbridge.core.objects import PathObject


class _Region:
    """What both streams keep.

    Parameters
    ----------
    news : News
        Hears of the job.
    """

    def __init__(self, news: News) -> None:
        self.job: Job | None = None
        self.report: Document | None = None
        self._news = news
        self._lines = Lines()

    def _features(self, answer: Any) -> Chunk | None:
        """Return the Features that an answer ends, one a line; note what else it tells."""
        self._news.raise_if_cancelled()
        event = None if answer is None else answer.WhichOneof("event")
        if event == "objects":
            lines = self._lines.whole(answer.objects.features)
            return Chunk(payload=b"\n".join(lines) + b"\n", count=answer.objects.count) if lines else None
        if event == "job":
            self.job = job_of(answer.job)
            self._news.tell(self.job)
        elif event == "finished":
            self.report = unpack(answer.finished)
        return None

    def _check_end(self) -> None:
        if self.job is not None:
            ended_well(self.job)
        if self.report is None:
            raise ServerFaultError("the server broke the region off without a word; look into its log")


class RegionStream(_Region):
    """The objects of a region, each as soon as the server knows it; close it to stop the work.

    Attributes
    ----------
    job : Job or None
        As last heard.
    report : mapping or None
        What was found in all; after the last object.
    """

    def __init__(self, answers: Generator[Any, None, None], news: News) -> None:
        super().__init__(news)
        self._answers = answers

    def __iter__(self) -> Iterator[PathObject]:
        """Yield objects, in level-0 px."""
        for chunk in self.chunks():
            yield from objects_of(chunk.payload.splitlines())

    def chunks(self) -> Iterator[Chunk]:
        """Yield objects as GeoJSON Features, one a line, many at once; faster where they are only passed on.

        Raises
        ------
        QpbridgeError
            What the work failed of.
        """
        for answer in self._answers:
            if (chunk := self._features(answer)) is not None:
                yield chunk
        self._check_end()

    def close(self) -> None:
        """Stop the work, unless it has ended."""
        self._answers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the work, unless it has ended."""
        self.close()


class AsyncRegionStream(_Region):
    """As ``RegionStream``, for ``async for`` and ``async with``."""

    def __init__(self, answers: AsyncGenerator[Any, None], news: News) -> None:
        super().__init__(news)
        self._answers = answers

    async def __aiter__(self) -> AsyncIterator[PathObject]:
        """Yield objects, in level-0 px."""
        async for chunk in self.chunks():
            for found in objects_of(chunk.payload.splitlines()):
                yield found

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yield objects as GeoJSON Features, one a line; see ``RegionStream.chunks``."""
        async for answer in self._answers:
            if (chunk := self._features(answer)) is not None:
                yield chunk
        self._check_end()

    async def close(self) -> None:
        """Stop the work, unless it has ended."""
        await self._answers.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the work, unless it has ended."""
        await self.close()
