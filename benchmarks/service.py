"""The server against a bare grpc.aio server that only echoes, in one run on one machine.

Run: ``uv run python benchmarks/service.py [--calls 2000] [--watchers 100] [--objects 1000000]``; prints a markdown
table in about a minute. Workers do fake work, since the way to the client is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

HERE = Path(__file__)
FEATURE = (
    b'{"type":"Feature","id":"00000000-0000-0000-0000-000000000000","geometry":{"type":"Polygon","coordinates":[['
    + b",".join(b"[12345.67,54321.%02d]" % number for number in range(12))
    + b']]},"properties":{"objectType":"detection","classification":{"name":"Tumor","color":[200,0,0]}}}\n'
)
IN_CHUNK = 2**20 // len(FEATURE)
ECHO, STREAM = "/echo.Echo/Once", "/echo.Echo/Many"


def work(kind: str, request: dict[str, Any], desk: Any) -> dict[str, Any]:
    """What the workers do."""
    return {"predict_region": _emit, "train": _count, "export": _sit}[kind](request, desk)


def _emit(request: dict[str, Any], desk: Any) -> dict[str, Any]:
    chunk, objects = FEATURE * IN_CHUNK, request["seed"]
    for begin in range(0, objects, IN_CHUNK):
        count = min(IN_CHUNK, objects - begin)
        desk.emit(chunk[: count * len(FEATURE)], count)
    return {"objects": objects, "region": request["region"]}


def _count(request: dict[str, Any], desk: Any) -> dict[str, Any]:
    steps = int(request["settings"]["steps"])
    for step in range(steps):
        desk.raise_if_cancelled()
        desk.report("train", step, steps, loss=1.0)
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:  # a core is busy, as in earnest
            pass
    return {"digest": "f00d"}


def _sit(_: dict[str, Any], desk: Any) -> dict[str, Any]:
    desk.report("export", 0, 1)
    time.sleep(600)
    return {}


async def echo(port_file: Path) -> None:
    """Serve what there is to compare with."""

    async def once(message: bytes, _: Any) -> bytes:
        return message

    async def many(message: bytes, context: Any) -> None:
        count, size = map(int, message.split())
        chunk = bytes(size)
        for _ in range(count):
            await context.write(chunk)

    server = grpc.aio.server()
    handlers = {
        "Once": grpc.unary_unary_rpc_method_handler(once),
        "Many": grpc.unary_stream_rpc_method_handler(many),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("echo.Echo", handlers)])
    port_file.write_text(str(server.add_insecure_port("127.0.0.1:0")))
    await server.start()
    await server.wait_for_termination()


def serve(configuration: Path) -> None:
    """Serve with fake work."""
    from qpbridge.service.configuration import ServerConfiguration
    from qpbridge.service.running import serve as run

    run(ServerConfiguration.load(configuration), work=f"{HERE.stem}:work")


@dataclass
class Peers:
    """Both servers, from the side of a client."""

    ours: grpc.aio.Channel
    bare: grpc.aio.Channel
    metadata: tuple[tuple[str, str], ...]
    root: Path

    def stub(self, name: str) -> Any:
        from qpbridge.v1 import job_pb2_grpc, prediction_pb2_grpc, project_pb2_grpc, server_pb2_grpc, training_pb2_grpc

        rooms = (job_pb2_grpc, prediction_pb2_grpc, project_pb2_grpc, server_pb2_grpc, training_pb2_grpc)
        stubs = [kind(self.ours) for room in rooms for key, kind in vars(room).items() if key.endswith("ServiceStub")]
        return next(getattr(stub, name) for stub in stubs if hasattr(stub, name))

    def call(self, name: str, request: Any) -> Any:
        return self.stub(name)(request, metadata=self.metadata)

    def echo(self, message: bytes = b"x" * 200) -> Any:
        return self.bare.unary_unary(ECHO)(message)

    def echoes(self, count: int, size: int) -> Any:
        return self.bare.unary_stream(STREAM)(b"%d %d" % (count, size))


@dataclass(frozen=True)
class Row:
    """A line of the table: ours and the bare server's, in ms."""

    what: str
    ours_ms: float
    bare_ms: float
    note: str = ""

    def __str__(self) -> str:
        ratio = self.ours_ms / self.bare_ms
        return f"| {self.what} | {self.ours_ms:,.2f} | {self.bare_ms:,.2f} | {ratio:.2f} | {self.note} |"


