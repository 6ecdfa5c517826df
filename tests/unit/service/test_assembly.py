"""What a server is made of."""

import re
from pathlib import Path
from typing import Any

import pytest

from qpbridge.jobs.records import utc_now
from qpbridge.service.assembly import board_settings, servicers
from qpbridge.service.configuration import ServerConfiguration
from qpbridge.service.places import AllowedPlaces


@pytest.fixture
def configuration(tmp_path: Path, root: Path) -> ServerConfiguration:
    return ServerConfiguration.load(None, state=tmp_path / "state", roots=[root], prewarm=False)


def test_every_method_of_every_service_has_somebody_who_answers(
    configuration: ServerConfiguration, board: Any, places: AllowedPlaces
) -> None:
    answering = servicers(configuration, board, places, ["cpu"], utc_now())

    methods = [(servicer, method.name) for service, servicer in answering.items() for method in service.methods]
    assert len(methods) > 15
    for servicer, name in methods:
        assert callable(getattr(servicer, re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()))
    files = {service.file.name for service in answering}
    protos = Path(__file__).parents[3] / "protos" / "qpbridge" / "v1"
    assert files == {f"qpbridge/v1/{path.name}" for path in protos.glob("*.proto") if "\nservice " in path.read_text()}


def test_what_needs_no_device_has_a_worker_of_its_own(configuration: ServerConfiguration) -> None:
    settings = board_settings(configuration, ["cuda:0", "cuda:1"], "module:work")

    assert settings.devices == ("cuda:0", "cuda:1", "files")
    assert set(settings.interactive_kinds) == {"predict_region", "inspect"}
    assert (settings.entry, settings.queued_max, settings.is_warmed_up) == ("module:work", 100, False)
