"""The list of families, asked for in another process."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import ServerFaultError
from qpbridge.service import families
from qpbridge.service.families import Families


def test_many_who_ask_start_one_process(monkeypatch: pytest.MonkeyPatch, finish: Callable[..., Any]) -> None:
    started = []

    async def ask() -> list[Any]:
        started.append(1)
        await asyncio.sleep(0.01)
        return [{"name": "dmmn"}]

    monkeypatch.setattr(families, "_ask", ask)

    async def several() -> list[Any]:
        known = Families()
        early = asyncio.create_task(known.listing())
        await asyncio.sleep(0)
        early.cancel()
        return await asyncio.gather(*(known.listing() for _ in range(5)))

    assert finish(several()) == [[{"name": "dmmn"}]] * 5
    assert started == [1]


def test_a_failure_is_told_with_its_last_words_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, finish: Callable[..., Any]
) -> None:
    monkeypatch.setattr(families, "__name__", "qpbridge.no_such_module")

    async def twice() -> None:
        known = Families()
        with pytest.raises(ServerFaultError, match="no_such_module"):
            await known.listing()
        monkeypatch.setattr(families, "__name__", "qpbridge.service.families")
        assert [one["name"] for one in await known.listing()][:1] == ["dmmn"]

    finish(twice())


def test_asked_early_a_failure_is_logged_and_the_next_one_asks_again(
    monkeypatch: pytest.MonkeyPatch, finish: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(families, "__name__", "qpbridge.no_such_module")

    async def early_then_late() -> None:
        known = Families()
        known.warm_up()
        while not caplog.messages:
            await asyncio.sleep(0.01)
        assert "no_such_module" in caplog.text
        with pytest.raises(ServerFaultError):
            await known.listing()

    finish(early_then_late())


def test_a_server_that_stops_does_not_leave_the_process_behind(
    monkeypatch: pytest.MonkeyPatch, finish: Callable[..., Any], tmp_path: Path
) -> None:
    program = tmp_path / "sleeps.py"
    program.write_text(
        f"import os, pathlib, time\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(families, "__name__", "sleeps")

    async def asked_and_gone() -> None:
        Families().warm_up()
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)

    finish(asked_and_gone())

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
