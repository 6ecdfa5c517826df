"""The list of families, asked for in another process."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from qpbridge.errors import ServerFaultError
from qpbridge.models.registry import FAMILIES
from qpbridge.service import families
from qpbridge.service.families import Families, describe
from qpbridge.v1 import model_pb2
from qpbridge.wire.records import pack


def test_each_family_tells_its_architectures_presets_and_settings() -> None:
    described = describe()

    assert [one["name"] for one in described] == [family.name for family in FAMILIES]
    first = pack(model_pb2.Family, described[0])
    assert first.variants[0].parameters > 0
    assert all(set(setting.values) == set(first.presets) for setting in first.settings)
    assert {"patch_px", "epochs"} <= {setting.key for setting in first.settings}


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
