"""A fake server with a discovery file."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_server import Script, discoverable, serving


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def port(script: Script, state: Path) -> Iterator[int]:
    with serving(script) as bound:
        discoverable(state, bound)
        yield bound


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Keep tests from waiting long, and from finding a server of the user."""
    monkeypatch.setenv("QPBRIDGE_STATE", "/nonexistent")

    def wait(patience_s: float) -> None:
        monkeypatch.setattr("qpbridge.client.polling.PATIENCE_S", patience_s)

    for name in ("blocking", "awaiting"):
        monkeypatch.setattr(f"qpbridge.client.{name}.PAUSE_S", 0.05)
    return wait
