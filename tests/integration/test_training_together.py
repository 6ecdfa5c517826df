"""Two processes, started as torchrun starts them, train the network that one trains."""

import json
import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shapely import box

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.qupath.writing import NewEntry, create_project
from qpbridge.workflows.train import TrainRequest, train

SETTINGS = {
    "variant": "unet", "width": "2", "norm": "batch", "patch_px": "32", "stride_px": "32", "optimizer": "adamw",
    "batch_size": "4", "learning_rate": "0.02", "epochs": "2", "samples_per_epoch": "9", "repeats_max": "0",
    "ema_decay": "0.9", "sampling": "errors",
}  # fmt: skip
COLORS = {"Red": (170, 60, 60), "Green": (60, 170, 60)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    pixels = np.full((96, 192, 3), COLORS["Red"], np.uint8)
    pixels[:, 96:] = COLORS["Green"]
    noise = np.random.default_rng(0).integers(-40, 41, pixels.shape)
    Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(tmp_path / "a.png")
    objects = [
        PathObject(
            id=str(uuid.uuid4()),
            kind=ObjectKind.ANNOTATION,
            geometry=box(left, 5, left + 80, 90),
            path_class=PathClass(name, color),
        )
        for left, (name, color) in zip((5, 105), COLORS.items(), strict=True)
    ]
    entry = NewEntry(
        slide_path=tmp_path / "a.png", name="a.png", width_px=192, height_px=96, downsamples=(1.0,),
        calibration=PixelCalibration.square(0.5), objects=objects,
    )  # fmt: skip
    create_project(tmp_path / "project", [entry], [PathClass(name, color) for name, color in COLORS.items()])
    return tmp_path / "project"


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def start(project: Path, out: Path, rank: int, port: str) -> subprocess.Popen[str]:
    """Start one of two processes, as torchrun does."""
    told = {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1"}
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "qpbridge", "train", str(project), "--out", str(out)),
            *("--family", "dmmn", "--device", "cpu", "--json", *settings),
        ],
        env={**os.environ, **told, "MASTER_PORT": port, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_train_what_one_does_and_one_speaks(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPBRIDGE_STATE", str(tmp_path / "state"))
    port = free_port()
    both = [start(project, tmp_path / "two", rank, port) for rank in (0, 1)]
    request = TrainRequest(project=project, out=tmp_path / "one", family="dmmn", device="cpu", settings=SETTINGS)

    alone = train(request, SilentProgress())

    (first, told), (second, silence) = (one.communicate() for one in both)
    assert [one.returncode for one in both] == [0, 0], told + silence
    assert json.loads(first)["digest"] == alone.digest
    assert "train 6/6" in told
    assert second == silence == ""
    assert (tmp_path / "two" / "report.html").is_file()
    assert list((tmp_path / "state" / "checkpoints").glob("*")) == []
