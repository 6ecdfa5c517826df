"""A gRPC server with the house's services, health and reflection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from qpbridge.service.configuration import Limits
from qpbridge.service.doors.calls import Streams
from qpbridge.service.doors.grpc_door import GrpcDoor
from qpbridge.service.doors.token import Token, TokenGuard

RECEIVED_FACTOR: Final = 4
"""A message so many times too large is broken off by gRPC in its own words; what is smaller, by us in ours. Our
clients send neither."""

OTHER_CALLS_MAX: Final = 256
"""Calls at once besides the streams that the limits allow."""

KEEPALIVE_MS: Final = 30_000
KEEPALIVE_TIMEOUT_MS: Final = 10_000
"""A client whose machine has gone is noticed after the sum, and what it waited for stops."""


class GrpcServer:
    """Answers calls by servicers; to be made in a running event loop.

    Parameters
    ----------
    servicers : mapping of ServiceDescriptor to object
        See ``GrpcDoor.handler``.
    limits : Limits
        Of messages and streams.
    streams : Streams
        That are open.
    token : Token
        To be shown with every call but that for health.
    """

    def __init__(
        self, servicers: Mapping[ServiceDescriptor, object], limits: Limits, streams: Streams, token: Token
    ) -> None:
        self.grpc = grpc.aio.server(
            interceptors=[TokenGuard(token)],
            options=_options(limits),
            maximum_concurrent_rpcs=limits.streams_max + OTHER_CALLS_MAX,
        )
        door = GrpcDoor(limits, streams)
        self.grpc.add_generic_rpc_handlers([door.handler(*pair) for pair in servicers.items()])
        self._names = ["", *(service.full_name for service in servicers)]
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        named = [*self._names[1:], health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(named, self.grpc)

    async def start(self) -> None:
        """Answer calls."""
        await self._tell(health_pb2.HealthCheckResponse.SERVING)
        await self.grpc.start()

    async def announce_end(self) -> None:
        """Let those who ask for health know that no work is taken any more."""
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and end those that are open after a while.

        Parameters
        ----------
        grace_s : float
            How long they may take, s.
        """
        await self.grpc.stop(grace_s)

    async def _tell(self, status: int) -> None:
        for name in self._names:
            await self._health.set(name, status)


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", min(RECEIVED_FACTOR * limits.message_bytes_max, 2**31 - 1)),
        ("grpc.max_send_message_length", -1),
        # Otherwise a second server could listen at the same port, and take half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_TIMEOUT_MS),
    ]
