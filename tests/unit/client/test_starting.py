import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_server import Watching

from qpbridge.client import started_server, starting
from qpbridge.errors import CancelledError, ServerNotRunningError

pytestmark = pytest.mark.slow


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def server_pid(state: Path) -> int:
    return int(json.loads((state / "server.lock").read_text())["pid"])


def test_a_server_runs_for_the_block_and_no_longer(tmp_path: Path) -> None:
    with started_server(tmp_path / "state", [tmp_path], device="cpu") as client:
        told = client.server()
        pid = server_pid(tmp_path / "state")
        assert is_alive(pid)

    assert told["roots"] == [str(tmp_path)]
    assert not is_alive(pid)
    assert not (tmp_path / "state" / "server.json").exists()


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    refused = pytest.raises(ServerNotRunningError, match=r"is no folder|cannot be used")
    with refused as failed, started_server(tmp_path / "state", [tmp_path / "none"]):
        pass

    assert str(tmp_path / "state" / "start.log") in str(failed.value)


def test_a_server_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from qpbridge.client import started_server\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with started_server(folder / 'state', [folder], device='cpu') as client:\n"
        "    print(client.access.address, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        starter.stdout.readline()
        pid = server_pid(tmp_path / "state")
        starter.kill()

    end_s = time.monotonic() + 30
    while is_alive(pid):
        assert time.monotonic() < end_s
        time.sleep(0.05)
    assert not (tmp_path / "state" / "server.json").exists()


def test_a_start_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopping(Watching):
        def raise_if_cancelled(self) -> None:
            raise CancelledError("stopped on request")

    started = []
    popen = starting.subprocess.Popen

    def start(*words: object, **options: object) -> object:
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return started[-1]

    monkeypatch.setattr(starting.subprocess, "Popen", start)

    with pytest.raises(CancelledError), started_server(tmp_path / "state", [tmp_path], progress=Stopping()):
        pass

    assert started[0].returncode is not None
