"""Nobody without the token comes in."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import grpc

from qpbridge.errors import TokenRefusedError
from qpbridge.wire.errors import call_status
from qpbridge.wire.metadata import AUTHORIZATION, BEARER

LOG: Final = logging.getLogger(__name__)

OPEN_METHODS: Final = frozenset({"/grpc.health.v1.Health/Check"})
"""What anybody may ask: whether the server is there. Watching that needs a token, since it holds a stream."""

_REMEDY: Final = (
    "clients of the same user read it from the discovery file (server.json in the state folder), others name it in"
    " QPBRIDGE_TOKEN; each start of the server makes a new one"
)

Metadata = Iterable[tuple[str, str | bytes]]


class Token:
    """What must be shown with a call.

    Parameters
    ----------
    token : str
        The right one.
    """

    def __init__(self, token: str) -> None:
        self._expected = f"{BEARER}{token}".encode()

    def is_right(self, metadata: Metadata) -> bool:
        """Return whether exactly one token was shown, and it is the right one; takes as long for any of a length."""
        shown = [value for key, value in metadata if key == AUTHORIZATION]
        if len(shown) != 1:
            return False
        value = shown[0]
        content = value if isinstance(value, bytes) else value.encode(errors="replace")
        return hmac.compare_digest(content, self._expected)


class TokenGuard(grpc.aio.ServerInterceptor):
    """Refuses calls without the token, before their message is read.

    Parameters
    ----------
    token : Token
        The right one.
    """

    def __init__(self, token: Token) -> None:
        self._token = token

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return what answers a call."""
        method = str(handler_call_details.method)
        if method in OPEN_METHODS or self._token.is_right(handler_call_details.invocation_metadata):
            return await continuation(handler_call_details)
        status = call_status(token_refusal(method))

        async def refuse(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            await context.abort(status.code, status.details, status.trailing_metadata)

        # Of this form for every method, since it alone does not wait for the message of the client.
        return grpc.stream_stream_rpc_method_handler(refuse)


def token_refusal(asked: str) -> TokenRefusedError:
    """Return the error for a call without the token, and log that there was one."""
    LOG.warning("token refused", extra={"method": asked})
    return TokenRefusedError(f"no token, or not the one of this server: {_REMEDY}")
