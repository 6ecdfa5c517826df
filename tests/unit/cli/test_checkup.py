from collections.abc import Iterator
from typing import Any

import pytest

from qpbridge.cli.checkup import check_server
from qpbridge.client import Access, Tls
from qpbridge.errors import (
    DiscoveryUnsafeError,
    QpbridgeError,
    ServerNotRunningError,
    ServerUnreachableError,
    ServerVersionError,
    TokenRefusedError,
)
from qpbridge.workflows.doctor import Status


class Client:
    """Stands for a client of a server that answers, or does not."""

    def __init__(self, error: QpbridgeError | None = None, tls: Tls | None = None) -> None:
        self.access = Access(address="gpu:1", token="secret", tls=tls, origin="/s/server.json")
        self._error = error

    def __enter__(self) -> "Client":
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def server(self) -> dict[str, Any]:
        return {"version": "0.1.0", "devices": ["cuda:0", "cpu"], "roots": ["/data"]}

    def models(self) -> Iterator[dict[str, Any]]:
        return iter([{}, {}])


@pytest.mark.parametrize("tls", [None, Tls()])
def test_a_server_that_answers_is_in_order_and_so_is_the_token(tls: Tls | None) -> None:
    server, token = check_server(Client(tls=tls), is_wanted=False)

    assert (server.name, server.status, token.name, token.status) == ("server", Status.OK, "token", Status.OK)
    for told in ("0.1.0", "gpu:1", "cuda:0, cpu", "/data", "models: 2"):
        assert told in server.detail
    assert ("not encrypted" in server.detail) == (tls is None)
    assert "/s/server.json" in token.detail
    assert "secret" not in server.detail + token.detail


def test_no_server_is_needed_unless_it_is_asked_for() -> None:
    (idle,) = check_server(Client(ServerNotRunningError("there is none")), is_wanted=False)
    (wanted,) = check_server(Client(ServerNotRunningError("there is none")), is_wanted=True)

    assert (idle.status, wanted.status) == (Status.OK, Status.FAIL)
    assert "qpbridge serve" in idle.detail
    assert wanted.detail == "there is none"
    assert wanted.remedy is not None


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (TokenRefusedError("token: refused"), "token"),
        (ServerUnreachableError("address: nothing listens"), "server"),
        (ServerVersionError("version: differs"), "server"),
        (DiscoveryUnsafeError("others may read it"), "server"),
    ],
)
def test_what_is_wrong_is_told_with_its_remedy(error: QpbridgeError, name: str) -> None:
    (found,) = check_server(Client(error), is_wanted=False)
    (wanted,) = check_server(Client(error), is_wanted=True)

    assert (found.name, found.detail, found.status, wanted.status) == (name, str(error), Status.WARN, Status.FAIL)
    assert found.remedy is not None
