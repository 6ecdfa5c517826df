import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from fake_server import TOKEN, Script, serving

from qpbridge import __version__
from qpbridge.client import Client, Tls
from qpbridge.client.access import Access
from qpbridge.client.trouble import check_version
from qpbridge.errors import (
    DiskFullError,
    QpbridgeError,
    ServerUnreachableError,
    ServerVersionError,
    TokenRefusedError,
)

LONG_S = 20.0


def error_of(client: Client) -> QpbridgeError:
    with pytest.raises(QpbridgeError) as raised, client:
        client.job("7")
    return raised.value


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a certificate for localhost that signed itself."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def encrypted_port(certificate: Path, script: Script) -> Iterator[int]:
    pair = ((certificate / "key.pem").read_bytes(), (certificate / "cert.pem").read_bytes())
    with serving(script, credentials=grpc.ssl_server_credentials([pair])) as port:
        yield port


@pytest.fixture
def strict_port(certificate: Path, script: Script) -> Iterator[int]:
    """A server that wants to see a certificate of the client."""
    pair = ((certificate / "key.pem").read_bytes(), (certificate / "cert.pem").read_bytes())
    credentials = grpc.ssl_server_credentials([pair], pair[1], require_client_auth=True)
    with serving(script, credentials=credentials) as port:
        yield port


def test_a_port_where_nothing_listens_is_the_address_step() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        error = error_of(Client(f"127.0.0.1:{held.getsockname()[1]}", token=TOKEN))

    assert isinstance(error, ServerUnreachableError)
    assert str(error).startswith("address: nothing listens at 127.0.0.1:")
    assert "qpbridge serve" in str(error)


def test_a_machine_that_no_one_knows_is_the_address_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.create_connection", unknown)
    error = error_of(Client("no-such-machine.invalid:80", token=TOKEN))

    assert "address: no machine is called 'no-such-machine.invalid'" in str(error)


def test_a_machine_that_does_not_answer_is_the_address_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> None:
        raise TimeoutError("timed out")

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        monkeypatch.setattr("socket.create_connection", silent)
        error = error_of(Client(f"127.0.0.1:{held.getsockname()[1]}", token=TOKEN))

    assert "does not answer within 5 s; does a firewall stand between?" in str(error)


def test_an_encrypting_server_asked_without_encryption_is_the_tls_step(encrypted_port: int) -> None:
    error = error_of(Client(f"127.0.0.1:{encrypted_port}", token=TOKEN))

    assert isinstance(error, ServerUnreachableError)
    assert "TLS: the server at" in str(error)
    assert "wants an encrypted connection; give its certificate: --tls-ca" in str(error)


def test_a_certificate_that_is_not_trusted_is_the_tls_step(encrypted_port: int) -> None:
    error = error_of(Client(f"localhost:{encrypted_port}", token=TOKEN, tls=Tls()))

    assert "TLS: the certificate of localhost" in str(error)
    assert "is not trusted: self-signed certificate" in str(error)


def test_a_plain_server_asked_with_encryption_is_the_tls_step(port: int, certificate: Path) -> None:
    error = error_of(Client(f"127.0.0.1:{port}", token=TOKEN, tls=Tls(ca=certificate / "cert.pem")))

    assert "does not greet" in str(error)


def test_a_server_that_misses_the_clients_certificate_is_the_tls_step(strict_port: int, certificate: Path) -> None:
    error = error_of(Client(f"localhost:{strict_port}", token=TOKEN, tls=Tls(ca=certificate / "cert.pem")))

    assert "want a certificate of yours?" in str(error)


def test_with_the_right_certificates_everything_is_in_order(
    encrypted_port: int, strict_port: int, certificate: Path
) -> None:
    ca, key = certificate / "cert.pem", certificate / "key.pem"

    with Client(f"localhost:{encrypted_port}", token=TOKEN, tls=Tls(ca=ca)) as client:
        assert client.job("7").id == "7"
    with Client(f"127.0.0.1:{strict_port}", token=TOKEN, tls=Tls(ca=ca, certificate=ca, key=key)) as client:
        assert client.job("7").id == "7"


@pytest.mark.parametrize(("token", "told"), [(None, "no token was shown"), ("wrong", "it is not the server's")])
def test_a_token_that_is_refused_is_the_token_step(port: int, token: str | None, told: str) -> None:
    error = error_of(Client(f"127.0.0.1:{port}", token=token))

    assert isinstance(error, TokenRefusedError)
    assert str(error).startswith("token: ")
    assert told in str(error)
    assert "QPBRIDGE_TOKEN" in str(error)
    assert "wrong" not in str(error)


def test_a_server_of_another_version_is_the_version_step(port: int, script: Script) -> None:
    script.version = "99.1.0"
    error = error_of(Client(f"127.0.0.1:{port}", token=TOKEN))

    assert isinstance(error, ServerVersionError)
    assert f"is qpbridge 99.1.0, this client is {__version__}" in str(error)


def test_patches_of_one_version_understand_each_other() -> None:
    major, minor, patch = __version__.split(".")

    check_version(f"{major}.{minor}.{int(patch) + 7}", Access(address="h:1"))
    with pytest.raises(ServerVersionError):
        check_version(f"{major}.{int(minor) + 1}.{patch}", Access(address="h:1"))


def test_a_server_that_is_none_of_ours_is_the_version_step() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        error = error_of(Client(f"127.0.0.1:{port}", token=TOKEN))
        server.stop(0).wait(LONG_S)

    assert isinstance(error, ServerVersionError)
    assert "is it a qpbridge server" in str(error)


def test_a_server_that_speaks_something_else_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ending = threading.Event()

        def babble() -> None:
            listening.settimeout(0.1)
            while not ending.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        error = error_of(Client(f"127.0.0.1:{listening.getsockname()[1]}", token=TOKEN))
        ending.set()
        thread.join(LONG_S)

    assert isinstance(error, ServerUnreachableError)
    assert str(error).startswith("call: the server at")


def test_what_the_server_itself_refuses_stays_as_it_said(port: int, script: Script) -> None:
    script.error = DiskFullError("no space left for /m")
    error = error_of(Client(f"127.0.0.1:{port}", token=TOKEN))

    assert isinstance(error, DiskFullError)
    assert str(error) == "no space left for /m"
