"""All doors together: opened, announced and closed as one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import cast

from google.protobuf.descriptor import ServiceDescriptor

from qpbridge.service.binding import bind, bind_http
from qpbridge.service.configuration import ServerConfiguration
from qpbridge.service.doors.calls import Streams
from qpbridge.service.doors.grpc_server import GrpcServer
from qpbridge.service.doors.http_results import Results
from qpbridge.service.doors.http_server import HttpServer
from qpbridge.service.doors.token import Token
from qpbridge.v1 import prediction_pb2


class AllDoors:
    """Answers calls by servicers, whichever protocol they come by; to be made in a running event loop.

    Parameters
    ----------
    servicers : mapping of ServiceDescriptor to object
        See ``GrpcDoor.handler``.
    configuration : ServerConfiguration
        How.
    token : str
        To be shown with every call.
    """

    def __init__(
        self, servicers: Mapping[ServiceDescriptor, object], configuration: ServerConfiguration, token: str
    ) -> None:
        self._configuration = configuration
        streams, right = Streams(configuration.limits), Token(token)
        self._grpc = GrpcServer(servicers, configuration.limits, streams, right)
        self._http: HttpServer | None = None
        self._listening: socket.socket | None = None
        if configuration.http:
            results = cast(Results, servicers[prediction_pb2.DESCRIPTOR.services_by_name["PredictionService"]])
            self._http = HttpServer(servicers, results, configuration, streams, right)

    def bind(self) -> tuple[str, str | None]:
        """Listen, and return the addresses for clients on this machine: of gRPC, and of HTTP where that is open.

        Raises
        ------
        InvalidValueError
            If a port is taken, or certificate or key cannot be used.
        """
        address, http_address = bind(self._grpc.grpc, self._configuration), None
        if self._http is not None:
            self._listening, http_address = bind_http(self._configuration)
        return address, http_address

    async def start(self) -> None:
        """Answer calls."""
        await self._grpc.start()
        if self._http is not None and self._listening is not None:
            await self._http.start(self._listening)

    async def announce_end(self) -> None:
        """Let those who ask for health know that no work is taken any more."""
        await self._grpc.announce_end()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and end those that are open after a while.

        Parameters
        ----------
        grace_s : float
            How long they may take, s.
        """
        stopping = [self._grpc.stop(grace_s), *([] if self._http is None else [self._http.stop(grace_s)])]
        await asyncio.gather(*stopping)
        if self._listening is not None:
            self._listening.close()
