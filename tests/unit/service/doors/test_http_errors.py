"""Errors on their way out at the door of HTTP; every cause is asked for."""

import asyncio
import json
from typing import Any

import pytest
from connectrpc.errors import ConnectError
from google.rpc import error_details_pb2

from qpbridge.errors import QpbridgeError, UnknownNameError
from qpbridge.service.doors.http_errors import ANY_ANSWER, answer_error, refused, sending
from qpbridge.wire.connect import error_json, error_of_json
from qpbridge.wire.errors import CAUSES

LEAVES = sorted(CAUSES, key=lambda kind: kind.__name__)


def made(kind: type[QpbridgeError]) -> QpbridgeError:
    return kind.__new__(kind, "no µ\nask again") if kind is UnknownNameError else kind("no µ\nask again")


def answered(error: Exception) -> tuple[int, Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(answer_error(send, error))
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize("kind", LEAVES)
def test_every_cause_has_its_status_and_arrives_as_itself(kind: type[QpbridgeError]) -> None:
    status, told = answered(made(kind))

    assert status == CAUSES[kind].http_status
    arrived = error_of_json(told)
    assert type(arrived) is kind
    assert (str(arrived), arrived.reason) == ("no µ\nask again", made(kind).reason)


@pytest.mark.parametrize("kind", LEAVES)
def test_both_ways_out_say_the_same(kind: type[QpbridgeError]) -> None:
    error = refused(made(kind))

    assert isinstance(error, ConnectError)
    told = error_json(made(kind))
    assert (error.code.value, error.message) == (told["code"], told["message"])
    info = error_details_pb2.ErrorInfo.FromString(error.details[0].message_bytes)
    assert info.reason == told["details"][0]["debug"]["reason"] == made(kind).reason
    assert error.details[0].type_name == told["details"][0]["type"]


def test_a_status_is_changed_only_where_one_of_our_errors_ended_the_call() -> None:
    async def statuses() -> list[int]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def ask(error: Exception | None, status: int) -> None:
            send_on = sending(send)
            if error is not None:
                refused(error)
            await send_on({"type": "http.response.start", "status": status, "headers": []})

        full = made(next(kind for kind in LEAVES if kind.__name__ == "DiskFullError"))
        for arguments in ((full, 429), (None, 429), (full, 200)):
            await asyncio.create_task(ask(*arguments))
        assert all(message["headers"] == list(ANY_ANSWER) for message in sent)
        return [message["status"] for message in sent]

    assert asyncio.run(statuses()) == [507, 429, 200]
