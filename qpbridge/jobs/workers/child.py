"""The worker process: does one job after the other; ``python -m`` runs it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import queue
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from qpbridge.errors import CancelledError, QpbridgeError
from qpbridge.jobs.desk import Desk
from qpbridge.jobs.records import JobError
from qpbridge.jobs.store.state_folder import StateFolder
from qpbridge.jobs.workers.messages import (
    Begin,
    Emitted,
    Ended,
    Failed,
    Outcome,
    Ready,
    Reported,
    Stop,
    Stopped,
    Warned,
    receive,
)
from qpbridge.jobs.workers.outbox import Outbox

Work = Callable[[str, dict[str, Any], Desk], dict[str, Any]]
"""Does a job of a kind, as its request says, and returns a result of JSON values."""

WINDOW_BYTES: Final = 4 * 2**20
"""Chunks on their way at once; more wait in the work, which waits with them."""

NICENESS: Final = 5
"""Workers leave the processor to the server, whose answers are short, and to whoever sits before the screen."""

LOG_BYTES_MAX: Final = 5 * 2**20
"""Size at which a log is moved away, and the one moved before it removed."""

LOG_INTERVAL_S: Final = 5.0
"""Between two looks at the size of the log, s."""

_PR_SET_PDEATHSIG: Final = 1


class PipeDesk:
    """The desk of a job whose watchers are behind a pipe.

    Parameters
    ----------
    outbox : Outbox
        Takes what the job says.
    device : str
        Of the worker.
    """

    def __init__(self, outbox: Outbox, device: str) -> None:
        self.device = device
        self.job_id = ""
        self.is_resumed = False
        self._outbox = outbox
        self._changed = threading.Condition()
        self._on_their_way = 0
        self._is_stopped = False

    def begin(self, job_id: str, is_resumed: bool) -> None:
        """Clear the desk for another job."""
        with self._changed:
            self.job_id = job_id
            self.is_resumed, self._is_stopped, self._on_their_way = is_resumed, False, 0

    def stop(self) -> None:
        """Make ``raise_if_cancelled`` raise."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def taken(self, size: int) -> None:
        """Let more chunks go: so many bytes have arrived."""
        with self._changed:
            self._on_their_way = max(0, self._on_their_way - size)
            self._changed.notify_all()

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """Tell the server."""
        told = {name: float(number) for name, number in numbers.items()}
        self._outbox.report(Reported(stage, int(done), int(total), told))

    def warn(self, message: str) -> None:
        """Tell the server."""
        self._outbox.send(Warned(message))

    def raise_if_cancelled(self) -> None:
        """Raise ``CancelledError`` if somebody asked to stop."""
        if self._is_stopped:
            raise CancelledError("stopped on request")

    def emit(self, payload: bytes, count: int) -> None:
        """Send a chunk as soon as those before it have been taken."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._has_room(len(payload)))
            self.raise_if_cancelled()
            self._on_their_way += len(payload)
        self._outbox.send(Emitted(payload, count))

    def _has_room(self, size: int) -> bool:
        return self._on_their_way == 0 or self._on_their_way + size <= WINDOW_BYTES


def serve(connection: socket.socket, work: Work, device: str, on_lost: Callable[[], None]) -> None:
    """Do jobs as they come, until the server is gone.

    Parameters
    ----------
    connection : socket
        To the server.
    work : Work
        Does them.
    device : str
        Where.
    on_lost : callable
        Called, in a thread of its own, at once when the server is gone.
    """
    outbox = Outbox(connection, on_lost)
    desk = PipeDesk(outbox, device)
    jobs: queue.SimpleQueue[Begin | None] = queue.SimpleQueue()

    def listen() -> None:
        while (message := receive(connection)) is not None:
            if isinstance(message, Begin):
                desk.begin(message.job_id, message.is_resumed)
                jobs.put(message)
            elif isinstance(message, Stop):
                desk.stop()
            else:
                desk.taken(message.size)
        jobs.put(None)
        on_lost()

    threading.Thread(target=listen, name="listen", daemon=True).start()
    outbox.send(Ready())
    while (job := jobs.get()) is not None:
        outbox.send(_outcome(work, job, desk))


def _outcome(work: Work, job: Begin, desk: PipeDesk) -> Outcome:
    try:
        request = msgspec.json.decode(job.request)
        if "device" in request:
            request["device"] = desk.device
        return Ended(msgspec.json.encode(work(job.kind, request, desk), enc_hook=str))
    except CancelledError:
        return Stopped()
    except QpbridgeError as error:
        return Failed(error.reason, str(error), is_defect=False)
    except BaseException as error:  # noqa: BLE001
        traceback.print_exc()
        cause = JobError.of(error)
        return Failed(cause.reason, cause.message, is_defect=not isinstance(error, OSError))


def main(connection_fd: int, entry: str, device: str, name: str, folder: Path) -> None:
    """Be a worker.

    Parameters
    ----------
    connection_fd : int
        Inherited socket to the server.
    entry : str
        ``"module:function"`` that is a ``Work``.
    device : str
        Where it works.
    name : str
        Of this process, in the state folder.
    folder : Path
        The state folder.
    """
    _die_with_server()
    os.nice(NICENESS)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    connection = socket.socket(fileno=connection_fd)
    state = StateFolder(folder)
    threading.Thread(target=_limit_log, args=(state.log(device),), name="log", daemon=True).start()
    with state.alive(name):
        module, _, function = entry.partition(":")
        serve(connection, getattr(importlib.import_module(module), function), device, _kill_group)


def _die_with_server() -> None:
    # Where the system cannot do it, the end of the connection does, as soon as the work lets other threads run.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_group() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _limit_log(log: Path) -> None:
    while True:
        with contextlib.suppress(OSError):
            limit_log(log)
        time.sleep(LOG_INTERVAL_S)


def limit_log(log: Path) -> None:
    """Move what is in a log away where it is too much; who has the file open goes on at its beginning."""
    if log.stat().st_size > LOG_BYTES_MAX:
        shutil.copyfile(log, log.with_suffix(".1.log"))
        os.truncate(log, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], Path(sys.argv[5]))
