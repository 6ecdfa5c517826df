"""A worker process as the server sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import Final, Self

from qpbridge.jobs.store.state_folder import StateFolder
from qpbridge.jobs.workers import child
from qpbridge.jobs.workers.messages import News, Outcome, Ready, ToWorker, heard, packed

LAST_WORDS_BYTES: Final = 2000
"""How much of the end of its log tells why a worker died."""

READ_BYTES: Final = 2**20
"""What is read ahead of a worker."""

DYING_S: Final = 2.0
"""How long a process may take to end after its connection has, s."""

LEFTOVERS_WAIT_S: Final = 5.0
"""How long the lock of a killed worker may take to open, s."""


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class WorkerProcess:
    """A process that does jobs on one device; ``start`` makes one."""

    def __init__(
        self, process: asyncio.subprocess.Process, connection: Connection, name: str, folder: StateFolder, log: Path
    ) -> None:
        self.log = log
        self.is_ready = False
        self._process = process
        self._reader, self._writer = connection
        self._name = name
        self._folder = folder
        self._log_begin = 0
        self._burial = asyncio.create_task(self._bury())

    @classmethod
    async def start(cls, entry: str, device: str, folder: StateFolder) -> Self:
        """Start a process; it loads its work while it can take messages already.

        Parameters
        ----------
        entry : str
            ``"module:function"`` that does the work.
        device : str
            Where.
        folder : StateFolder
            Receives its log.
        """
        ours, theirs = socket.socketpair()
        name = f"worker-{device.replace(':', '-')}-{secrets.token_hex(4)}"
        log = folder.log(device)
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = (str(theirs.fileno()), entry, device, name, str(folder.path))
        connection = await asyncio.open_unix_connection(sock=ours, limit=READ_BYTES)
        with theirs, log.open("ab") as output, contextlib.ExitStack() as on_failure:
            on_failure.callback(connection[1].close)
            # -P: a server started in somebody's folder must not import what lies there.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", child.__name__, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            on_failure.pop_all()
        return cls(process, connection, name, folder, log)

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """Of the process, and of the group of those that it started."""
        return self._process.pid

    def send(self, message: ToWorker) -> None:
        """Send a message; one to a dead worker is lost."""
        if not self._writer.is_closing():
            self._writer.write(packed(message))

    async def receive(self) -> News | Outcome | None:
        """Wait for the next message; None where the worker is dead."""
        while isinstance(message := await heard(self._reader), Ready):
            self.is_ready = True
        return message

    def begin_log(self) -> None:
        """Count what the log says from here on as words of another job."""
        self._log_begin = self._log_size()

    async def death(self) -> str:
        """Wait for the end of a worker whose connection has ended, and tell how that came, with its last words."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._burial), DYING_S)
        self.kill()
        code = await self._burial
        how = _SIGNALS.get(-code, f"signal {-code}") if code < 0 else f"exit code {code}"
        words = self._last_words()
        return f"its worker ended with {how}" + (f"; its last words: {words}" if words else "")

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill the process, wait for its end and remove what it left half-written."""
        self.kill()
        await self._burial
        self._writer.close()
        await asyncio.to_thread(self._folder.remove_leftovers, self._name, LEFTOVERS_WAIT_S)

    async def _bury(self) -> int:
        code = await self._process.wait()
        self.kill()  # processes that it started would keep the connection open
        return code

    def _last_words(self) -> str:
        begin = self._log_begin if self._log_begin <= self._log_size() else 0
        with self.log.open("rb") as file:
            file.seek(max(begin, self._log_size() - LAST_WORDS_BYTES))
            return file.read().decode(errors="replace").strip()

    def _log_size(self) -> int:
        return self.log.stat().st_size


_SIGNALS: Final = {number.value: number.name for number in signal.Signals} | {
    signal.SIGKILL.value: "SIGKILL, as systems do where memory runs out"
}
