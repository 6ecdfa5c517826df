"""The server itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qpbridge.service.servicers.caller import Caller
from qpbridge.v1 import server_pb2
from qpbridge.wire.records import pack


class ServerServicer:
    """``ServerService``.

    Parameters
    ----------
    values : mapping
        JSON values of ``qpbridge.v1.Server``; they do not change while it runs.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._server = pack(server_pb2.Server, values)

    async def get_server(self, _request: server_pb2.GetServerRequest, _: Caller) -> server_pb2.GetServerResponse:
        """Return what server this is and what it takes."""
        return server_pb2.GetServerResponse(server=self._server)
