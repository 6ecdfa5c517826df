"""Files of results as plain downloads: ``GET /v1/jobs/JOB/results/ENTRY.geojson.gz``, or without ``.gz``."""

from __future__ import annotations

import asyncio
import contextlib
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final, Protocol
from urllib.parse import quote

from qpbridge.errors import PredictionNotFoundError
from qpbridge.service.doors.calls import Streams
from qpbridge.service.doors.http_errors import Receive, Scope, Send, answer_error
from qpbridge.service.servicers.caller import Caller
from qpbridge.v1 import prediction_pb2

RESULTS: Final = "/v1/jobs/"
"""What the path of a download begins with."""

_PATH: Final = re.compile(rf"{RESULTS}(?P<job>[^/]+)/results/(?P<entry>.+)\.geojson(?P<gzip>\.gz)?", re.DOTALL)
_GZIP_BITS: Final = 31
"""Of zlib's window: gzip's own framing."""

_LEVEL: Final = 1
"""Of compression: for a local connection, more takes longer than it saves."""

Convert = Callable[[bytes], bytes]


class Results(Protocol):
    """Sends files of results."""

    def get_results(
        self, request: prediction_pb2.GetResultsRequest, caller: Caller
    ) -> AsyncGenerator[prediction_pb2.GetResultsResponse, None]:
        """Yield what a file is, then its content."""


class ResultsDoor:
    """An ASGI application for downloads.

    Parameters
    ----------
    results : Results
        Sends the files.
    streams : Streams
        That are open.
    """

    def __init__(self, results: Results, streams: Streams) -> None:
        self._results = results
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call."""
        del receive  # sending fails or waits once the client is gone
        started: list[bool] = []
        try:
            found = _PATH.fullmatch(scope["path"])
            if found is None:
                raise PredictionNotFoundError(
                    f"there is no file at {scope['path']}: they are at {RESULTS}JOB/results/ENTRY.geojson.gz"
                )
            request = prediction_pb2.GetResultsRequest(job_id=found["job"], entry=found["entry"])
            with self._streams.counted():
                async with contextlib.aclosing(self._results.get_results(request, Caller(client=""))) as parts:
                    file = (await anext(parts)).file
                    await send(_head(file, is_zipped=bool(found["gzip"])))
                    started.append(True)
                    await _send_body(parts, send, _conversion(file.is_gzipped, bool(found["gzip"])))
        except Exception as error:
            if started:
                raise  # the length is told, or the end is missing: the client sees that it is not all
            await answer_error(send, error)


async def _send_body(
    parts: AsyncIterator[prediction_pb2.GetResultsResponse], send: Send, conversion: tuple[Convert, Callable[[], bytes]]
) -> None:
    convert, flush = conversion
    async for part in parts:
        content = await asyncio.to_thread(convert, part.data)
        await send({"type": "http.response.body", "body": content, "more_body": True})
    await send({"type": "http.response.body", "body": flush()})


def _conversion(is_gzipped: bool, is_zipped: bool) -> tuple[Convert, Callable[[], bytes]]:
    """Return what becomes of the parts of a file, and what comes behind them."""
    if is_gzipped == is_zipped:
        return lambda data: data, bytes
    if is_zipped:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_BITS)
        return packer.compress, packer.flush
    unpacker = zlib.decompressobj(_GZIP_BITS)
    return unpacker.decompress, unpacker.flush


def _head(file: prediction_pb2.ResultsFile, *, is_zipped: bool) -> dict[str, object]:
    name = file.name.removesuffix(".gz") + (".gz" if is_zipped else "")
    headers = [
        (b"content-type", b"application/gzip" if is_zipped else b"application/geo+json"),
        (b"content-disposition", f"attachment; filename*=UTF-8''{quote(name)}".encode()),
    ]
    if is_zipped == file.is_gzipped:
        headers.append((b"content-length", str(file.size_bytes).encode()))
    return {"type": "http.response.start", "status": 200, "headers": headers}
