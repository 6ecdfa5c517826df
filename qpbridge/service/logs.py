"""The server's own log: one JSON object a line, in files that replace one another, without a secret."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import logging.handlers
import os
import queue
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

from qpbridge.service.configuration import Logs

FILE: Final = "server.log"

_OWNER_ONLY: Final = 0o600
_OF_EVERY_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Writes a record with its fields, and leaves a secret out wherever it stands.

    Parameters
    ----------
    secret : str
        Never to be written.
    """

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage(),
            "logger": record.name,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False).replace(self._secret, "[token]")


@contextlib.contextmanager
def logged(folder: Path, settings: Logs, secret: str) -> Iterator[None]:
    """Write what the process logs to a file, as long as the block lasts; a thread does, so that no disk holds us up.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    settings : Logs
        How much, and how long it is kept.
    secret : str
        Never to be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = _OwnersFiles(folder / FILE, maxBytes=settings.bytes_max, backupCount=settings.files_max, encoding="utf-8")
    target.setFormatter(JsonFormatter(secret))
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    source = _QueueHandler(waiting)
    listener = logging.handlers.QueueListener(waiting, target)
    root = logging.getLogger()
    former_level = root.level
    root.addHandler(source)
    root.setLevel(settings.level)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(source)
        root.setLevel(former_level)
        listener.stop()
        target.close()


class _OwnersFiles(logging.handlers.RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _OWNER_ONLY)
        return os.fdopen(descriptor, "a", encoding=self.encoding)


class _QueueHandler(logging.handlers.QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # As it is: the usual way folds the trace into the message.
        return record
