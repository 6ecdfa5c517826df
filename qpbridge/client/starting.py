"""A server of one's own, for as long as it is needed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from qpbridge.client.blocking import Client
from qpbridge.core.progress import Progress, SilentProgress
from qpbridge.errors import QpbridgeError, ServerNotRunningError
from qpbridge.wire.discovery import read_discovery

START_S: Final = 120.0
"""How long a start may take, s: a cold disk reads libraries slowly."""

STOP_S: Final = 45.0
"""How long a stop may take before the process is killed, s: more than the server gives its jobs."""

LOG: Final = "start.log"
"""In the state folder: what the server said."""

_LOOK_S: Final = 0.1
_TOLD_MAX_BYTES: Final = 2000


@contextlib.contextmanager
def started_server(
    state_folder: Path, roots: Sequence[Path], *, device: str = "auto", progress: Progress | None = None
) -> Iterator[Client]:
    """Start a server in a process of its own, on a free port of this machine, and stop it after the block.

    It ends with this process, too, even where that is killed.

    Parameters
    ----------
    state_folder : Path
        For its journal, token and logs; made where it is missing.
    roots : sequence of Path
        Folders that it may read and write.
    device : str
        Where its jobs run: ``"auto"``, ``"cpu"``, ``"cuda:N"`` or ``"mps"``.
    progress : Progress or None
        May ask to stop while the server starts.

    Yields
    ------
    Client
        Connected to it.

    Raises
    ------
    ServerNotRunningError
        If it does not start, e.g. because another one has that state folder; the message has its last words.
    CancelledError
        If somebody asked to stop.
    """
    state_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "qpbridge", "serve", "--end-with-stdin", "--state", str(state_folder)]
    command += ["--device", device, *(word for root in roots for word in ("--root", str(root)))]
    with (state_folder / LOG).open("wb") as log:
        # In a session of its own: Ctrl-C is for the client, which tells the server what to stop. Nothing is ever
        # written to the pipe, which the system closes when this process ends.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_ready(process, state_folder, progress or SilentProgress())
        with Client(state_folder=state_folder) as client:
            yield client
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], state_folder: Path, progress: Progress) -> None:
    end_s = time.monotonic() + START_S
    while not _is_ready(process.pid, state_folder):
        progress.raise_if_cancelled()
        if process.poll() is not None or time.monotonic() > end_s:
            raise ServerNotRunningError(
                f"a server of our own did not start: {_last_words(state_folder)}; all of it is in {state_folder / LOG}"
            )
        time.sleep(_LOOK_S)


def _is_ready(pid: int, state_folder: Path) -> bool:
    try:
        return read_discovery(state_folder).pid == pid
    except QpbridgeError:
        return False


def _last_words(state_folder: Path) -> str:
    words = (state_folder / LOG).read_bytes()[-_TOLD_MAX_BYTES:].decode(errors="replace").splitlines()
    return words[-1] if words else f"nothing was heard of it within {START_S:.0f} s"


def _stop(process: subprocess.Popen[bytes]) -> None:
    with process:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
