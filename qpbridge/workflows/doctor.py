"""What this machine can do, and what keeps it from doing more."""

from __future__ import annotations

import enum
import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qpbridge import __version__
from qpbridge.core.progress import Progress
from qpbridge.errors import QpbridgeError, QupathMissingError
from qpbridge.qupath.paquo_backend.process import QuPathProcess

PYTHON_MIN: Final = (3, 11)
FREE_DISK_WARN_BYTES: Final = 5_000_000_000
FREE_DISK_FAIL_BYTES: Final = 500_000_000
MEMORY_WARN_BYTES: Final = 6_000_000_000

LIBRARIES: Final = {
    "numpy": "numpy",
    "torch": "torch",
    "openslide-python": "openslide",
    "tifffile": "tifffile",
    "imagecodecs": "imagecodecs",
    "pillow": "PIL",
    "opencv-python-headless": "cv2",
    "scikit-image": "skimage",
    "scipy": "scipy",
    "shapely": "shapely",
    "rasterio": "rasterio",
    "numba": "numba",
    "safetensors": "safetensors",
    "matplotlib": "matplotlib",
}
"""Name on the package index and name of the module."""

SLIDE_FORMATS: Final = (
    "Aperio, DICOM, Hamamatsu, Leica, MIRAX, Philips, Sakura, Trestle, Ventana, Zeiss, tiled TIFF;"
    " other TIFF, PNG, JPEG through tifffile and Pillow"
)
"""What OpenSlide 4 reads (openslide.org/formats), and what else we do."""

_REMEDIES: Final = {"temporary files": "set TMPDIR to a folder that you may write to"}
_OTHER_JAVA: Final = (
    "install a QuPath that brings another Java (0.6.0 brings Java 21), or set jvm_path_override in .paquo.toml to the"
    " libjvm of a Java 17 or 21 that this QuPath takes; --backend auto reads projects without QuPath until then"
)
_REINSTALL: Final = (
    "install again: `uv sync --locked` in a clone, or `python -m pip install --force-reinstall qpbridge`"
)


