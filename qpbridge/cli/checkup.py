"""Whether a server answers, as checks of the doctor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from qpbridge.client import Access, Client
from qpbridge.client.calls import Document
from qpbridge.errors import (
    DamagedDiscoveryError,
    DiscoveryUnsafeError,
    QpbridgeError,
    ServerNotRunningError,
    ServerUnreachableError,
    ServerVersionError,
    TokenRefusedError,
)
from qpbridge.workflows.doctor import Check, Status


def check_server(client: Client, *, is_wanted: bool) -> list[Check]:
    """Check whether a server answers and takes the token.

    Parameters
    ----------
    client : Client
        Not connected yet.
    is_wanted : bool
        Whether somebody asked for that server; otherwise none is needed.
    """
    try:
        with client:
            return _answering(client.access, client.server(), sum(1 for _ in client.models()))
    except ServerNotRunningError as error:
        if not is_wanted:
            detail = "none runs on this machine, and none is needed; qpbridge serve starts one"
            return [Check(name="server", status=Status.OK, detail=detail)]
        return [_failed(error, Status.FAIL)]
    except QpbridgeError as error:
        return [_failed(error, Status.FAIL if is_wanted else Status.WARN)]


def _answering(access: Access, server: Document, models: int) -> list[Check]:
    encryption = "not encrypted" if access.tls is None else "encrypted"
    found = (
        f"qpbridge {server['version']} at {access.address} ({encryption}), on {', '.join(server['devices'])}; may touch"
        f" {', '.join(server['roots'])}; models: {models}"
    )
    return [
        Check(name="server", status=Status.OK, detail=found),
        Check(name="token", status=Status.OK, detail=f"taken; {access.origin}"),
    ]


def _failed(error: QpbridgeError, status: Status) -> Check:
    name = "token" if isinstance(error, TokenRefusedError) else "server"
    remedy = next((remedy for kind, remedy in _REMEDIES.items() if isinstance(error, kind)), None)
    return Check(name=name, status=status, detail=str(error), remedy=remedy)


_REMEDIES: Final[Mapping[type[QpbridgeError], str]] = {
    ServerNotRunningError: "start one: qpbridge serve",
    ServerUnreachableError: "see the step that failed; on the server's machine, qpbridge doctor looks from there",
    ServerVersionError: "use the same version of qpbridge on both sides",
    TokenRefusedError: "copy the token anew: each start of the server makes another one",
    DiscoveryUnsafeError: "stop the server, remove that file, start the server again",
    DamagedDiscoveryError: "stop the server, remove that file, start the server again",
}
