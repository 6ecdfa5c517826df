"""The families of networks that can be trained; a process of its own lists them, since that loads torch."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from qpbridge.errors import ServerFaultError
from qpbridge.jobs.workers.child import NICENESS

LOG: Final = logging.getLogger(__name__)

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
        # One caller who goes away does not stop the others.
        return await asyncio.shield(self._asked())

    def warm_up(self) -> None:
        """Ask before somebody wants to know: loading torch takes seconds."""
        self._asked().add_done_callback(_log_failure)

    def _asked(self) -> asyncio.Task[Sequence[Family]]:
        if self._asking is None or (self._asking.done() and not _is_answered(self._asking)):
            self._asking = asyncio.create_task(_ask())
        return self._asking


def _is_answered(asking: asyncio.Task[Sequence[Family]]) -> bool:
    return not asking.cancelled() and asking.exception() is None


def _log_failure(asking: asyncio.Task[Sequence[Family]]) -> None:
    if not asking.cancelled() and (error := asking.exception()):
        LOG.error("%s", error)


async def _ask() -> Sequence[Family]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __name__),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        answer, words = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        told = words.decode(errors="replace").strip()[-500:]
        raise ServerFaultError(f"the families of networks could not be listed: {told}; run qpbridge doctor")
    families: list[Family] = msgspec.json.decode(answer)
    return families


def main() -> None:
    """Write the families to standard output; loads torch."""
    os.nice(NICENESS)
    from qpbridge.models.registry import FAMILIES, described

    sys.stdout.buffer.write(msgspec.json.encode([described(item) for item in FAMILIES]))


if __name__ == "__main__":
    main()
