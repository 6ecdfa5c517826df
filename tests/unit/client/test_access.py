import datetime
import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.client.access import Access, Tls, find_access, own_name
from qpbridge.errors import InvalidValueError, ServerNotRunningError, TokenRefusedError
from qpbridge.wire.discovery import FILE, Discovery, write_discovery


@pytest.fixture
def found(tmp_path: Path) -> Discovery:
    discovery = Discovery(
        address="127.0.0.1:4321",
        pid=os.getpid(),
        token="secret",
        started=datetime.datetime.now(datetime.UTC),
        tls_ca=str(tmp_path / "ca.pem"),
        version="0.1.0",
    )
    write_discovery(tmp_path, discovery)
    return discovery


@pytest.mark.parametrize("address", ["", "host", ":80", "host:", "host:http", "host:0", "host:65536", "host:-1"])
def test_an_address_that_is_none_is_refused_with_its_text(address: str) -> None:
    with pytest.raises(InvalidValueError, match=f"HOST:PORT, not '{address}'"):
        Access(address=address)


@given(host=st.text(string.ascii_lowercase + ".-", min_size=1), port=st.integers(1, 65535))
def test_host_and_port_are_what_the_address_is_made_of(host: str, port: int) -> None:
    access = Access(address=f"{host}:{port}")

    assert (access.host, access.port) == (host, port)


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1:80", True),
        ("127.8.8.8:80", True),
        ("localhost:80", True),
        ("[::1]:80", True),
        ("10.0.0.1:80", False),
        ("gpu.lab:80", False),
        ("[2001:db8::1]:80", False),
        ("localhost.evil.com:80", False),
    ],
)
def test_only_the_loopback_is_this_machine(address: str, is_local: bool) -> None:
    access = Access(address=address)

    assert access.is_local == is_local
    assert dict(access.options())["grpc.enable_http_proxy"] == (0 if is_local else 1)


def test_the_discovery_file_tells_address_token_and_certificate(tmp_path: Path, found: Discovery) -> None:
    access = find_access(folder=tmp_path)

    assert (access.address, access.token) == (found.address, "secret")
    assert access.tls == Tls(ca=tmp_path / "ca.pem")
    assert access.origin == str(tmp_path / FILE)


def test_what_the_caller_gives_wins_over_the_discovery_file(tmp_path: Path, found: Discovery) -> None:
    own = Tls(ca=Path("own.pem"), certificate=Path("c.pem"), key=Path("k.pem"))

    assert find_access(token="other", tls=own, folder=tmp_path).token == "other"
    assert find_access(tls=own, folder=tmp_path).tls == own


def test_a_certificate_of_ones_own_joins_the_discovered_authority(tmp_path: Path, found: Discovery) -> None:
    tls = find_access(tls=Tls(certificate=Path("c.pem"), key=Path("k.pem")), folder=tmp_path).tls

    assert tls == Tls(ca=tmp_path / "ca.pem", certificate=Path("c.pem"), key=Path("k.pem"))


def test_the_discovered_token_is_shown_only_to_the_server_that_it_belongs_to(tmp_path: Path, found: Discovery) -> None:
    assert find_access(found.address, folder=tmp_path).token == "secret"
    assert find_access("elsewhere:4321", folder=tmp_path).token is None
    assert find_access(found.address, "given", folder=tmp_path).token == "given"


def test_without_a_server_there_is_no_access(tmp_path: Path) -> None:
    with pytest.raises(ServerNotRunningError):
        find_access(folder=tmp_path)


def test_each_call_shows_token_and_name_in_ascii() -> None:
    metadata = Access(address="h:1", token="secret").metadata("Zoë")

    assert metadata == (("authorization", "Bearer secret"), ("qpbridge-client", "Zo\\xeb"))
    assert [key for key, _ in Access(address="h:1").metadata("ann")] == ["qpbridge-client"]


def test_the_token_is_not_printed() -> None:
    assert "secret" not in repr(Access(address="h:1", token="secret"))


@pytest.mark.parametrize("token", ["", "two words", "two\nlines", "café"])
def test_what_cannot_be_a_token_is_refused_without_being_told(token: str) -> None:
    with pytest.raises(TokenRefusedError, match="a token is one word") as refused:
        Access(address="h:1", token=token)

    assert not token or token not in str(refused.value)


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="belong together"):
        Tls(certificate=Path("c.pem"))


def test_a_certificate_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"ca\.pem cannot be read"):
        Tls(ca=tmp_path / "ca.pem").credentials()


def test_a_client_calls_itself_user_at_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    monkeypatch.setattr("socket.gethostname", lambda: "lab7")
    assert own_name() == "ann@lab7"

    def fail() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", fail)
    assert own_name() == "somebody@lab7"
