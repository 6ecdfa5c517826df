"""Devices, told without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from qpbridge.service import devices
from qpbridge.service.devices import chosen_devices, count_gpus, torch_takes_gpus


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.platform, "system", lambda: "Linux")
    monkeypatch.setattr(devices, "torch_takes_gpus", lambda _: True)
    monkeypatch.setattr(devices, "_count_of_another_process", lambda: 2)


def test_auto_means_all_gpus_there_are(gpus: None) -> None:
    assert chosen_devices(["auto"]) == ("cuda:0", "cuda:1")
    assert chosen_devices(["cpu", "cuda:1", "cpu"]) == ("cpu", "cuda:1", "cpu")
    assert chosen_devices(["auto", "cpu"]) == ("cuda:0", "cuda:1", "cpu")


def test_auto_means_the_cpu_where_torch_takes_no_gpu(gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "torch_takes_gpus", lambda _: False)

    assert chosen_devices(["auto"]) == ("cpu",)


def test_auto_means_the_gpu_of_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(devices.platform, "machine", lambda: "arm64")

    assert chosen_devices(["auto"]) == ("mps",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None", True),
        ("__version__ = '2.6+cpu'\ncuda: Optional[str] = None", False),
        ("cuda = '12.6'", True),
        ("hip = '6'", False),
    ],
)
def test_torch_says_what_it_was_built_with(text: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "version.py").write_text(text)

    assert torch_takes_gpus(tmp_path / "version.py") is expected
    assert not torch_takes_gpus(None)


def test_the_installed_torch_is_asked_without_being_loaded() -> None:
    program = (
        "import sys; from qpbridge.service.devices import chosen_devices; print(*chosen_devices(['auto']));"
        " print('torch' in sys.modules)"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    found, is_loaded = answer.stdout.splitlines()
    import torch

    expected = [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]
    assert found.split() == expected
    assert is_loaded == "False"
    assert count_gpus() >= torch.cuda.device_count()


def test_a_driver_that_hangs_or_dies_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.platform, "system", lambda: "Linux")
    monkeypatch.setattr(devices, "torch_takes_gpus", lambda _: True)
    for error in (subprocess.TimeoutExpired("x", 1), subprocess.CalledProcessError(-11, "x"), OSError()):

        def run(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(devices.subprocess, "run", run)
        assert chosen_devices(["auto"]) == ("cpu",)