class Status(enum.Enum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at.

    Parameters
    ----------
    name : str
        What.
    status : Status
        ``FAIL`` where qpbridge cannot work, ``WARN`` where it works less well than it could.
    detail : str
        What was found.
    remedy : str or None
        How to mend it.
    """

    name: str
    status: Status
    detail: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """All checks, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether no check failed."""
        return all(check.status is not Status.FAIL for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "is_healthy": self.is_healthy,
            "checks": [
                {"name": check.name, "status": check.status.value, "detail": check.detail, "remedy": check.remedy}
                for check in self.checks
            ],
        }


def diagnose(progress: Progress) -> DoctorReport:
    """Make all checks; one that goes wrong unexpectedly is a failed check, not the end.

    Parameters
    ----------
    progress : Progress
        Told after each check.

    Raises
    ------
    CancelledError
        If somebody asked to stop.
    """
    checks = []
    for done, (name, examine) in enumerate(EXAMINATIONS.items(), start=1):
        progress.raise_if_cancelled()
        checks.append(_examined(name, examine))
        progress.report("doctor", done, len(EXAMINATIONS))
    return DoctorReport(checks=tuple(checks))


def check_python() -> Check:
    """Check the interpreter."""
    found = f"{platform.python_version()} at {sys.executable}, qpbridge {__version__}, {platform.platform()}"
    if sys.version_info < PYTHON_MIN:
        needed = ".".join(map(str, PYTHON_MIN))
        return Check(name="python", status=Status.FAIL, detail=found, remedy=f"use Python {needed} or later")
    return Check(name="python", status=Status.OK, detail=found)


def check_libraries() -> Check:
    """Check that every library loads, not only that it is installed."""
    versions, faults = [], []
    for distribution, module in LIBRARIES.items():
        try:
            importlib.import_module(module)
            versions.append(f"{distribution} {importlib.metadata.version(distribution)}")
        except (ImportError, OSError) as error:  # OSError: a shared library that the system lacks
            faults.append(f"{distribution}: {error}")
    if faults:
        return Check(name="libraries", status=Status.FAIL, detail="; ".join(faults), remedy=_REINSTALL)
    return Check(name="libraries", status=Status.OK, detail=", ".join(versions))


def check_gpu() -> Check:
    """Check whether torch reaches a GPU, and if not, whether there is one that it should reach."""
    import torch

    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        listed = ", ".join(f"{gpu.name} ({gpu.total_memory / 1e9:.0f} GB)" for gpu in gpus)
        return Check(name="gpu", status=Status.OK, detail=f"{listed}; CUDA {torch.version.cuda}, driver {driver()}")
    if torch.backends.mps.is_available():
        return Check(name="gpu", status=Status.OK, detail="Apple silicon; use --device mps")
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
    found = driver()
    if found is None:
        return Check(
            name="gpu", status=Status.OK, detail=f"none, so networks run on the CPU (torch is built for {built})"
        )
    return Check(
        name="gpu",
        status=Status.WARN,
        detail=f"an NVIDIA driver ({found}) is here, but torch, built for {built}, cannot use it",
        remedy="update the driver to one for that CUDA version, or install torch for this driver's (pytorch.org)",
    )


def driver() -> str | None:
    """Return the version of the NVIDIA driver; None where there is none that answers."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(answer.stdout.split()), None)


def check_cpu() -> Check:
    """Check cores, threads and whether the CPU computes fast in bfloat16."""
    import torch

    from qpbridge.inference.device import available_cores, has_fast_bf16, use_available_cores

    cores, threads = available_cores(), use_available_cores()
    bf16 = "bf16 in hardware" if has_fast_bf16(torch.device("cpu")) else "no bf16 in hardware"
    detail = f"{cores} core(s) to use, {threads} thread(s) for torch, {torch.backends.cpu.get_cpu_capability()}, {bf16}"
    if threads < cores:
        return Check(name="cpu", status=Status.WARN, detail=detail, remedy="unset OMP_NUM_THREADS to use all cores")
    return Check(name="cpu", status=Status.OK, detail=detail)


def check_memory() -> Check:
    """Check how much memory the process may use."""
    limit = memory_bytes()
    if limit is None:
        return Check(name="memory", status=Status.OK, detail="this system does not tell")
    if limit < MEMORY_WARN_BYTES:
        remedy = "train with --preset small, or on a machine with more memory"
        return Check(name="memory", status=Status.WARN, detail=f"{limit / 1e9:.1f} GB", remedy=remedy)
    return Check(name="memory", status=Status.OK, detail=f"{limit / 1e9:.1f} GB")


def memory_bytes() -> int | None:
    """Return physical memory, or a container's limit where that is less; None where the system does not tell."""
    if not hasattr(os, "sysconf"):
        return None
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return min(physical, int(text)) if text.isdigit() else physical


def check_slides() -> Check:
    """Check that a slide, made here, is read by OpenSlide as it was written."""
    import numpy as np
    import openslide
    import tifffile

    from qpbridge.core.geometry import Region
    from qpbridge.slides.opening import open_slide

    pixels = np.full((512, 512, 3), (200, 120, 160), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "doctor.tif"
        tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb")
        with open_slide(path) as slide:
            read = slide.read(Region(x_px=128, y_px=128, width_px=256, height_px=256), 256, 256)
    detail = f"OpenSlide {openslide.__library_version__}: {SLIDE_FORMATS}"
    if not np.array_equal(read, pixels[128:384, 128:384]):
        return Check(
            name="slides", status=Status.FAIL, detail=f"{detail}; a test slide came back wrong", remedy=_REINSTALL
        )
    return Check(name="slides", status=Status.OK, detail=detail)


def check_disk() -> Check:
    """Check the free space where results go by default."""
    folder = Path.cwd()
    free = shutil.disk_usage(folder).free
    status = _disk_status(free)
    remedy = None if status is Status.OK else "make room, or give --out on another disk"
    return Check(name="disk", status=status, detail=f"{free / 1e9:.1f} GB free in {folder}", remedy=remedy)


def check_temporary_folder() -> Check:
    """Check that the folder for temporary files takes one."""
    folder = tempfile.gettempdir()
    with tempfile.TemporaryFile() as file:
        file.write(b"qpbridge")
        file.flush()
    free = shutil.disk_usage(folder).free
    status = _disk_status(free)
    remedy = None if status is Status.OK else "make room, or set TMPDIR to a folder on another disk"
    return Check(name="temporary files", status=status, detail=f"{free / 1e9:.1f} GB free in {folder}", remedy=remedy)


def check_qupath() -> Check:
    """Check which QuPath is here, and whether its Java keeps the area of polygons; it is not needed."""
    from qpbridge.qupath.backends import NO_QUPATH
    from qpbridge.qupath.paquo_backend.installation import ADVICE, may_be_here, told_folder

    if not may_be_here():
        detail = f"{NO_QUPATH}: projects are read without it, and only GeoJSON is written; {ADVICE}"
        return Check(name="qupath", status=Status.OK, detail=detail)
    process = QuPathProcess()
    try:
        facts = process.start()
    except QupathMissingError as error:
        status = Status.WARN if told_folder() else Status.OK
        return Check(name="qupath", status=status, detail=str(error), remedy=ADVICE if told_folder() else None)
    finally:
        process.close()
    if not facts.keeps_areas:
        return Check(name="qupath", status=Status.WARN, detail=facts.trouble, remedy=_OTHER_JAVA)
    return Check(name="qupath", status=Status.OK, detail=f"{facts.text} at {facts.java_folder}, which keeps polygons")


def check_fixtures() -> Check:
    """Check whether the test data that may not be handed on are here; only tests need them."""
    told = os.environ.get("QPBRIDGE_FIXTURES")
    folder = Path(told or "../shared/fixtures")
    if folder.is_dir():
        return Check(name="test data", status=Status.OK, detail=str(folder.resolve()))
    if told:
        remedy = "set QPBRIDGE_FIXTURES to their folder, or unset it"
        return Check(
            name="test data", status=Status.WARN, detail=f"QPBRIDGE_FIXTURES={told} is no folder", remedy=remedy
        )
    return Check(name="test data", status=Status.OK, detail="not here; the tests that need them are skipped")


EXAMINATIONS: Final[dict[str, Callable[[], Check]]] = {
    "python": check_python,
    "libraries": check_libraries,
    "gpu": check_gpu,
    "cpu": check_cpu,
    "memory": check_memory,
    "slides": check_slides,
    "qupath": check_qupath,
    "disk": check_disk,
    "temporary files": check_temporary_folder,
    "test data": check_fixtures,
}


def _examined(name: str, examine: Callable[[], Check]) -> Check:
    try:
        return examine()
    except (ImportError, OSError, RuntimeError, QpbridgeError) as error:
        detail = f"{type(error).__name__}: {error}"
        return Check(name=name, status=Status.FAIL, detail=detail, remedy=_REMEDIES.get(name, _REINSTALL))


def _disk_status(free_bytes: int) -> Status:
    if free_bytes < FREE_DISK_FAIL_BYTES:
        return Status.FAIL
    return Status.WARN if free_bytes < FREE_DISK_WARN_BYTES else Status.OK
