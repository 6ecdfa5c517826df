"""The token; it is tried over a connection in tests/integration/test_service_security.py."""

import asyncio
from typing import Any

import pytest

from qpbridge.service.doors.token import Token, TokenGuard
from qpbridge.wire.metadata import AUTHORIZATION, BEARER

RIGHT = (AUTHORIZATION, f"{BEARER}s3cret")


class Details:
    def __init__(self, method: str, *metadata: tuple[str, str]) -> None:
        self.method = method
        self.invocation_metadata = metadata


async def let_through(details: Details) -> str:
    return "let through"


def answer(method: str, *metadata: tuple[str, str]) -> Any:
    return asyncio.run(TokenGuard(Token("s3cret")).intercept_service(let_through, Details(method, *metadata)))


def test_whoever_shows_the_token_is_let_through() -> None:
    assert answer("/qpbridge.v1.JobService/GetJob", ("other", "x"), RIGHT) == "let through"


def test_the_question_for_health_goes_without() -> None:
    assert answer("/grpc.health.v1.Health/Check") == "let through"


@pytest.mark.parametrize("method", ["/grpc.health.v1.Health/Watch", "/qpbridge.v1.JobService/GetJob", "/any/thing", ""])
def test_everything_else_is_refused_before_its_message_is_read(method: str) -> None:
    refusal = answer(method)

    assert refusal.request_streaming
    assert refusal.response_streaming


@pytest.mark.parametrize(
    "shown",
    [[], [RIGHT, RIGHT], [("Authorization", RIGHT[1])], [(AUTHORIZATION, "Bearer ")], [(AUTHORIZATION, "é\udc80")]],
)
def test_one_right_token_is_needed(shown: list[tuple[str, str]]) -> None:
    assert not Token("s3cret").is_right(shown)


def test_bytes_are_compared_as_they_are() -> None:
    assert Token("s3cret").is_right([(AUTHORIZATION, RIGHT[1].encode())])
    assert not Token("s3cret").is_right([(AUTHORIZATION, b"Bearer \xff")])
