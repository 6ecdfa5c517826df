"""What a server says of itself."""

from collections.abc import Callable
from typing import Any

from qpbridge.service.configuration import Limits
from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.server import ServerServicer
from qpbridge.v1 import server_pb2


def test_a_server_says_what_it_is_and_what_it_takes(caller: Caller, finish: Callable[..., Any]) -> None:
    values = {
        "version": "0.1",
        "started": "2026-11-20T12:00:00+00:00",
        "devices": ["cuda:0"],
        "roots": ["/data"],
        "limits": Limits(objects_max=7).model_dump(),
    }

    server = finish(ServerServicer(values).get_server(server_pb2.GetServerRequest(), caller)).server

    assert (server.version, list(server.devices), list(server.roots)) == ("0.1", ["cuda:0"], ["/data"])
    assert server.started.ToDatetime().year == 2026
    assert (server.limits.objects_max, server.limits.queued_jobs_max) == (7, 100)
