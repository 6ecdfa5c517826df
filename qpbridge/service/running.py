"""A server from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import ServiceDescriptor

from qpbridge import __version__
from qpbridge.errors import InvalidValueError
from qpbridge.jobs.board import BoardSettings, JobBoard
from qpbridge.jobs.store.state_folder import ServerLock, StateFolder
from qpbridge.service.binding import bind, check_address, trusted
from qpbridge.service.catalog import Catalog
from qpbridge.service.configuration import ServerConfiguration
from qpbridge.service.devices import chosen_devices
from qpbridge.service.doors.grpc_server import GrpcServer
from qpbridge.service.families import Families
from qpbridge.service.logs import logged
from qpbridge.service.places import AllowedPlaces
from qpbridge.service.servicers.intake import ATTENDED_KINDS, FILES_WORKER, Intake
from qpbridge.service.servicers.jobs import JobEvents, JobServicer
from qpbridge.service.servicers.learning import EvaluationServicer, TrainingServicer
from qpbridge.service.servicers.models import ModelServicer
from qpbridge.service.servicers.prediction import PredictionServicer
from qpbridge.service.servicers.projects import ProjectServicer
from qpbridge.service.servicers.server import ServerServicer
from qpbridge.v1 import evaluation_pb2, job_pb2, model_pb2, prediction_pb2, project_pb2, server_pb2, training_pb2
from qpbridge.wire.discovery import Discovery, remove_discovery, write_discovery
from qpbridge.workflows.entries.roots import tell_roots

LOG: Final = logging.getLogger(__name__)

WORK: Final = "qpbridge.workflows.worker:run"
"""What worker processes do; they load what a job needs when it comes."""

LOADED_WORK: Final = "qpbridge.workflows.predicting.loaded:run"
"""The same for workers that load everything at once."""

CALLS_GRACE_S: Final = 1.0
"""How long open calls may take once all jobs have ended, s: those who watch learn of it."""

_TOKEN_BYTES: Final = 32


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
        asyncio.run(_Run(configuration, token, work).until_signal(on_ready or (lambda _: None)))


@dataclass(frozen=True, slots=True)
class _Run:
    configuration: ServerConfiguration
    token: str
    work: str

    async def until_signal(self, on_ready: Callable[[Discovery], None]) -> None:
        configuration = self.configuration
        devices = chosen_devices(configuration.devices)
        places = AllowedPlaces(configuration.roots, configuration.models, configuration.state)
        tell_roots((*places.roots, *places.model_folders))
        board = JobBoard(configuration.state, self._board_settings(devices))
        started = datetime.datetime.now(datetime.UTC)
        server = GrpcServer(self._servicers(board, places, devices, started), configuration.limits, self.token)
        address = self._bound(server)
        with _signals() as signals:
            async with board:
                board.tell_address(address)
                await server.start()
                with self._discoverable(address, started) as discovery:
                    LOG.info("server runs", extra={"address": address, "pid": os.getpid(), "devices": devices})
                    on_ready(discovery)
                    await signals.get()
                    await self._drain(server, board, signals)
                await server.stop(CALLS_GRACE_S)
        LOG.info("server ended", extra={"address": address, "pid": os.getpid()})

    async def _drain(self, server: GrpcServer, board: JobBoard, signals: asyncio.Queue[str]) -> None:
        LOG.info("server drains", extra={"grace_s": self.configuration.grace_s})
        await server.announce_end()
        draining = asyncio.create_task(board.drain(self.configuration.grace_s))
        hurry = asyncio.create_task(signals.get())
        await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not draining.done():
            await board.drain(0)
        await draining

    def _board_settings(self, devices: Sequence[str]) -> BoardSettings:
        return BoardSettings(
            entry=self.work,
            devices=(*devices, FILES_WORKER),
            interactive_kinds=ATTENDED_KINDS,
            queued_max=self.configuration.limits.queued_jobs_max,
            kept_max=self.configuration.kept_jobs_max,
            is_warmed_up=self.configuration.prewarm,
        )

    def _servicers(
        self, board: JobBoard, places: AllowedPlaces, devices: Sequence[str], started: datetime.datetime
    ) -> Mapping[ServiceDescriptor, object]:
        limits, events = self.configuration.limits, JobEvents(board)
        intake = Intake(board, places, limits, devices, self.configuration.state)
        about: dict[str, Any] = {
            "version": __version__,
            "started": started.isoformat(),
            "devices": list(devices),
            "roots": [str(path) for path in places.roots],
            "model_folders": [str(path) for path in places.model_folders],
            "limits": limits.model_dump(),
        }
        return {
            _service(project_pb2, "ProjectService"): ProjectServicer(events, intake, places),
            _service(model_pb2, "ModelService"): ModelServicer(intake, Catalog(places), Families()),
            _service(training_pb2, "TrainingService"): TrainingServicer(intake),
            _service(prediction_pb2, "PredictionService"): PredictionServicer(board, events, intake, places),
            _service(evaluation_pb2, "EvaluationService"): EvaluationServicer(intake),
            _service(job_pb2, "JobService"): JobServicer(board, events),
            _service(server_pb2, "ServerService"): ServerServicer(about),
        }

    def _bound(self, server: GrpcServer) -> str:
        try:
            return bind(server.grpc, self.configuration)
        except InvalidValueError:
            # Where the port is taken by a server on the same state, that is what the user should hear of.
            ServerLock(StateFolder(self.configuration.state)).release()
            raise

    @contextlib.contextmanager
    def _discoverable(self, address: str, started: datetime.datetime) -> Iterator[Discovery]:
        authority = trusted(self.configuration.tls)
        discovery = Discovery(
            address=address,
            pid=os.getpid(),
            token=self.token,
            started=started,
            tls_ca=None if authority is None else str(authority),
            version=__version__,
        )
        write_discovery(self.configuration.state, discovery)
        try:
            yield discovery
        finally:
            remove_discovery(self.configuration.state, discovery)


def _service(module: Any, name: str) -> ServiceDescriptor:
    service: ServiceDescriptor = module.DESCRIPTOR.services_by_name[name]
    return service


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
