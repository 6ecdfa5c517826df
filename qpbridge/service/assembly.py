"""What a server is made of: the settings of its board, and who answers for which service."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from qpbridge import __version__
from qpbridge.jobs.board import BoardSettings, JobBoard
from qpbridge.service.catalog import Catalog
from qpbridge.service.configuration import ServerConfiguration
from qpbridge.service.families import Families
from qpbridge.service.places import AllowedPlaces
from qpbridge.service.servicers.intake import ATTENDED_KINDS, FILES_WORKER, Intake
from qpbridge.service.servicers.jobs import JobEvents, JobServicer
from qpbridge.service.servicers.learning import EvaluationServicer, TrainingServicer
from qpbridge.service.servicers.models import ModelServicer
from qpbridge.service.servicers.prediction import PredictionServicer
from qpbridge.service.servicers.projects import ProjectServicer
from qpbridge.service.servicers.server import ServerServicer
from qpbridge.v1 import evaluation_pb2, job_pb2, model_pb2, prediction_pb2, project_pb2, server_pb2, training_pb2


def board_settings(configuration: ServerConfiguration, devices: Sequence[str], work: str) -> BoardSettings:
    """Return how jobs are done.

    Parameters
    ----------
    configuration : ServerConfiguration
        Of the server.
    devices : sequence of str
        That networks run on.
    work : str
        ``"module:function"`` that worker processes do jobs with.
    """
    return BoardSettings(
        entry=work,
        devices=(*devices, FILES_WORKER),
        interactive_kinds=ATTENDED_KINDS,
        queued_max=configuration.limits.queued_jobs_max,
        kept_max=configuration.kept_jobs_max,
        is_warmed_up=configuration.prewarm,
    )


def servicers(
    configuration: ServerConfiguration,
    board: JobBoard,
    places: AllowedPlaces,
    devices: Sequence[str],
    started: datetime.datetime,
) -> Mapping[ServiceDescriptor, object]:
    """Return who answers for each service; see ``GrpcDoor.handler``. To be called in a running event loop.

    Parameters
    ----------
    configuration : ServerConfiguration
        Of the server.
    board : JobBoard
        Does the jobs.
    places : AllowedPlaces
        Where requests may read and write.
    devices : sequence of str
        That networks run on.
    started : datetime
        With its zone.
    """
    events = JobEvents(board)
    families = Families()
    if configuration.prewarm:
        families.warm_up()
    intake = Intake(board, places, configuration.limits, devices, configuration.state)
    about = ServerServicer(_about(configuration, places, devices, started))
    return {
        _service(project_pb2, "ProjectService"): ProjectServicer(events, intake, places),
        _service(model_pb2, "ModelService"): ModelServicer(intake, Catalog(places), families),
        _service(training_pb2, "TrainingService"): TrainingServicer(intake),
        _service(prediction_pb2, "PredictionService"): PredictionServicer(board, events, intake, places),
        _service(evaluation_pb2, "EvaluationService"): EvaluationServicer(intake),
        _service(job_pb2, "JobService"): JobServicer(board, events, intake),
        _service(server_pb2, "ServerService"): about,
    }


def _about(
    configuration: ServerConfiguration, places: AllowedPlaces, devices: Sequence[str], started: datetime.datetime
) -> dict[str, Any]:
    return {
        "version": __version__,
        "started": started.isoformat(),
        "devices": list(devices),
        "roots": [str(path) for path in places.roots],
        "model_folders": [str(path) for path in places.model_folders],
        "limits": configuration.limits.model_dump(),
    }


def _service(module: Any, name: str) -> ServiceDescriptor:
    service: ServiceDescriptor = module.DESCRIPTOR.services_by_name[name]
    return service
