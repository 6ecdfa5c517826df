"""Files that jobs have written, in parts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from qpbridge.errors import InvalidValueError, PredictionNotFoundError
from qpbridge.jobs.records import Job
from qpbridge.v1 import prediction_pb2
from qpbridge.wire.requests import Places

PART_BYTES: Final = 512 * 1024
"""Of a file at once."""

_FILES: Final[Mapping[str, tuple[str, str, str]]] = {
    "predict": ("slides", "key", "file"),
    "export": ("entries", "id", "geojson"),
}
"""Where results of a kind list their slides, and the fields that hold the key and the file of each."""


def find_file(job: Job, entry: str) -> str:
    """Return the file that a job wrote for an entry.

    Parameters
    ----------
    job : Job
        With its result.
    entry : str
        Key or image name, as the result tells them.

    Raises
    ------
    InvalidValueError
        If the job is of a kind without such files, or several entries have that name.
    PredictionNotFoundError
        If it has not ended well, or wrote none for that entry.
    """
    if job.kind not in _FILES:
        raise InvalidValueError(f"a job of the kind {job.kind} has no files to send; {', '.join(_FILES)} have")
    if job.result is None:
        raise PredictionNotFoundError(f"job '{job.id}' is {job.state.value}: only one that ended well has files")
    listing, key, file = _FILES[job.kind]
    slides: Sequence[Mapping[str, Any]] = job.result.get(listing, ())
    found = [one for one in slides if one[key] == entry] or [one for one in slides if one["name"] == entry]
    if len(found) > 1:
        raise InvalidValueError(f"{len(found)} entries of job '{job.id}' are called '{entry}': give the key of one")
    if not found or found[0][file] is None:
        keys = ", ".join(str(one[key]) for one in slides[:20] if one[file] is not None) or "none"
        raise PredictionNotFoundError(f"job '{job.id}' has no file of '{entry}'; it has those of {keys}")
    return str(found[0][file])


async def parts_of(file: str, places: Places) -> AsyncGenerator[prediction_pb2.GetResultsResponse, None]:
    """Yield what a file is, then its content.

    Raises
    ------
    PathRefusedError
        If it lies where requests may not read any more.
    PredictionNotFoundError
        If it is gone.
    """
    path = await asyncio.to_thread(places.read, file)
    try:
        opened = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise PredictionNotFoundError(f"{path} cannot be read any more ({error.strerror}): predict again") from error
    with opened:
        about = prediction_pb2.ResultsFile(
            name=path.name, size_bytes=os.fstat(opened.fileno()).st_size, is_gzipped=path.suffix == ".gz"
        )
        yield prediction_pb2.GetResultsResponse(file=about)
        while data := await asyncio.to_thread(opened.read, PART_BYTES):
            yield prediction_pb2.GetResultsResponse(data=data)
