from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import pytest

from qpbridge.errors import QupathFailedError, QupathMissingError
from qpbridge.qupath.paquo_backend.installation import ENVIRONMENT
from qpbridge.qupath.paquo_backend.process import QuPathProcess


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for_the_end_of(pid: int) -> None:
    while is_running(pid):
        time.sleep(0.02)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder without a QuPath, and environment that names it."""
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    return tmp_path


def test_a_folder_without_a_qupath_is_told_with_what_to_do(nowhere):
    with pytest.raises(QupathMissingError, match=r"paquo finds none: .*get_qupath.*QPBRIDGE_QUPATH_DIR"):
        QuPathProcess().start()


def test_a_process_that_dies_is_told_and_the_next_question_has_another(nowhere):
    process = QuPathProcess()

    with pytest.raises(QupathFailedError, match=r"has died.*--backend native"):
        process.ask(os._exit, 3)
    assert process.ask(os.getpid) != os.getpid()
    process.close()


def test_a_process_is_replaced_after_so_many_images(nowhere):
    process = QuPathProcess(images_max=2)

    pids = [process.ask_for_image(os.getpid) for _ in range(3)]

    assert pids[0] == pids[1] != pids[2]
    wait_for_the_end_of(pids[0])
    process.close()


def test_a_process_ends_when_nobody_holds_it_any_more(nowhere):
    process = QuPathProcess()
    pid = process.ask(os.getpid)
    assert is_running(pid)

    del process
    gc.collect()

    wait_for_the_end_of(pid)