async def timed(ask: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        await ask()
        times.append(1e3 * (time.perf_counter() - begin))
    return times


async def small_calls(peers: Peers, count: int, what: str) -> Row:
    """Interleaved, so that whatever else the machine does meets both."""
    from qpbridge.v1 import server_pb2

    ours: list[float] = []
    bare: list[float] = []
    for _ in range(max(1, count // 50)):
        ours += await timed(lambda: peers.call("GetServer", server_pb2.GetServerRequest()), 50)
        bare += await timed(peers.echo, 50)
    worst = sorted(ours)[int(0.99 * len(ours))]
    return Row(what, statistics.median(ours), statistics.median(bare), f"median; 99 % below {worst:.1f} ms")


def region(peers: Peers, objects: int) -> Any:
    from qpbridge.v1 import prediction_pb2

    span = {"x_px": 0, "y_px": 0, "width_px": 1, "height_px": 1}
    return prediction_pb2.PredictRegionRequest(
        slide=str(peers.root / "a.svs"), model=str(peers.root), region=span, seed=objects
    )


async def first_object(peers: Peers, rounds: int) -> Row:
    async def ours() -> None:
        async for _ in peers.call("PredictRegion", region(peers, 1)):
            pass

    async def bare() -> None:
        async for _ in peers.echoes(3, 300):
            pass

    await ours()  # the worker is warm from here on
    times, others = await timed(ours, rounds), await timed(bare, rounds)
    return Row(
        "region: one object, from call to end", statistics.median(times), statistics.median(others), "warm worker"
    )


async def many_objects(peers: Peers, objects: int) -> Row:
    received = size = 0
    begin = time.perf_counter()
    async for answer in peers.call("PredictRegion", region(peers, objects)):
        received += answer.objects.count
        size += len(answer.objects.features)
    ours_s = time.perf_counter() - begin
    assert received == objects, received
    begin = time.perf_counter()
    async for _ in peers.echoes(size // 2**20, 2**20):
        pass
    bare_s = time.perf_counter() - begin
    note = f"{size / 1e6:,.0f} MB, {size / 1e6 / ours_s:,.0f} MB/s, {objects / ours_s:,.0f} objects/s"
    return Row(f"{objects:,} objects streamed", 1e3 * ours_s, 1e3 * bare_s, note)


async def training(peers: Peers, steps: int) -> str:
    from qpbridge.v1 import training_pb2

    request = training_pb2.TrainRequest(project=str(peers.root), out="m", family="f", settings={"steps": str(steps)})
    return (await peers.call("Train", request)).job.id


async def running(peers: Peers, job_id: str, stage: str) -> None:
    from qpbridge.v1 import job_pb2

    while (await peers.call("GetJob", job_pb2.GetJobRequest(job_id=job_id))).job.progress.stage != stage:
        await asyncio.sleep(0.01)


async def cancel(peers: Peers, job_id: str) -> float:
    from qpbridge.v1 import job_pb2

    (took,) = await timed(lambda: peers.call("CancelJob", job_pb2.CancelJobRequest(job_id=job_id)), 1)
    return took


async def cancelling(peers: Peers, rounds: int) -> list[Row]:
    from qpbridge.v1 import project_pb2

    willing, stubborn = [], []
    for _ in range(rounds):
        job_id = await training(peers, 10**6)
        await running(peers, job_id, "train")
        willing.append(await cancel(peers, job_id))
        asked = project_pb2.ExportProjectRequest(project=str(peers.root), out=str(peers.root / "out"))
        job_id = (await peers.call("ExportProject", asked)).job.id
        await running(peers, job_id, "export")
        stubborn.append(await cancel(peers, job_id))
    echo_ms = statistics.median(await timed(peers.echo, 100))
    return [
        Row(
            "cancel, work that looks up each 50 ms", statistics.median(willing), echo_ms, f"worst {max(willing):.0f} ms"
        ),
        Row("cancel, work that never looks up", statistics.median(stubborn), echo_ms, f"worst {max(stubborn):.0f} ms"),
    ]


async def watching(peers: Peers, watchers: int, steps: int) -> list[Row]:
    from qpbridge.v1 import job_pb2

    job_id = await training(peers, steps)
    ends: list[float] = []
    told: list[int] = []

    async def watch() -> None:
        count = 0
        async for _ in peers.call("WatchJob", job_pb2.WatchJobRequest(job_id=job_id)):
            count += 1
        ends.append(time.perf_counter())
        told.append(count)

    everybody = asyncio.gather(*(watch() for _ in range(watchers)))
    await running(peers, job_id, "train")
    small = await small_calls(peers, 200, f"small call beside {watchers} watchers")
    await everybody

    async def read() -> None:
        async for _ in peers.echoes(1, 300):
            pass

    begin = time.perf_counter()
    await asyncio.gather(*(read() for _ in range(watchers)))
    bare_ms = 1e3 * (time.perf_counter() - begin)
    spread_ms = 1e3 * (max(ends) - min(ends))
    note = f"first to last end, after {statistics.mean(told):.0f} messages each; bare: one message each"
    return [small, Row(f"{watchers} watchers see the end", spread_ms, bare_ms, note)]


async def measure(peers: Peers, arguments: argparse.Namespace) -> None:
    print("| what | ours, ms | bare grpc.aio, ms | ratio | |\n|---|---:|---:|---:|---|", flush=True)
    print(await small_calls(peers, arguments.calls, "small call, idle server"), flush=True)
    print(await first_object(peers, arguments.rounds), flush=True)
    busy = await training(peers, 10**6)
    await running(peers, busy, "train")
    print(await small_calls(peers, arguments.calls, "small call, worker computes"), flush=True)
    await cancel(peers, busy)
    print(*await cancelling(peers, arguments.rounds), sep="\n", flush=True)
    print(*await watching(peers, arguments.watchers, arguments.steps), sep="\n", flush=True)
    print(await many_objects(peers, arguments.objects), flush=True)


@contextlib.asynccontextmanager
async def peers_in(folder: Path) -> AsyncIterator[Peers]:
    from qpbridge.wire.discovery import read_discovery
    from qpbridge.wire.metadata import AUTHORIZATION, BEARER

    (folder / "root").mkdir()
    (folder / "server.toml").write_text('state = "state"\nroots = ["root"]\ndevices = ["cpu"]\n')
    with started("--serve", folder / "server.toml"), started("--echo", folder / "port"):
        while not ((folder / "state" / "server.json").exists() and (folder / "port").exists()):
            await asyncio.sleep(0.05)
        found = read_discovery(folder / "state")
        options = [("grpc.max_receive_message_length", -1)]
        address = f"127.0.0.1:{(folder / 'port').read_text()}"
        async with (
            grpc.aio.insecure_channel(found.address, options) as ours,
            grpc.aio.insecure_channel(address, options) as bare,
        ):
            await asyncio.sleep(0.5)
            yield Peers(ours, bare, ((AUTHORIZATION, BEARER + found.token),), folder / "root")


@contextlib.contextmanager
def started(option: str, path: Path) -> Iterator[None]:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    process = subprocess.Popen([sys.executable, str(HERE), option, str(path)], env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


async def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with peers_in(Path(folder).resolve()) as peers:
            await measure(peers, arguments)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument("--steps", type=int, default=200, help="of the job that is watched, 50 ms each")
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--echo", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve)
    elif chosen.echo:
        asyncio.run(echo(chosen.echo))
    else:
        asyncio.run(main(chosen))
