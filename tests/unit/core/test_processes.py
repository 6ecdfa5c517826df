import pytest

from qpbridge.core.processes import number_on_machine, process_count, process_number


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_a_process_is_alone_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (process_count(), process_number(), number_on_machine()) == (1, 0, 0)

    monkeypatch.setenv("RANK", "3")  # some schedulers set it for whatever they start
    assert process_number() == 0


def test_torchrun_tells_each_process_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "8"), ("RANK", "5"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)

    assert (process_count(), process_number(), number_on_machine()) == (8, 5, 1)
