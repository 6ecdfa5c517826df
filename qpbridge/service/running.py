"""A server from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from qpbridge import __version__
from qpbridge.errors import InvalidValueError
from qpbridge.jobs.board import JobBoard
from qpbridge.jobs.store.state_folder import ServerLock, StateFolder
from qpbridge.service.assembly import board_settings, servicers
from qpbridge.service.binding import check_address, trusted
from qpbridge.service.configuration import ServerConfiguration
from qpbridge.service.devices import chosen_devices
from qpbridge.service.doors.all_doors import AllDoors
from qpbridge.service.logs import logged
from qpbridge.service.places import AllowedPlaces
from qpbridge.wire.discovery import Discovery, remove_discovery, write_discovery
from qpbridge.workflows.entries.roots import reading_only_in

LOG: Final = logging.getLogger(__name__)

WORK: Final = "qpbridge.workflows.worker:run"
"""What worker processes do; they load what a job needs when it comes."""

LOADED_WORK: Final = "qpbridge.workflows.predicting.loaded:run"
"""The same for workers that load everything at once."""

CALLS_GRACE_S: Final = 1.0
"""How long open calls may take once all jobs have ended, s: those who watch learn of it."""

_TOKEN_BYTES: Final = 32
_READ_BYTES: Final = 4096


def serve(
    configuration: ServerConfiguration,
    on_ready: Callable[[Discovery], None] | None = None,
    *,
    work: str | None = None,
) -> None:
    """Run a server until SIGTERM or SIGINT; a second such signal leaves running jobs no time.

    Must be called in the main thread, which is where signals arrive.

    Parameters
    ----------
    configuration : ServerConfiguration
        How.
    on_ready : callable or None
        Called once when it listens.
    work : str or None
        ``"module:function"`` that worker processes do jobs with; the workflows where None.

    Raises
    ------
    InvalidValueError
        If it could be reached from other machines without encryption, cannot listen where it should, or a folder of
        the configuration cannot be used.
    ServerRunningError
        If another server has the state folder.
    DamagedJournalError, JournalVersionError, DiskFullError
        If the journal cannot be used.
    """
    check_address(configuration)
    StateFolder(configuration.state)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    work = work or (LOADED_WORK if configuration.prewarm else WORK)
    with logged(configuration.state / "logs", configuration.logs, token):
        asyncio.run(_run(configuration, token, work, on_ready or (lambda _: None)))


def end_with_stdin() -> None:
    """Let the end of standard input end the server, too, and its running jobs with it.

    Whoever starts a server with a pipe there cannot leave it behind, however their own end comes.
    """
    threading.Thread(target=_read_to_the_end, name="stdin", daemon=True).start()


def _read_to_the_end() -> None:
    while os.read(sys.stdin.fileno(), _READ_BYTES):
        pass
    # Twice: nobody waits for what runs.
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)


async def _run(
    configuration: ServerConfiguration, token: str, work: str, on_ready: Callable[[Discovery], None]
) -> None:
    devices = chosen_devices(configuration.devices)
    places = AllowedPlaces(configuration.roots, configuration.models, configuration.state)
    board = JobBoard(configuration.state, board_settings(configuration, devices, work))
    started = datetime.datetime.now(datetime.UTC)
    answers = servicers(configuration, board, places, devices, started)
    server = AllDoors(answers, configuration, token)
    try:
        discovery = _discovery(configuration, _bound(server, configuration), token, started)
        with reading_only_in((*places.roots, *places.model_folders)):
            async with board:
                board.tell_address(discovery.address)
                await _until_signal(server, board, configuration, discovery, on_ready)
    finally:
        await server.stop(0)
    LOG.info("server ended", extra={"address": discovery.address, "pid": os.getpid()})


async def _until_signal(
    server: AllDoors,
    board: JobBoard,
    configuration: ServerConfiguration,
    discovery: Discovery,
    on_ready: Callable[[Discovery], None],
) -> None:
    with _signals() as signals:
        try:
            await server.start()
            with _discoverable(configuration.state, discovery):
                LOG.info("server runs", extra={"address": discovery.address, "pid": discovery.pid})
                on_ready(discovery)
                await signals.get()
                await _drain(server, board, signals, configuration.grace_s)
        finally:
            await server.stop(CALLS_GRACE_S)


async def _drain(server: AllDoors, board: JobBoard, signals: asyncio.Queue[str], grace_s: float) -> None:
    LOG.info("server drains", extra={"grace_s": grace_s})
    await server.announce_end()
    draining = asyncio.create_task(board.drain(grace_s))
    hurry = asyncio.create_task(signals.get())
    await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not draining.done():
        await board.drain(0)
    await draining


def _bound(server: AllDoors, configuration: ServerConfiguration) -> tuple[str, str | None]:
    try:
        return server.bind()
    except InvalidValueError:
        # Where the port is taken by a server on the same state, that is what the user should hear of.
        ServerLock(StateFolder(configuration.state)).release()
        raise


def _discovery(
    configuration: ServerConfiguration, addresses: tuple[str, str | None], token: str, started: datetime.datetime
) -> Discovery:
    authority = trusted(configuration.tls)
    address, http_address = addresses
    return Discovery(
        address=address,
        http_address=http_address,
        pid=os.getpid(),
        token=token,
        started=started,
        tls_ca=None if authority is None else str(authority),
        version=__version__,
    )


@contextlib.contextmanager
def _discoverable(folder: Path, discovery: Discovery) -> Iterator[None]:
    write_discovery(folder, discovery)
    try:
        yield
    finally:
        remove_discovery(folder, discovery)


@contextlib.contextmanager
def _signals() -> Iterator[asyncio.Queue[str]]:
    loop, arrived = asyncio.get_running_loop(), asyncio.Queue[str]()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, arrived.put_nowait, number.name)
    try:
        yield arrived
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
