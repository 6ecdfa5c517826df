"""The gRPC server around the servicers; reflection is asked in tests/integration/test_service.py."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from qpbridge.errors import ServerVersionError, TokenRefusedError
from qpbridge.service.configuration import Limits
from qpbridge.service.doors.calls import Streams
from qpbridge.service.doors.grpc_server import GrpcServer
from qpbridge.service.doors.token import Token
from qpbridge.service.servicers.server import ServerServicer
from qpbridge.v1 import job_pb2, job_pb2_grpc, server_pb2, server_pb2_grpc
from qpbridge.wire.errors import error_of
from qpbridge.wire.metadata import AUTHORIZATION, BEARER

SERVICE = server_pb2.DESCRIPTOR.services_by_name["ServerService"]
TOKEN = [(AUTHORIZATION, f"{BEARER}t")]


def served(work: Callable[[grpc.aio.Channel, GrpcServer], Any], finish: Callable[..., Any]) -> None:
    async def run() -> None:
        server = GrpcServer({SERVICE: ServerServicer({"version": "1.2"})}, Limits(), Streams(Limits()), Token("t"))
        port = server.grpc.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await work(channel, server)
        await server.stop(0)

    finish(run())


def test_services_are_answered_with_the_token_and_others_are_unknown(finish: Callable[..., Any]) -> None:
    async def work(channel: grpc.aio.Channel, _: GrpcServer) -> None:
        ask = server_pb2_grpc.ServerServiceStub(channel).GetServer
        assert (await ask(server_pb2.GetServerRequest(), metadata=TOKEN)).server.version == "1.2"
        for call, kind in (
            (ask(server_pb2.GetServerRequest()), TokenRefusedError),
            (job_pb2_grpc.JobServiceStub(channel).GetJob(job_pb2.GetJobRequest(), metadata=TOKEN), ServerVersionError),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                await call
            assert isinstance(error_of(caught.value), kind)

    served(work, finish)


def test_health_changes_when_the_end_is_near(finish: Callable[..., Any]) -> None:
    async def work(channel: grpc.aio.Channel, server: GrpcServer) -> None:
        async def status(service: str) -> int:
            asked = health_pb2.HealthCheckRequest(service=service)
            return (await health_pb2_grpc.HealthStub(channel).Check(asked)).status

        for service in ("", "qpbridge.v1.ServerService"):
            assert await status(service) == health_pb2.HealthCheckResponse.SERVING
        await server.announce_end()
        for service in ("", "qpbridge.v1.ServerService"):
            assert await status(service) == health_pb2.HealthCheckResponse.NOT_SERVING

    served(work, finish)
