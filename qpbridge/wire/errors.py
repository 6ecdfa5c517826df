"""Causes of failure on their way from a server to its clients, where they are the same errors again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from qpbridge import errors
from qpbridge.errors import QpbridgeError
from qpbridge.jobs.records import DEFECT, SERVER_STOPPED, WORKER_DIED, JobError

DOMAIN: Final = "qpbridge"
"""Of the reasons, in ``google.rpc.ErrorInfo``."""

MESSAGE_MAX_BYTES: Final = 1600
"""Of a message in UTF-8: gRPC writes each byte up to three times, then all of it in base64, and clients take 8 KiB."""


@dataclass(frozen=True, slots=True)
class Cause:
    """How protocols call a cause of failure.

    Parameters
    ----------
    code : grpc.StatusCode
        In gRPC.
    http_status : int
        In HTTP.
    """

    code: grpc.StatusCode
    http_status: int


_INVALID: Final = Cause(grpc.StatusCode.INVALID_ARGUMENT, 400)
_MISSING: Final = Cause(grpc.StatusCode.NOT_FOUND, 404)
_UNREADY: Final = Cause(grpc.StatusCode.FAILED_PRECONDITION, 409)
_DAMAGED: Final = Cause(grpc.StatusCode.DATA_LOSS, 500)
_UNAVAILABLE: Final = Cause(grpc.StatusCode.UNAVAILABLE, 503)
_FAULT: Final = Cause(grpc.StatusCode.INTERNAL, 500)

CAUSES: Final[Mapping[type[QpbridgeError], Cause]] = {
    errors.UnknownNameError: _INVALID,
    errors.InvalidValueError: _INVALID,
    errors.UnsupportedImageError: _INVALID,
    errors.TooFewClassesError: _INVALID,
    errors.TooLargeError: Cause(grpc.StatusCode.RESOURCE_EXHAUSTED, 413),
    errors.ProjectNotFoundError: _MISSING,
    errors.SlideNotFoundError: _MISSING,
    errors.BundleNotFoundError: _MISSING,
    errors.PredictionNotFoundError: _MISSING,
    errors.JobNotFoundError: _MISSING,
    errors.PixelSizeMissingError: _UNREADY,
    errors.SlideMismatchError: _UNREADY,
    errors.NoAnnotationError: _UNREADY,
    errors.ProjectExistsError: Cause(grpc.StatusCode.ALREADY_EXISTS, 409),
    errors.DataExistsError: Cause(grpc.StatusCode.ALREADY_EXISTS, 409),
    errors.NothingToTrainError: _UNREADY,
    errors.QupathMissingError: _UNREADY,
    errors.QupathFailedError: _UNREADY,
    errors.NothingToUndoError: _UNREADY,
    errors.ResultsBusyError: Cause(grpc.StatusCode.ABORTED, 409),
    errors.LaterRunError: _UNREADY,
    errors.PackageMissingError: _UNREADY,
    errors.WeightsMissingError: _UNREADY,
    errors.ServerRunningError: Cause(grpc.StatusCode.ABORTED, 409),
    errors.ServerStoppingError: _UNAVAILABLE,
    errors.JobElsewhereError: _UNREADY,
    errors.JournalVersionError: _UNREADY,
    errors.DiskFullError: Cause(grpc.StatusCode.RESOURCE_EXHAUSTED, 507),
    errors.DeviceMemoryError: Cause(grpc.StatusCode.RESOURCE_EXHAUSTED, 507),
    errors.QueueFullError: Cause(grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
    errors.TooManyStreamsError: Cause(grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
    errors.DamagedProjectError: _DAMAGED,
    errors.DamagedDataError: _DAMAGED,
    errors.DamagedSlideError: _DAMAGED,
    errors.DamagedGeoJsonError: _DAMAGED,
    errors.DamagedRecordError: _DAMAGED,
    errors.DamagedBundleError: _DAMAGED,
    errors.DamagedJournalError: _DAMAGED,
    errors.DamagedDiscoveryError: _DAMAGED,
    errors.ServerNotRunningError: _UNAVAILABLE,
    errors.ServerUnreachableError: _UNAVAILABLE,
    errors.ServerVersionError: Cause(grpc.StatusCode.UNIMPLEMENTED, 501),
    errors.DiscoveryUnsafeError: _UNAVAILABLE,
    errors.TokenRefusedError: Cause(grpc.StatusCode.UNAUTHENTICATED, 401),
    errors.OriginRefusedError: Cause(grpc.StatusCode.PERMISSION_DENIED, 403),
    errors.PathRefusedError: Cause(grpc.StatusCode.PERMISSION_DENIED, 403),
    errors.ServerFaultError: _FAULT,
    errors.CancelledError: Cause(grpc.StatusCode.CANCELLED, 499),
}
"""Every cause that qpbridge tells apart; a test holds that none is missing. The reason is that of the class."""

OTHER_CAUSES: Final[Mapping[str, Cause]] = {
    "OUT_OF_MEMORY": Cause(grpc.StatusCode.RESOURCE_EXHAUSTED, 507),
    "INSTALLATION": _FAULT,
    "FILE_ACCESS": _UNREADY,
    DEFECT: _FAULT,
    SERVER_STOPPED: Cause(grpc.StatusCode.ABORTED, 503),
    WORKER_DIED: _FAULT,
}
"""Causes that are no class of ours, by their reason; a client meets them as ``ServerFaultError``."""

_OF_THE_CONNECTION: Final[Mapping[grpc.StatusCode, type[QpbridgeError]]] = {
    grpc.StatusCode.UNAVAILABLE: errors.ServerUnreachableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.ServerUnreachableError,
    grpc.StatusCode.UNAUTHENTICATED: errors.TokenRefusedError,
    grpc.StatusCode.UNIMPLEMENTED: errors.ServerVersionError,
    grpc.StatusCode.CANCELLED: errors.CancelledError,
}
"""What it means when gRPC itself gives up, without a word of the server."""


def cause_of(error: BaseException) -> Cause:
    """Return how protocols call an error; anything unforeseen is a fault of the server."""
    known = (CAUSES[kind] for kind in type(error).__mro__ if kind in CAUSES)
    return OTHER_CAUSES.get(JobError.of(error).reason) or next(known, _FAULT)


def status_of(error: BaseException) -> status_pb2.Status:
    """Return an error as Google's APIs tell it: code, message, and an ``ErrorInfo`` with the reason.

    A message beyond ``MESSAGE_MAX_BYTES`` loses its middle: what happened stands first, what to do last.
    """
    told = JobError.of(error)
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=told.reason, domain=DOMAIN))
    code: int = cause_of(error).code.value[0]
    return status_pb2.Status(code=code, message=_fitting(told.message), details=[detail])


def call_status(error: BaseException) -> grpc.Status:
    """Return an error as gRPC ends a call with it: ``code``, ``details`` and ``trailing_metadata``."""
    return rpc_status.to_status(status_of(error))


def error_of(call: grpc.RpcError) -> QpbridgeError:
    """Return the error that ended a call: the server's own, of the same class and with the same message.

    Parameters
    ----------
    call : grpc.RpcError
        As a stub raises it, blocking or async.
    """
    status = _status_in(call)
    info = None if status is None else error_info(status)
    if status is not None and info is not None:
        return error_of_reason(info.reason, status.message)
    ended = cast(Any, call)
    kind = _OF_THE_CONNECTION.get(ended.code())
    if kind is None:
        return errors.ServerFaultError(ended.details() or str(call), ended.code().name)
    return kind(ended.details() or ended.code().name)


def error_of_reason(reason: str, message: str) -> QpbridgeError:
    """Return the error of a reason, such as a failed job tells it.

    Parameters
    ----------
    reason : str
        In UPPER_SNAKE; one that is not known here gives a ``ServerFaultError`` of this reason.
    message : str
        What happened, and what to do.
    """
    kind = _kinds().get(reason)
    if kind is None:
        return errors.ServerFaultError(message, reason)
    # Some build their message from parts; here it is complete.
    return kind.__new__(kind, message)


def _kinds() -> dict[str, type[QpbridgeError]]:
    return {kind.__new__(kind).reason: kind for kind in CAUSES if kind is not errors.ServerFaultError}


def _status_in(call: grpc.RpcError) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(cast(grpc.Call, call))
    except ValueError:  # code or message differ, as where a proxy speaks for the server
        return None


def error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo | None:
    """Return our own detail of a status, which holds the reason; None where it is not of this server."""
    return next((info for info in _infos(status) if info.domain == DOMAIN), None)


def _infos(status: status_pb2.Status) -> Iterator[error_details_pb2.ErrorInfo]:
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            yield info


def _fitting(message: str) -> str:
    # A path need not be text.
    content = message.encode("utf-8", "backslashreplace")
    if len(content) <= MESSAGE_MAX_BYTES:
        return content.decode()
    kept = MESSAGE_MAX_BYTES // 2 - 3
    return f"{content[:kept].decode(errors='ignore')} ... {content[-kept:].decode(errors='ignore')}"
