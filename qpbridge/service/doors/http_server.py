"""A uvicorn server with the house's services by HTTP, in the event loop of the one that speaks gRPC."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import Final

import uvicorn
from google.protobuf.descriptor import ServiceDescriptor

from qpbridge.errors import InvalidValueError
from qpbridge.service.configuration import ServerConfiguration, Tls
from qpbridge.service.doors.calls import Streams
from qpbridge.service.doors.http_door import HttpDoor
from qpbridge.service.doors.http_guard import HttpGuard
from qpbridge.service.doors.http_results import Results, ResultsDoor
from qpbridge.service.doors.token import Token

CONNECTIONS_MAX: Final = 256
"""Connections at once besides the streams that the limits allow."""

IDLE_S: Final = 60
"""A connection without a call is closed then, s."""


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
            http="h11",
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
