"""All doors together; they are asked over connections in tests/integration/test_http_service.py."""

import http.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from qpbridge.errors import InvalidValueError
from qpbridge.service.configuration import ServerConfiguration
from qpbridge.service.doors.all_doors import AllDoors
from qpbridge.v1 import job_pb2, job_pb2_grpc, prediction_pb2
from qpbridge.wire.metadata import AUTHORIZATION, BEARER

JOBS = job_pb2.DESCRIPTOR.services_by_name["JobService"]
PREDICTIONS = prediction_pb2.DESCRIPTOR.services_by_name["PredictionService"]


class Answers:
    def __getattr__(self, name: str) -> Any:
        async def answer(request: Any, _: Any) -> Any:
            return job_pb2.GetJobResponse(job={"id": request.job_id})

        return answer


def doors(tmp_path: Path, **options: Any) -> AllDoors:
    configuration = ServerConfiguration.load(None, state=tmp_path, **options)
    return AllDoors({JOBS: Answers(), PREDICTIONS: Answers()}, configuration, "t")


def test_both_answer_for_the_same(finish: Callable[..., Any], tmp_path: Path) -> None:
    async def work() -> None:
        both = doors(tmp_path)
        address, http_address = both.bind()
        assert http_address is not None
        await both.start()
        async with grpc.aio.insecure_channel(address) as channel:
            asked = job_pb2_grpc.JobServiceStub(channel).GetJob(
                job_pb2.GetJobRequest(job_id="j"), metadata=[(AUTHORIZATION, f"{BEARER}t")]
            )
            assert (await asked).job.id == "j"
        await both.announce_end()
        await both.stop(0)
        with pytest.raises(OSError, match=r".*"):
            http.client.HTTPConnection(http_address, timeout=5).connect()

    finish(work())


def test_the_door_of_http_stays_closed_where_it_shall(finish: Callable[..., Any], tmp_path: Path) -> None:
    async def work() -> None:
        one = doors(tmp_path, http=False)
        assert one.bind()[1] is None
        await one.start()
        await one.stop(0)

    finish(work())


def test_a_taken_port_is_told_and_nothing_stays_open(finish: Callable[..., Any], tmp_path: Path) -> None:
    async def work() -> None:
        first = doors(tmp_path)
        port = int(str(first.bind()[1]).rpartition(":")[2])
        await first.start()
        second = doors(tmp_path, http_port=port)
        with pytest.raises(InvalidValueError, match="take another --http-port"):
            second.bind()
        await second.stop(0)
        await first.stop(0)

    finish(work())
