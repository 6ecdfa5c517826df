import datetime
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from qpbridge.cli.app import app
from qpbridge.errors import ServerRunningError
from qpbridge.service import running
from qpbridge.service.configuration import ServerConfiguration
from qpbridge.wire.discovery import Discovery


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, ["serve", *words])


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServerConfiguration]:
    found: list[ServerConfiguration] = []

    def serve(configuration: ServerConfiguration, on_ready: Callable[[Discovery], None]) -> None:
        found.append(configuration)
        started = datetime.datetime.now(datetime.UTC)
        about = {"pid": 12, "token": "secret", "started": started, "version": "0.1.0"}
        on_ready(Discovery(address="127.0.0.1:80", http_address="127.0.0.1:81", **about))

    monkeypatch.setattr(running, "serve", serve)
    return found


def test_options_say_how_the_server_runs(served: list[ServerConfiguration], tmp_path: Path) -> None:
    words = [
        "--host",
        "::1",
        "--port",
        "4000",
        "--http-port",
        "4001",
        "--no-http",
        "--root",
        str(tmp_path),
        "--root",
        "/data",
        "--models",
        "/models",
    ]
    result = invoke(*words, "--state", str(tmp_path / "s"), "--device", "cpu", "--device", "cuda:1")

    assert result.exit_code == 0
    (configuration,) = served
    assert (configuration.host, configuration.port, configuration.devices) == ("::1", 4000, ("cpu", "cuda:1"))
    assert (configuration.http_port, configuration.http) == (4001, False)
    assert (configuration.roots, configuration.model_folders) == ((tmp_path, Path("/data")), (Path("/models"),))
    assert configuration.state == tmp_path / "s"


def test_the_reader_learns_where_it_listens_but_not_the_token(served: list[ServerConfiguration], state: Path) -> None:
    told, document = invoke().stdout, json.loads(invoke("--json").stdout)

    assert "127.0.0.1:80" in told
    assert str(state / "server.json") in told
    addresses = {"address": "127.0.0.1:80", "http_address": "127.0.0.1:81"}
    assert document == {**addresses, "pid": 12, "discovery": str(state / "server.json")}
    assert "for scripts at 127.0.0.1:81" in told
    assert "secret" not in told


def test_options_win_over_the_file(served: list[ServerConfiguration], tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('port = 4000\nhost = "localhost"\n')

    invoke("--config", str(file), "--port", "0")

    assert (served[0].port, served[0].host) == (0, "localhost")


def test_certificate_and_key_come_as_options_too(served: list[ServerConfiguration], tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('[tls]\ncertificate = "old.pem"\nkey = "old.key"\nclient_authority = "clients.pem"\n')
    options = ["--tls-cert", str(tmp_path / "new.pem"), "--tls-key", str(tmp_path / "new.key")]

    invoke(*options, "--host", "0.0.0.0")
    invoke(*options, "--config", str(file))

    for configuration, clients in zip(served, (None, tmp_path / "clients.pem"), strict=True):
        tls = configuration.tls
        assert (tls.certificate, tls.key) == (tmp_path / "new.pem", tmp_path / "new.key")
        assert tls.client_authority == clients


def test_a_certificate_without_its_key_is_bad_usage(served: list[ServerConfiguration]) -> None:
    result = invoke("--tls-cert", "server.pem")

    assert result.exit_code == 2
    assert "certificate and key belong together" in result.stderr
    assert served == []


def test_the_configuration_is_printed_with_comments_and_can_be_read_again(
    served: list[ServerConfiguration], tmp_path: Path
) -> None:
    printed = invoke("--port", "4000", "--print-config").stdout
    (tmp_path / "server.toml").write_text(printed)

    values = tomllib.loads(printed)
    again = invoke("--config", str(tmp_path / "server.toml"), "--print-config").stdout
    assert values["port"] == 4000
    assert printed.count("#") >= len(values)
    assert again == printed
    assert served == []


@pytest.mark.parametrize("words", [["--port", "70000"], ["--device", "gpu"], ["--config", "/no/such.toml"]])
def test_what_does_not_work_is_bad_usage(words: list[str], served: list[ServerConfiguration]) -> None:
    result = invoke(*words)

    assert result.exit_code == 2
    assert "[INVALID_VALUE]" in result.stderr


def test_a_second_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(*_: Any) -> None:
        raise ServerRunningError("a server works on /s already (process 12 at 127.0.0.1:80)")

    monkeypatch.setattr(running, "serve", serve)

    result = invoke()

    assert result.exit_code == 1
    assert "process 12 at 127.0.0.1:80" in result.stderr
