"""The entry of a worker process: from the name of a workflow and its request as JSON to its report as JSON.

Workflows are imported when they are asked for. The process keeps the model that it used last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from qpbridge.jobs.desk import Desk
from qpbridge.workflows.kinds import from_json
from qpbridge.workflows.requests import (
    EvaluateRequest,
    ExportModelRequest,
    ExportRequest,
    InspectRequest,
    PredictRegionRequest,
    PredictRequest,
    TrainRequest,
    UndoRequest,
)

if TYPE_CHECKING:
    from qpbridge.workflows.predicting.warm import WarmModel


class Report(Protocol):
    """What a workflow returns."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that are nearly JSON."""


def run(kind: str, request: dict[str, Any], desk: Desk) -> dict[str, Any]:
    """Carry out a workflow.

    Parameters
    ----------
    kind : str
        One of ``kinds.KINDS``.
    request : dict
        As ``kinds.to_json`` made it.
    desk : Desk
        Hears of progress and takes objects.

    Returns
    -------
    dict
        The report as JSON values; not-a-number is None.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If there is no such kind of work, or the request cannot be read.
    QpbridgeError
        As the workflow does.
    """
    import msgspec

    decoded = from_json(kind, request)
    report = _WORK[kind](decoded, desk).to_dict()
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(report, enc_hook=_plain))
    return plain


def _train(request: TrainRequest, desk: Desk) -> Report:
    from qpbridge.workflows.train import train

    return train(replace(request, resume=request.resume or desk.is_resumed), desk)


def _predict(request: PredictRequest, desk: Desk) -> Report:
    from qpbridge.workflows.predict import predict

    return predict(replace(request, resume=request.resume or desk.is_resumed), desk, _model().load, desk.job_id)


def _predict_region(request: PredictRegionRequest, desk: Desk) -> Report:
    from qpbridge.workflows.predicting.region import predict_region

    return predict_region(request, desk, desk.emit, _model().load)


def _evaluate(request: EvaluateRequest, desk: Desk) -> Report:
    from qpbridge.workflows.evaluate import evaluate

    return evaluate(request, desk, _model().load)


def _export(request: ExportRequest, desk: Desk) -> Report:
    from qpbridge.workflows.export import export

    return export(request, desk)


def _inspect(request: InspectRequest, desk: Desk) -> Report:
    from qpbridge.workflows.inspect import inspect

    return inspect(request, desk)


def _export_model(request: ExportModelRequest, desk: Desk) -> Report:
    from qpbridge.workflows.export_model import export_model

    return export_model(request, desk)


def _undo(request: UndoRequest, desk: Desk) -> Report:
    from qpbridge.workflows.predicting.undo import undo

    return undo(request, desk)


_WORK: Final[Mapping[str, Callable[[Any, Desk], Report]]] = {
    "train": _train,
    "predict": _predict,
    "predict_region": _predict_region,
    "evaluate": _evaluate,
    "export": _export,
    "inspect": _inspect,
    "export_model": _export_model,
    "undo": _undo,
}


@cache
def _model() -> WarmModel:
    from qpbridge.workflows.predicting.warm import WarmModel

    return WarmModel()


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)  # a number of numpy, or a path
