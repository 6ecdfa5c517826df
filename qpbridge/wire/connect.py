"""Causes of failure in the Connect protocol: the same code, message and reason as in gRPC, as JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import grpc

from qpbridge.errors import QpbridgeError
from qpbridge.wire.errors import DOMAIN, error_info, error_of_reason, status_of

INFO: Final = "google.rpc.ErrorInfo"
"""Type of the detail that holds the reason."""

_SPELLED: Final = {grpc.StatusCode.CANCELLED.value[0]: "canceled"}
_NAMES: Final = {code.value[0]: code.name.lower() for code in grpc.StatusCode} | _SPELLED


def error_json(error: BaseException) -> dict[str, Any]:
    """Return an error as the Connect protocol ends a call with it.

    The reason also stands in plain text, under ``debug`` of the detail, for clients that know no protobuf.
    """
    status = status_of(error)
    info = error_info(status)
    assert info is not None
    detail = {
        "type": INFO,
        "value": base64.b64encode(info.SerializeToString()).decode().rstrip("="),
        "debug": {"reason": info.reason, "domain": DOMAIN},
    }
    return {"code": _NAMES[status.code], "message": status.message, "details": [detail]}


def error_of_json(values: Mapping[str, Any]) -> QpbridgeError:
    """Return the error that ended a call: of the same class as on the server, with the same message."""
    reasons = (detail.get("debug", {}).get("reason") for detail in values.get("details", ()))
    reason = next(filter(None, reasons), str(values.get("code", "unknown")).upper())
    return error_of_reason(reason, str(values.get("message", "")))
