"""Why a server does not answer: which step of the connection failed, and how to mend it."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import grpc

from qpbridge import __version__
from qpbridge.client.access import Access, Tls
from qpbridge.errors import CancelledError, QpbridgeError, ServerUnreachableError, ServerVersionError, TokenRefusedError
from qpbridge.wire.errors import error_of

PROBE_S: Final = 5.0
"""How long to wait for an answer of the machine, s."""


def cause(call: grpc.RpcError, access: Access) -> QpbridgeError:
    """Return what ended a call: the server's own error, or the step of the connection that failed, with its remedy.

    Takes up to ``PROBE_S`` where nothing answers.

    Parameters
    ----------
    call : grpc.RpcError
        Not cancelled by this client.
    access : Access
        How it was made.
    """
    error = error_of(call)
    if _is_from_server(call) and not isinstance(error, TokenRefusedError):
        return error
    return next((tell(error, access) for kind, tell in _TELLING.items() if isinstance(error, kind)), error)


def check_version(version: str, access: Access) -> None:
    """Refuse a server of another version than this client.

    Patches of one minor version understand each other.

    Raises
    ------
    ServerVersionError
        If versions differ.
    """
    if version.split(".")[:2] != __version__.split(".")[:2]:
        raise ServerVersionError(
            f"version: the server at {access.address} is qpbridge {version}, this client is {__version__}; use the same"
            f" on both sides, e.g. `python -m pip install qpbridge=={version}` here"
        )


def _unreachable(error: QpbridgeError, access: Access) -> QpbridgeError:
    step = _failed_step(access)
    return ServerUnreachableError(step or f"call: the server at {access.address} broke it off ({error}); try again")


def _refused(_: QpbridgeError, access: Access) -> QpbridgeError:
    what = "no token was shown" if access.token is None else f"it is not the server's ({access.origin})"
    return TokenRefusedError(
        f"token: the server at {access.address} refuses it, {what}; on the server's machine its discovery file has it:"
        " give --token-file or QPBRIDGE_TOKEN, or token= in Python"
    )


def _unknown(error: QpbridgeError, access: Access) -> QpbridgeError:
    return ServerVersionError(
        f"version: the server at {access.address} does not know this call ({error}); is it a qpbridge server, of"
        f" version {__version__} like this client?"
    )


_TELLING: Final[Mapping[type[QpbridgeError], Callable[[QpbridgeError, Access], QpbridgeError]]] = {
    ServerUnreachableError: _unreachable,
    CancelledError: _unreachable,  # nobody here did: a server that stops cancels its calls
    TokenRefusedError: _refused,
    ServerVersionError: _unknown,
}


def _is_from_server(call: grpc.RpcError) -> bool:
    """Return whether the server said a word of its own."""
    return any(key == "grpc-status-details-bin" for key, _ in cast(Any, call).trailing_metadata() or ())


def _failed_step(access: Access) -> str | None:
    """Return what is wrong with address or encryption; None where both are in order."""
    try:
        connection = socket.create_connection((access.host, access.port), PROBE_S)
    except OSError as error:
        return f"address: {_no_answer(error, access)}"
    with connection:
        return _failed_encryption(connection, access)


def _no_answer(error: OSError, access: Access) -> str:
    where = f"{access.address} ({access.origin})"
    if isinstance(error, socket.gaierror):
        return f"no machine is called '{access.host}' ({error.strerror}); check the name"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {where}; is the server running, and is that its port? `qpbridge serve` starts one"
    if isinstance(error, TimeoutError):
        return f"{where} does not answer within {PROBE_S:g} s; does a firewall stand between?"
    return f"{where} cannot be reached: {error.strerror or error}"


def _failed_encryption(connection: socket.socket, access: Access) -> str | None:
    if access.tls is None:
        if _greets(connection, access, _any_certificate()) is None:
            return f"TLS: the server at {access.address} wants an encrypted connection; give its certificate: --tls-ca"
        return None
    fault = _greets(connection, access, _as_asked(access.tls))
    if fault is None:
        return None
    if isinstance(fault, ssl.SSLCertVerificationError):
        remedy = "give the certificate that signed it (--tls-ca), and a name that it holds"
        return f"TLS: the certificate of {access.address} is not trusted: {fault.verify_message}; {remedy}"
    return f"TLS: {access.address} does not greet ({fault}); does that server encrypt, and want a certificate of yours?"


def _greets(connection: socket.socket, access: Access, context: ssl.SSLContext) -> OSError | None:
    """Return what goes wrong when encryption begins; None where nothing does."""
    context.set_alpn_protocols(["h2"])
    connection.settimeout(PROBE_S)
    try:
        with context.wrap_socket(connection, server_hostname=access.host) as greeted:
            # A server that misses a certificate of ours says so after the greeting.
            greeted.settimeout(1.0)
            with contextlib.suppress(TimeoutError):
                return None if greeted.recv(1) else ConnectionAbortedError("it hangs up after the greeting")
    except OSError as error:
        return error
    return None


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _as_asked(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context
