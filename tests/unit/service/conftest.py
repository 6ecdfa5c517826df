"""A board in memory, places in a temporary folder, and a caller."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import JobNotFoundError
from qpbridge.jobs.records import Chunk, Job, JobPage, JobState, utc_now
from qpbridge.service.places import AllowedPlaces
from qpbridge.service.servicers.caller import Caller


class MemoryBoard:
    """Takes jobs in; what happens to them is scripted."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.script: list[Chunk | dict[str, Any] | asyncio.Event] = []
        self.cancelled: list[str] = []
        self.options: dict[str, Any] = {}
        self.left = 0
        self.delay = asyncio.Event()
        self.delay.set()

    async def submit(self, kind: str, request: Any, **options: Any) -> Job:
        await self.delay.wait()
        self.options = options
        job = Job(
            id=f"j{len(self.jobs)}",
            kind=kind,
            title=options["title"],
            client=options["client"],
            device=options["device"],
            state=JobState.QUEUED,
            created=utc_now(),
            request=request,
        )
        self.jobs[job.id] = job
        return job

    async def get(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise JobNotFoundError(f"no job '{job_id}'")
        return self.jobs[job_id]

    async def list(self, size: int, token: str, states: Any, kinds: Any) -> JobPage:
        chosen = [
            job
            for job in self.jobs.values()
            if (not states or job.state in states) and (not kinds or job.kind in kinds)
        ]
        return JobPage(jobs=chosen[: size or None], next_page_token=token)

    async def watch(self, job_id: str) -> AsyncIterator[Job | Chunk]:
        try:
            yield self.jobs[job_id]
            for event in self.script:
                if isinstance(event, asyncio.Event):
                    await event.wait()
                elif isinstance(event, Chunk):
                    yield event
                else:
                    self.jobs[job_id] = replace(self.jobs[job_id], **event)
                    yield self.jobs[job_id]
        finally:
            self.left += 1

    async def cancel(self, job_id: str) -> Job:
        job = await self.get(job_id)
        self.cancelled.append(job_id)
        if not job.state.is_terminal:
            self.jobs[job_id] = replace(job, state=JobState.CANCELLED)
        return self.jobs[job_id]


@pytest.fixture
def board() -> MemoryBoard:
    return MemoryBoard()


@pytest.fixture
def caller() -> Caller:
    return Caller(client="anna")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def places(tmp_path: Path, root: Path) -> AllowedPlaces:
    return AllowedPlaces([root], [tmp_path / "state" / "models"], tmp_path / "state")


@pytest.fixture
def finish() -> Callable[[Awaitable[Any]], Any]:
    """Run something async to its end, which a hanging test never reaches."""

    def run(work: Awaitable[Any]) -> Any:
        async def soon() -> Any:
            return await asyncio.wait_for(work, 300)

        return asyncio.run(soon())

    return run
