"""The server's log."""

import json
import logging
from pathlib import Path
from typing import Any

from qpbridge.service.configuration import Logs
from qpbridge.service.logs import JsonFormatter, logged

LOG = logging.getLogger("qpbridge.test")
SECRET = "s3cr3t-token"


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "server.log").read_text().splitlines()]


def test_events_have_time_level_and_fields(tmp_path: Path) -> None:
    with logged(tmp_path, Logs(), SECRET):
        LOG.info("job taken in", extra={"job": "j1", "path": tmp_path})
        LOG.debug("call")

    (line,) = lines(tmp_path)
    assert (line["event"], line["level"], line["job"], line["path"]) == ("job taken in", "INFO", "j1", str(tmp_path))
    assert line["time"].endswith("+00:00")


def test_the_secret_is_left_out_wherever_it_stands(tmp_path: Path) -> None:
    with logged(tmp_path, Logs(), SECRET):
        try:
            raise ValueError(f"cannot read {SECRET}")
        except ValueError:
            LOG.exception("fault %s", SECRET, extra={"field": [SECRET]})

    assert SECRET not in (tmp_path / "server.log").read_text()
    (line,) = lines(tmp_path)
    assert "ValueError: cannot read [token]" in line["trace"]


def test_files_replace_one_another_and_are_the_owners_alone(tmp_path: Path) -> None:
    with logged(tmp_path / "logs", Logs(bytes_max=64 * 1024, files_max=2), SECRET):
        for number in range(3000):
            LOG.info("event %d", number, extra={"text": "x" * 80})

    files = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert files == ["server.log", "server.log.1", "server.log.2"]
    assert all(path.stat().st_size <= 64 * 1024 for path in (tmp_path / "logs").iterdir())
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "logs").iterdir())
    assert lines(tmp_path / "logs")[-1]["event"] == "event 2999"


def test_logging_is_as_before_after_the_block(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)

    with logged(tmp_path, Logs(level="DEBUG"), SECRET):
        assert root.level == logging.DEBUG

    assert (root.level, list(root.handlers)) == before


def test_a_record_with_anything_in_it_becomes_one_line() -> None:
    record = logging.makeLogRecord({"msg": "a\nb", "odd": object(), "name": "n", "levelname": "INFO"})

    line = JsonFormatter(SECRET).format(record)

    assert "\n" not in line
    assert json.loads(line)["event"] == "a\nb"
