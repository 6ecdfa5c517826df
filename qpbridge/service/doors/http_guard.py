"""Nobody comes in at the door of HTTP without the token, from a web page, or by a name that is not the server's."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Mapping, Sequence
from typing import Final

from qpbridge.errors import InvalidValueError, OriginRefusedError, QpbridgeError, ServerVersionError
from qpbridge.service.configuration import ServerConfiguration
from qpbridge.service.doors.http_door import RECEIVED_FACTOR, HttpDoor
from qpbridge.service.doors.http_errors import Receive, Scope, Send, answer_error, sending
from qpbridge.service.doors.http_results import RESULTS, ResultsDoor
from qpbridge.service.doors.token import Token, token_refusal
from qpbridge.wire.metadata import AUTHORIZATION
from qpbridge.wire.size import check_size

LOG: Final = logging.getLogger(__name__)

_OF_BROWSERS: Final = frozenset({"origin", "sec-fetch-site", "sec-fetch-mode"})
"""Headers that a web page cannot keep its browser from sending."""

_TYPES: Final[Mapping[bool, Sequence[str]]] = {
    False: ("application/json", "application/proto"),
    True: ("application/connect+json", "application/connect+proto"),
}
"""Of messages, to methods that answer at once and to those that answer with a stream."""


class HttpGuard:
    """An ASGI application that lets good calls through to the others.

    Parameters
    ----------
    methods : HttpDoor
        Answers methods.
    results : ResultsDoor
        Answers downloads.
    token : Token
        To be shown with every call.
    configuration : ServerConfiguration
        Names the server's hosts, and its limits.
    """

    def __init__(
        self, methods: HttpDoor, results: ResultsDoor, token: Token, configuration: ServerConfiguration
    ) -> None:
        self._methods = methods
        self._results = results
        self._token = token
        self._names = host_names(configuration)
        self._bytes_max = RECEIVED_FACTOR * configuration.limits.message_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call."""
        # What is not ASCII is nothing that we ask for, and nothing that others behind this door expect.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if value.isascii()]
        headers = [(name.decode("latin-1"), value.decode("ascii")) for name, value in scope["headers"]]
        send = sending(send)
        try:
            self._check(scope, headers)
        except QpbridgeError as error:
            await answer_error(send, error)
            return
        if scope["path"].startswith(RESULTS):
            await self._results(scope, receive, send)
        else:
            await self._methods(scope, receive, send)

    def _check(self, scope: Scope, headers: Sequence[tuple[str, str]]) -> None:
        self._check_origin(scope, headers)
        if not self._token.is_right([(name, value) for name, value in headers if name == AUTHORIZATION]):
            raise token_refusal(scope["path"])
        if scope["path"].startswith(RESULTS):
            _check_verb(scope, "GET")
            return
        if scope["path"] not in self._methods.streamed:
            raise ServerVersionError(
                f"there is nothing at {scope['path']} here: a method is at /qpbridge.v1.SERVICE/METHOD, a file of"
                f" results at {RESULTS}JOB/results/ENTRY.geojson.gz; or use the same version on both sides"
            )
        _check_verb(scope, "POST")
        self._check_body(scope["path"], dict(headers))

    def _check_origin(self, scope: Scope, headers: Sequence[tuple[str, str]]) -> None:
        told = [name for name, _ in headers if name in _OF_BROWSERS]
        hosts = [value for name, value in headers if name == "host"]
        if told or len(hosts) != 1 or not self._is_ours(hosts[0], scope):
            LOG.warning("origin refused", extra={"hosts": hosts, "told": told})
        if told:
            raise OriginRefusedError(
                f"the call comes from a web page ('{told[0]}' is there), and this server answers none: ask from a"
                " script, curl or Python"
            )
        if len(hosts) != 1 or not self._is_ours(hosts[0], scope):
            given = ", ".join(hosts) or "nobody"
            raise OriginRefusedError(
                f"the call is for the host '{given}', and this server is {', '.join(sorted(self._names))}: call it by"
                " such a name, or give the other one as http_hosts in its configuration"
            )

    def _is_ours(self, host: str, scope: Scope) -> bool:
        name, port = split_host(host)
        if port not in {None, scope["server"][1]}:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name.lower().rstrip(".") in self._names
        # A name may be made to point at us by somebody else, an address not.
        return address.is_loopback or str(address) == scope["server"][0]

    def _check_body(self, path: str, headers: Mapping[str, str]) -> None:
        types = _TYPES[self._methods.streamed[path]]
        given = headers.get("content-type", "")
        if given.partition(";")[0].strip().lower() not in types:
            raise InvalidValueError(f"{path} does not take the content type '{given}': send {' or '.join(types)}")
        length = headers.get("content-length", "0")
        if length.isdigit():
            check_size(int(length), self._bytes_max)


def host_names(configuration: ServerConfiguration) -> frozenset[str]:
    """Return the names that the server goes by, in lower case."""
    own = ("localhost", socket.gethostname(), socket.getfqdn(), configuration.host, *configuration.http_hosts)
    return frozenset(name.lower().rstrip(".") for name in own)


def split_host(host: str) -> tuple[str, int | None]:
    """Return name and port of a ``Host`` header; a port that is none is -1."""
    name, bracket, rest = host.rpartition("]")
    if bracket:
        name, rest = name.removeprefix("["), rest.removeprefix(":")
    else:
        name, _, rest = host.partition(":")
    return name, (int(rest) if rest.isascii() and rest.isdigit() else -1) if rest else None


def _check_verb(scope: Scope, verb: str) -> None:
    if scope["method"] != verb:
        raise InvalidValueError(f"{scope['path']} is asked with {verb}, not {scope['method']}")
