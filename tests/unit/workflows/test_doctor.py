import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from qpbridge.core.progress import SilentProgress
from qpbridge.errors import QupathMissingError
from qpbridge.qupath.paquo_backend.records import QuPathFacts
from qpbridge.workflows import doctor
from qpbridge.workflows.doctor import Check, DoctorReport, Status, diagnose


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_this_machine_is_fit_for_its_own_tests() -> None:
    report = diagnose(SilentProgress())

    assert report.is_healthy
    assert [check.name for check in report.checks] == list(doctor.EXAMINATIONS)
    assert all(check.remedy for check in report.checks if check.status is not Status.OK)


def test_one_failed_check_makes_the_report_unhealthy_and_a_warning_does_not() -> None:
    checks = {status: Check(name="x", status=status, detail="d") for status in Status}

    assert DoctorReport(checks=(checks[Status.OK], checks[Status.WARN])).is_healthy
    assert not DoctorReport(checks=(checks[Status.OK], checks[Status.FAIL])).is_healthy


def test_the_report_is_plain_values() -> None:
    report = DoctorReport(checks=(Check(name="x", status=Status.FAIL, detail="d", remedy="r"),))

    assert report.to_dict() == {
        "is_healthy": False,
        "checks": [{"name": "x", "status": "fail", "detail": "d", "remedy": "r"}],
    }


def test_a_check_that_breaks_is_a_failed_check_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Check:
        raise OSError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "EXAMINATIONS", {"slides": broken})

    (check,) = diagnose(SilentProgress()).checks
    assert check.status is Status.FAIL
    assert "libGL.so.1" in check.detail
    assert check.remedy


def test_an_old_python_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHON_MIN", (99, 0))

    check = doctor.check_python()
    assert (check.status, check.remedy) == (Status.FAIL, "use Python 99.0 or later")


def test_a_library_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LIBRARIES", {"numpy": "numpy", "no-such-library": "no_such_library"})

    check = doctor.check_libraries()
    assert check.status is Status.FAIL
    assert check.detail.startswith("no-such-library: No module named")


def test_no_gpu_and_no_driver_is_as_it_should_be(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "driver", lambda: None)

    assert doctor.check_gpu().status is Status.OK


def test_a_driver_that_torch_cannot_use_is_told(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "driver", lambda: "470.256.02")

    check = doctor.check_gpu()
    assert check.status is Status.WARN
    assert "470.256.02" in check.detail


def test_gpus_are_listed_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(name="NVIDIA H200", total_memory=150_000_000_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)

    assert doctor.check_gpu().detail.startswith("NVIDIA H200 (150 GB); CUDA")


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        (lambda: SimpleNamespace(stdout="570.12\n570.12\n"), "570.12"),
        (lambda: (_ for _ in ()).throw(subprocess.CalledProcessError(9, "nvidia-smi")), None),
    ],
)
def test_the_driver_is_what_nvidia_smi_answers(
    answer: Callable[[], object], version: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: answer())

    assert doctor.driver() == version


def test_unused_cores_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpbridge.inference.device.available_cores", lambda: 8)
    monkeypatch.setattr("qpbridge.inference.device.use_available_cores", lambda: 1)

    check = doctor.check_cpu()
    assert check.status is Status.WARN
    assert "OMP_NUM_THREADS" in (check.remedy or "")


@pytest.mark.parametrize(
    ("memory_bytes", "status"), [(None, Status.OK), (2_000_000_000, Status.WARN), (64_000_000_000, Status.OK)]
)
def test_little_memory_is_told(memory_bytes: int | None, status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "memory_bytes", lambda: memory_bytes)

    assert doctor.check_memory().status is status


@pytest.mark.skipif(sys.platform != "linux", reason="physical memory is compared with /proc/meminfo")
def test_memory_is_what_the_machine_has_at_most() -> None:
    total_kib = int(Path("/proc/meminfo").read_text().split()[1])

    memory = doctor.memory_bytes()
    assert memory is not None
    assert 0 < memory <= total_kib * 1024 * 1.01


@pytest.mark.parametrize(
    ("free_bytes", "status"),
    [(10_000_000, Status.FAIL), (2_000_000_000, Status.WARN), (50_000_000_000, Status.OK)],
)
@pytest.mark.parametrize("examine", [doctor.check_disk, doctor.check_temporary_folder])
def test_little_disk_is_told_with_a_remedy(
    examine: Callable[[], Check], free_bytes: int, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=free_bytes))

    check = examine()
    assert check.status is status
    assert (check.remedy is None) == (status is Status.OK)


def test_a_reader_that_returns_other_pixels_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from qpbridge.slides.slide import Slide

    read = Slide.read
    monkeypatch.setattr(Slide, "read", lambda self, *arguments: read(self, *arguments) // 2)

    assert doctor.check_slides().status is Status.FAIL


def test_test_data_that_were_told_but_are_not_there_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPBRIDGE_FIXTURES", str(tmp_path))
    assert doctor.check_fixtures().status is Status.OK

    monkeypatch.setenv("QPBRIDGE_FIXTURES", str(tmp_path / "gone"))
    assert doctor.check_fixtures().status is Status.WARN

    monkeypatch.delenv("QPBRIDGE_FIXTURES")
    monkeypatch.chdir(tmp_path)
    assert doctor.check_fixtures().status is Status.OK


class FoundQuPath:
    """In the place of QuPath's process: starts with so much of an area kept, or not at all."""

    area_kept: float | None = 1.0

    def start(self) -> QuPathFacts:
        if self.area_kept is None:
            raise QupathMissingError("no QuPath to work with: it does not start")
        kept = self.area_kept
        return QuPathFacts(version="0.7.0", folder="/q", java_version="25", java_folder="/j", area_kept=kept)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("area_kept", "status", "detail", "remedy"),
    [
        (1.0, Status.OK, "QuPath 0.7.0 in /q on Java 25 at /j, which keeps polygons", ""),
        (0.17, Status.WARN, "loses parts of polygons: 17%", "Java 21"),
        (None, Status.WARN, "it does not start", "get_qupath"),
    ],
)
def test_a_qupath_is_told_with_its_java_and_what_is_wrong_with_it(
    area_kept: float | None, status: Status, detail: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPBRIDGE_QUPATH_DIR", "/q")
    monkeypatch.setattr(FoundQuPath, "area_kept", area_kept)
    monkeypatch.setattr(doctor, "QuPathProcess", FoundQuPath)

    check = doctor.check_qupath()
    assert check.status is status
    assert detail in check.detail
    assert remedy in (check.remedy or "")


def test_without_a_qupath_it_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpbridge.qupath.paquo_backend.installation.may_be_here", lambda: False)

    check = doctor.check_qupath()
    assert check.status is Status.OK
    assert "no QuPath was found on this machine" in check.detail
    assert "python -m paquo get_qupath" in check.detail
