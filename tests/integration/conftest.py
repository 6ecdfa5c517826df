"""Servers in processes of their own, and what talks to them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from google.protobuf.message import Message
from PIL import Image

from qpbridge.errors import QpbridgeError
from qpbridge.models.bundle import save_bundle
from qpbridge.models.registry import build, configure, family
from qpbridge.models.spec import ModelClass, Provenance
from qpbridge.v1 import (
    evaluation_pb2_grpc,
    job_pb2,
    job_pb2_grpc,
    model_pb2_grpc,
    prediction_pb2_grpc,
    project_pb2_grpc,
    server_pb2_grpc,
    training_pb2_grpc,
)
from qpbridge.wire.discovery import Discovery, read_discovery
from qpbridge.wire.errors import error_of
from qpbridge.wire.metadata import AUTHORIZATION, BEARER, CLIENT

CLASSES = (ModelClass(name="Tumor", color_rgb=(200, 0, 0)), ModelClass(name="Stroma", color_rgb=(150, 200, 150)))
HERE = Path(__file__).parent
WAIT_S = 60.0
STUBS = (
    evaluation_pb2_grpc.EvaluationServiceStub,
    job_pb2_grpc.JobServiceStub,
    model_pb2_grpc.ModelServiceStub,
    prediction_pb2_grpc.PredictionServiceStub,
    project_pb2_grpc.ProjectServiceStub,
    server_pb2_grpc.ServerServiceStub,
    training_pb2_grpc.TrainingServiceStub,
)
PROGRAM = """
import sys
from pathlib import Path
from qpbridge.service.configuration import ServerConfiguration
from qpbridge.service.running import serve
serve(ServerConfiguration.load(Path(sys.argv[1])), work=sys.argv[2])
"""
FAKE_WORK = "service_work:run"


@dataclass
class RunningServer:
    """A server, and a client that shows its token."""

    process: subprocess.Popen[str]
    state: Path
    root: Path
    discovery: Discovery
    channel: grpc.Channel = field(repr=False)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (AUTHORIZATION, BEARER + self.discovery.token), (CLIENT, "tester")

    def call(self, method: str, request: Message, timeout: float = WAIT_S) -> Any:
        """Call a method of any service; a failure is the server's own error."""
        try:
            return self.method(method)(request, metadata=self.metadata, timeout=timeout)
        except grpc.RpcError as error:
            raise error_of(error) from error

    def stream(self, method: str, request: Message) -> Any:
        """Call a method that streams, and return the call."""
        return self.method(method)(request, metadata=self.metadata, timeout=WAIT_S)

    def method(self, name: str) -> Any:
        return next(getattr(stub(self.channel), name) for stub in STUBS if hasattr(stub(self.channel), name))

    def job(self, job_id: str) -> job_pb2.Job:
        return self.call("GetJob", job_pb2.GetJobRequest(job_id=job_id)).job

    def ended(self, job_id: str) -> job_pb2.Job:
        """Wait for the end of a job."""
        events = [event.job for event in self.stream("WatchJob", job_pb2.WatchJobRequest(job_id=job_id))]
        return events[-1]

    def until(self, job_id: str, is_so: Callable[[job_pb2.Job], bool]) -> job_pb2.Job:
        """Wait for a job to be in a state."""
        return wait_for(lambda: job if is_so(job := self.job(job_id)) else None)

    @staticmethod
    def refused(call: Callable[[], Any]) -> BaseException:
        """Return the error that a call ends with; a stream is read."""
        try:
            answer = call()
            for _ in answer if isinstance(answer, grpc.Call) else ():
                pass
        except grpc.RpcError as error:
            return error_of(error)
        return AssertionError("it was let through")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in (self.state / "logs").iterdir())


def wait_for(found: Callable[[], Any]) -> Any:
    """Return what is found once there is something."""
    end = time.monotonic() + WAIT_S
    while not (answer := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return answer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Start servers on the test's own state folder; text of TOML may be added to their configuration."""
    root, state = tmp_path / "root", tmp_path / "state"
    root.mkdir()
    with contextlib.ExitStack() as stack:

        def begin(
            *lines: str, work: str = FAKE_WORK, channel: Callable[[Discovery], grpc.Channel] | None = None
        ) -> Any:
            process = _launch(tmp_path, *lines, work=work)
            stack.callback(_end, process)
            discovery = wait_for(lambda: _discovered(state, process))
            line = (channel or (lambda found: grpc.insecure_channel(found.address)))(discovery)
            stack.callback(line.close)
            return RunningServer(process, state, root, discovery, line)

        yield begin


@pytest.fixture
def launch() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start servers that are expected to end by themselves: the folder first, then lines of TOML."""
    with contextlib.ExitStack() as stack:

        def begin(folder: Path, *lines: str) -> subprocess.Popen[str]:
            process = _launch(folder, *lines)
            stack.callback(_end, process)
            return process

        yield begin


def _launch(folder: Path, *lines: str, work: str = FAKE_WORK) -> subprocess.Popen[str]:
    file = folder / "server.toml"
    own = ('state = "state"', 'roots = ["root"]', 'devices = ["cpu"]', "prewarm = false", "grace_s = 20")
    given = {line.partition(" =")[0] for line in lines}
    file.write_text("\n".join((*(line for line in own if line.partition(" =")[0] not in given), *lines)))
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(file), work],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stderr=subprocess.PIPE,
        text=True,
    )


def _discovered(state: Path, process: subprocess.Popen[str]) -> Discovery | None:
    assert process.poll() is None, process.communicate()[1]
    with contextlib.suppress(QpbridgeError):
        found = read_discovery(state)
        return found if found.pid == process.pid else None
    return None


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    process.stderr.close()


@pytest.fixture(scope="session")
def model(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that nobody trained, its last bias set so that it finds both classes."""
    torch.manual_seed(3)
    config, recipe = configure("dmmn", None, {"variant": "unet", "width": "2", "mpp": "1.0", "patch_px": "256"})
    spec = family("dmmn").spec(config, CLASSES)
    network = build(spec).eval()
    with Image.open(data_dir / "made" / "images" / "slide_b.tif") as image:
        pixels = np.array(image.reduce(4))
    view = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        for parameter in network.parameters():
            parameter.abs_()  # blurs rather than sharpens, so that the regions found are not mere noise
        logits = network({spec.views[0].name: view})["logits"]
        *_, bias = (parameter for parameter in network.parameters() if parameter.shape == (2,))
        bias[0] -= (logits[:, 0] - logits[:, 1]).median()
    provenance = Provenance(
        created="2026-11-20T12:00:00+00:00",
        versions={},
        seed=3,
        recipe=recipe,
        project="none",
        training_entries=(),
        validation_entries=(),
        annotated_area_um2={},
    )
    folder = tmp_path_factory.mktemp("model") / "untrained"
    save_bundle(folder, spec, network, provenance)
    return folder
