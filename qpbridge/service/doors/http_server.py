"""A uvicorn server with the house's services by HTTP, in the event loop of the one that speaks gRPC."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final

import h11
import uvicorn
from google.protobuf.descriptor import ServiceDescriptor
from uvicorn.protocols.http.h11_impl import H11Protocol

from qpbridge.errors import InvalidValueError
from qpbridge.service.configuration import ServerConfiguration, Tls
from qpbridge.service.doors.calls import Streams
from qpbridge.service.doors.http_door import HttpDoor
from qpbridge.service.doors.http_guard import HttpGuard
from qpbridge.service.doors.http_results import Results, ResultsDoor
from qpbridge.service.doors.token import Token

LOG: Final = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 256
"""Connections at once besides the streams that the limits allow."""

IDLE_S: Final = 60
"""A connection without a call is closed then, s."""


HEAD_S: Final = 20.0
"""How long a call may take to say what it wants, s. Whoever shows the token may then take any time for the message."""


class HttpServer:
    """Answers calls by servicers; to be made in a running event loop.

    Parameters
    ----------
    servicers : mapping of ServiceDescriptor to object
        See ``GrpcDoor.handler``.
    results : Results
        That of them which sends files.
    configuration : ServerConfiguration
        How.
    streams : Streams
        That are open.
    token : Token
        To be shown with every call.

    Raises
    ------
    InvalidValueError
        If certificate or key cannot be used.
    """

    def __init__(
        self,
        servicers: Mapping[ServiceDescriptor, object],
        results: Results,
        configuration: ServerConfiguration,
        streams: Streams,
        token: Token,
    ) -> None:
        limits, self.streams = configuration.limits, streams
        guard = HttpGuard(HttpDoor(servicers, limits, streams), ResultsDoor(results, streams), token, configuration)
        self._settings = uvicorn.Config(
            guard,
            http=PatientProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            limit_concurrency=limits.streams_max + CONNECTIONS_MAX,
            timeout_keep_alive=IDLE_S,
            ssl_context_factory=(lambda *_: tls_context(configuration.tls)) if configuration.tls.is_used else None,
        )
        self._settings.load()
        self._server = uvicorn.Server(self._settings)
        self._server.lifespan = self._settings.lifespan_class(self._settings)

    async def start(self, listening: socket.socket) -> None:
        """Answer calls.

        Parameters
        ----------
        listening : socket
            Bound; closed at the end.
        """
        await self._server.startup(sockets=[listening])

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and end those that are open after a while.

        Parameters
        ----------
        grace_s : float
            How long they may take, s.
        """
        if not self._server.started:
            return
        self._server.started = False
        self._settings.timeout_graceful_shutdown = grace_s  # type: ignore[assignment]
        await self._server.shutdown()
        await asyncio.gather(*self._server.server_state.tasks, return_exceptions=True)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return how connections are encrypted.

    Raises
    ------
    InvalidValueError
        If certificate, key or authority cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A key behind a password is refused, rather than asked for on a terminal that may not be there.
        context.load_cert_chain(str(tls.certificate), str(tls.key), password="")
        if tls.client_authority is not None:
            context.load_verify_locations(tls.client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise InvalidValueError(f"certificate, key or authority in [tls] cannot be used: {error}") from error
    return context


class PatientProtocol(H11Protocol):
    """Ends a connection whose call does not begin, or goes on sending what has been refused.

    Connections at once are limited, so that one who opens many and says little, or nothing, would lock all others out.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a call."""
        super().connection_made(transport)
        self._await_call()

    def data_received(self, data: bytes) -> None:
        """Take what came, and see whether it is a call by now."""
        super().data_received(data)
        if not self._is_awaited():
            self._stop_waiting()
        elif self._patience is None:
            self._await_call()

    def on_response_complete(self) -> None:
        """See whether the call has ended, too."""
        super().on_response_complete()
        if self._patience is None and self._is_refused():
            self._await_call()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_awaited(self) -> bool:
        return self.conn.their_state is h11.IDLE or self._is_refused()

    def _is_refused(self) -> bool:
        return self.conn.our_state in {h11.DONE, h11.MUST_CLOSE} and self.conn.their_state is h11.SEND_BODY

    def _await_call(self) -> None:
        self._patience = self.loop.call_later(HEAD_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if self._is_awaited():
            LOG.info("connection without a call ended", extra={"client": self.client})
            self.transport.abort()
