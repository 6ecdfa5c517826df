"""The two doors of the server against each other: the same questions by gRPC and by HTTP and JSON.

What the workers do is made up, so that only the way in and out is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
FEATURE = (
    b'{"type":"Feature","id":"00000000-0000-5000-8000-000000000000","geometry":{"type":"Polygon","coordinates":[['
    + b",".join(b"[%d.25,%d.5]" % (10000 + i, 20000 + i) for i in range(20))
    + b']]},"properties":{"objectType":"detection","classification":{"name":"Tumor","color":[200,0,0]}}}'
)
PART_BYTES = 2**20


def work(kind: str, request: dict[str, Any], desk: Any) -> dict[str, Any]:
    """What the workers do: one object of a region, or a file of as many nuclei as the seed says."""
    if kind == "predict_region":
        desk.emit(FEATURE + b"\n", 1)
        return {"objects": 1, "region": request["region"]}
    file = Path(request["out"]) / "a.geojson"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as written:
        written.write(b'{"type":"FeatureCollection","features":[' + FEATURE)
        for _ in range((request["seed"] - 1) // 1000):
            written.write((b"," + FEATURE) * 1000)
        written.write(b"]}")
    slide = {"key": "a", "name": "a.svs", "file": str(file), "mpp_source": "file", "classes": []}
    return {"out": request["out"], "slides": [slide], "failures": []}


@dataclass
class Doors:
    """A client at each door of one server."""

    channel: Any
    line: http.client.HTTPConnection
    token: str
    root: Path

    def grpc(self, service: str, method: str, request: Any) -> Any:
        import importlib

        room = importlib.import_module(f"qpbridge.v1.{service.lower()}_pb2_grpc")
        stub = getattr(room, f"{service}ServiceStub")(self.channel)
        return getattr(stub, method)(request, metadata=(("authorization", f"Bearer {self.token}"),))

    def http(self, path: str, content: bytes | None, kind: str = "json") -> http.client.HTTPResponse:
        headers = {"authorization": f"Bearer {self.token}", "content-type": f"application/{kind}"}
        self.line.request("GET" if content is None else "POST", path, content, headers)
        answer = self.line.getresponse()
        assert answer.status == 200, answer.read()
        return answer

    def region(self) -> dict[str, Any]:
        span = {"xPx": 0, "yPx": 0, "widthPx": 1, "heightPx": 1}
        return {"slide": str(self.root / "a.svs"), "model": str(self.root), "region": span}


def median_ms(ask: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        ask()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def small_call(doors: Doors, rounds: int) -> tuple[float, float]:
    from qpbridge.v1 import server_pb2

    def by_grpc() -> None:
        doors.grpc("Server", "GetServer", server_pb2.GetServerRequest())

    def by_http() -> None:
        json.loads(doors.http("/qpbridge.v1.ServerService/GetServer", b"{}").read())

    by_grpc()
    by_http()
    return median_ms(by_grpc, rounds), median_ms(by_http, rounds)


def first_object(doors: Doors, rounds: int) -> tuple[float, float]:
    from google.protobuf import json_format

    from qpbridge.v1 import prediction_pb2

    content = json.dumps(doors.region()).encode()
    request = json_format.Parse(content, prediction_pb2.PredictRegionRequest())

    def by_grpc() -> float:
        begin = time.perf_counter()
        call = doors.grpc("Prediction", "PredictRegion", request)
        firsts = [time.perf_counter() for message in call if message.objects.count]
        return 1e3 * (firsts[0] - begin)

    def by_http() -> float:
        begin = time.perf_counter()
        framed = struct.pack(">BI", 0, len(content)) + content
        answer = doors.http("/qpbridge.v1.PredictionService/PredictRegion", framed, "connect+json")
        firsts = []
        while head := answer.read(5):
            if "objects" in json.loads(answer.read(int.from_bytes(head[1:], "big"))):
                firsts.append(time.perf_counter())
        return 1e3 * (firsts[0] - begin)

    by_grpc()
    by_http()
    turns = [(by_grpc(), by_http()) for _ in range(rounds)]
    return statistics.median(one for one, _ in turns), statistics.median(other for _, other in turns)


def download(doors: Doors, objects: int) -> Iterator[tuple[str, float, float]]:
    from qpbridge.v1 import job_pb2, prediction_pb2

    slides = {"paths": [str(doors.root / "a.svs")]}
    request = prediction_pb2.PredictRequest(slides=slides, model=str(doors.root), seed=objects)
    job_id = doors.grpc("Prediction", "Predict", request).job.id
    jobs = list(doors.grpc("Job", "WatchJob", job_pb2.WatchJobRequest(job_id=job_id)))
    size = Path(jobs[-1].job.predict.slides[0].file).stat().st_size
    asked = prediction_pb2.GetResultsRequest(job_id=job_id, entry="a")

    def by_grpc() -> None:
        assert sum(len(part.data) for part in doors.grpc("Prediction", "GetResults", asked)) == size

    def by_http(suffix: str) -> int:
        answer, received = doors.http(f"/v1/jobs/{job_id}/results/a.geojson{suffix}", None), 0
        while part := answer.read(PART_BYTES):
            received += len(part)
        return received

    grpc_ms = median_ms(by_grpc, 1)
    yield f"{objects:,} nuclei, {size / 1e6:,.0f} MB, as they lie", grpc_ms, median_ms(lambda: by_http(""), 1)
    yield "the same, packed on the way (.gz)", grpc_ms, median_ms(lambda: by_http(".gz"), 1)


@contextlib.contextmanager
def opened() -> Iterator[Doors]:
    import grpc

    from qpbridge.wire.discovery import read_discovery

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "root").mkdir()
        (folder / "server.toml").write_text('state = "state"\nroots = ["root"]\ndevices = ["cpu"]\nprewarm = false\n')
        environment = {**os.environ, "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE.parent.parent}"}
        program = [sys.executable, str(HERE), "--serve", str(folder / "server.toml")]
        with subprocess.Popen(program, env=environment) as process:
            while not (folder / "state" / "server.json").exists():
                time.sleep(0.05)
            found = read_discovery(folder / "state")
            assert found.http_address is not None
            with (
                grpc.insecure_channel(found.address, [("grpc.max_receive_message_length", -1)]) as channel,
                contextlib.closing(http.client.HTTPConnection(found.http_address)) as line,
            ):
                yield Doors(channel, line, found.token, folder / "root")
            process.terminate()


def main(arguments: argparse.Namespace) -> None:
    print("| what | gRPC, ms | HTTP/JSON, ms | ratio |\n|---|---:|---:|---:|", flush=True)

    def tell(what: str, grpc_ms: float, http_ms: float) -> None:
        print(f"| {what} | {grpc_ms:,.2f} | {http_ms:,.2f} | {http_ms / grpc_ms:.2f} |", flush=True)

    with opened() as doors:
        tell("small call", *small_call(doors, arguments.calls))
        tell("first object of a region", *first_object(doors, arguments.rounds))
        for row in download(doors, arguments.objects):
            tell(*row)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        from qpbridge.service.configuration import ServerConfiguration
        from qpbridge.service.running import serve

        serve(ServerConfiguration.load(chosen.serve), work=f"{HERE.stem}:work")
    else:
        main(chosen)
