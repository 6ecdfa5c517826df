"""The devices of this machine, told without loading torch: that would take longer than the start of a server may."""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

AUTO: Final = "auto"

PROBE_S: Final = 10.0
"""How long the driver may take to answer, s; drivers that hang count as none."""

_CUDA_LIBRARIES: Final = ("libcuda.so.1", "nvcuda.dll")
_BUILT_WITH_CUDA: Final = re.compile(r"^cuda\b[^=]*=\s*['\"]", re.MULTILINE)


def chosen_devices(named: Sequence[str]) -> tuple[str, ...]:
    """Return the devices that a configuration names, ``"auto"`` replaced by all GPUs there are, or else the CPU."""
    return tuple(device for name in named for device in (_available() if name == AUTO else (name,)))


def _available() -> Sequence[str]:
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return ["mps"]
    gpus = _count_of_another_process() if torch_takes_gpus(_torch_version_file()) else 0
    return [f"cuda:{index}" for index in range(gpus)] or ["cpu"]


def torch_takes_gpus(version_file: Path | None) -> bool:
    """Return whether the torch that is installed can use GPUs of NVIDIA, as it says of itself."""
    return version_file is not None and bool(_BUILT_WITH_CUDA.search(version_file.read_text(encoding="utf-8")))


def count_gpus() -> int:
    """Return how many GPUs the driver shows this process."""
    for name in _CUDA_LIBRARIES:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int()
        return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0
    return 0


def _torch_version_file() -> Path | None:
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    file = Path(found.origin).parent / "version.py"
    return file if file.is_file() else None


def _count_of_another_process() -> int:
    # A driver that fails badly takes its process along, and one that was asked stays in its memory.
    command = [sys.executable, "-P", "-m", __name__]
    try:
        return int(subprocess.run(command, capture_output=True, timeout=PROBE_S, check=True).stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        return 0


if __name__ == "__main__":
    sys.stdout.write(str(count_gpus()))
