"""A server from start to end, in this process; more in tests/integration/test_service*.py."""

import importlib
import json
import os
import signal
from pathlib import Path

import pytest

from qpbridge.errors import InvalidValueError, ServerRunningError
from qpbridge.jobs.store.state_folder import ServerLock, StateFolder
from qpbridge.service import running
from qpbridge.service.configuration import ServerConfiguration
from qpbridge.service.running import serve
from qpbridge.wire.discovery import Discovery, read_discovery


@pytest.fixture
def configuration(tmp_path: Path, root: Path) -> ServerConfiguration:
    return ServerConfiguration.load(None, state=tmp_path / "state", roots=[root], devices=["cpu"], prewarm=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_is_found_while_it_runs_and_ends_on_a_signal(
    number: int, configuration: ServerConfiguration, root: Path
) -> None:
    seen: list[Discovery] = []
    roots: list[list[str]] = []

    def ready(discovery: Discovery) -> None:
        seen.append(read_discovery(configuration.state))
        roots.append(json.loads(os.environ["QPBRIDGE_ROOTS"]))
        with pytest.raises(ServerRunningError, match=discovery.address):
            ServerLock(StateFolder(configuration.state))
        signal.raise_signal(number)

    handler = signal.getsignal(number)
    serve(configuration, ready)

    assert seen[0].pid == os.getpid()
    assert not (configuration.state / "server.json").exists()
    assert signal.getsignal(number) == handler
    assert roots == [[str(root), str(configuration.state / "models")]]
    assert "QPBRIDGE_ROOTS" not in os.environ
    ServerLock(StateFolder(configuration.state)).release()
    log = (configuration.state / "logs" / "server.log").read_text()
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events == ["server runs", "server drains", "server ended"]


def test_an_address_that_is_not_safe_leaves_no_trace(configuration: ServerConfiguration) -> None:
    with pytest.raises(InvalidValueError, match="can be reached from other machines"):
        serve(configuration.model_copy(update={"host": "0.0.0.0"}))

    assert not configuration.state.exists()


def test_a_failure_when_ready_ends_the_server(configuration: ServerConfiguration) -> None:
    def ready(_: Discovery) -> None:
        raise OSError("nobody listens")

    with pytest.raises(OSError, match="nobody listens"):
        serve(configuration, ready)

    assert not (configuration.state / "server.json").exists()
    ServerLock(StateFolder(configuration.state)).release()


def test_what_workers_do_is_there_to_be_called() -> None:
    for work in (running.WORK, running.LOADED_WORK):
        module, _, function = work.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
