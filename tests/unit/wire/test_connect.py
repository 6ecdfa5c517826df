"""Errors in the Connect protocol; every cause is sent in tests/unit/service/doors/test_http_errors.py."""

import base64

from google.rpc import error_details_pb2

from qpbridge.errors import CancelledError, JobNotFoundError, ServerFaultError
from qpbridge.wire.connect import error_json, error_of_json


def test_an_error_is_code_words_and_reason() -> None:
    told = error_json(JobNotFoundError("no job 'x'"))

    (detail,) = told["details"]
    info = error_details_pb2.ErrorInfo.FromString(base64.b64decode(detail["value"] + "=="))
    assert (told["code"], told["message"]) == ("not_found", "no job 'x'")
    assert (info.reason, info.domain) == ("JOB_NOT_FOUND", "qpbridge")
    assert detail["debug"] == {"reason": "JOB_NOT_FOUND", "domain": "qpbridge"}


def test_cancelled_is_spelled_as_connect_does() -> None:
    assert error_json(CancelledError("stopped"))["code"] == "canceled"


def test_an_error_of_somebody_else_keeps_its_words() -> None:
    found = error_of_json({"code": "unavailable", "message": "a proxy speaks"})

    assert isinstance(found, ServerFaultError)
    assert (str(found), found.reason) == ("a proxy speaks", "UNAVAILABLE")
