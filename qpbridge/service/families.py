"""The families of networks that can be trained; a process of its own lists them, since that loads torch."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from qpbridge.errors import ServerFaultError

Family = Mapping[str, Any]
"""JSON values of ``qpbridge.v1.Family``."""


class Families:
    """What can be trained, asked for once; belongs to one event loop."""

    def __init__(self) -> None:
        self._asking: asyncio.Task[Sequence[Family]] | None = None

    async def listing(self) -> Sequence[Family]:
        """Return the families in the registry's order.

        Raises
        ------
        ServerFaultError
            If the process fails.
        """
        if self._asking is None or (self._asking.done() and self._asking.exception() is not None):
            self._asking = asyncio.create_task(_ask())
        # One caller who goes away does not stop the others.
        return await asyncio.shield(self._asking)


async def _ask() -> Sequence[Family]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __name__),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    answer, words = await process.communicate()
    if process.returncode:
        told = words.decode(errors="replace").strip()[-500:]
        raise ServerFaultError(f"the families of networks could not be listed: {told}; run qpbridge doctor")
    families: list[Family] = msgspec.json.decode(answer)
    return families


def describe() -> list[Family]:
    """Return the families with their architectures, presets and settings; loads torch."""
    from qpbridge.models.registry import FAMILIES, configure, listing

    variants = listing()
    described: list[Family] = []
    for family in FAMILIES:
        presets = {preset: configure(family.name, preset, {}) for preset in family.presets}
        values = {preset: asdict(config) | asdict(recipe) for preset, (config, recipe) in presets.items()}
        keys = dict.fromkeys(key for one in values.values() for key in one)
        described.append(
            {
                "name": family.name,
                "title": family.title,
                "variants": [one for one in variants if one["family"] == family.name],
                "presets": list(family.presets),
                "settings": [
                    {"key": key, "values": {preset: one[key] for preset, one in values.items()}} for key in keys
                ],
            }
        )
    return described


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(describe()))
