"""What a worker says, without ever being slowed down by how often it reports."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from qpbridge.jobs.workers.messages import FromWorker, Reported, packed

REPORT_INTERVAL_S: Final = 0.1
"""Shortest time between two batches of reports, s: nobody sees more, and each costs the server time."""


class Outbox:
    """Sends messages in order; of reports only the newest of each stage, and not too often.

    Parameters
    ----------
    connection : socket
        To the server.
    on_lost : callable
        Called where nobody listens any more.
    """

    def __init__(self, connection: socket.socket, on_lost: Callable[[], None]) -> None:
        self._connection = connection
        self._on_lost = on_lost
        self._changed = threading.Condition()
        self._reports: dict[str, Reported] = {}
        threading.Thread(target=self._send_reports, name="reports", daemon=True).start()

    def report(self, report: Reported) -> None:
        """Send a report soon, unless a newer one of its stage comes first."""
        with self._changed:
            self._reports.pop(report.stage, None)
            self._reports[report.stage] = report
            self._changed.notify()

    def send(self, message: FromWorker) -> None:
        """Send a message at once, after the reports before it."""
        with self._changed:
            self._flush(message)

    def _send_reports(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._reports)
                self._flush()
            time.sleep(REPORT_INTERVAL_S)

    def _flush(self, *others: FromWorker) -> None:
        batch = [*self._reports.values(), *others]
        self._reports.clear()
        try:
            self._connection.sendall(b"".join(map(packed, batch)))
        except OSError:
            self._on_lost()
