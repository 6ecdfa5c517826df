"""Predict all slides of a project, fetch the results, and list what failed; awaited, for programs that do more.

One of the slides is lost, as happens: it is told, and does not stop the rest. Project, model and server are made for
it, and go when it ends. Run it with ``uv run python examples/batch_project.py``.
"""

import asyncio
import tempfile
from pathlib import Path

from support.small_project import make_project, quick_training

from qpbridge.client import AsyncClient, started_server
from qpbridge.jobs.records import Job
from qpbridge.workflows.requests import PredictRequest


async def main(state: Path, folder: Path) -> None:
    project, model = make_project(folder, slides=3), folder / "model"
    async with AsyncClient(state_folder=state) as client:
        await client.run(quick_training(project, model))
        (folder / "slide_1.tif").unlink()

        job = await client.predict(PredictRequest(inputs=(project,), model=model, out=folder / "on-server", gzip=True))
        async for event in client.watch(job.id):
            if isinstance(event, Job) and event.progress is not None and event.progress.stage == "slides":
                print(f"{event.progress.done} of {event.progress.total} slides")
        ended = await client.wait(job)
        files = await client.download(ended, folder / "here")

    print(f"job {ended.id} is {ended.state}; fetched {', '.join(path.name for path in files)}")
    result = ended.result or {}
    for slide in result["slides"]:
        tumor_mm2 = sum(found["area_mm2"] for found in slide["classes"] if found["name"] == "Tumor")
        print(f"{slide['name']}: {slide['objects']} regions, {tumor_mm2:.3f} mm² of tumor")
    for failure in result["failures"]:
        print(f"{failure['entry']} failed [{failure['reason']}]: {failure['message']}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with started_server(folder / "server", [folder]):
            asyncio.run(main(folder / "server", folder))
