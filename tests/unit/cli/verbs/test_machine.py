import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qpbridge.cli.app import app
from qpbridge.errors import DiskFullError
from qpbridge.workflows import doctor
from qpbridge.workflows.doctor import Check, DoctorReport, Status


def test_the_demonstration_is_asked_for_its_folder_device_and_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[Any] = []

    def run_demo(request: Any, progress: Any, client: Any = None) -> Any:
        requests.append(request)
        raise DiskFullError("no space left")

    monkeypatch.setattr("qpbridge.demo.running.run_demo", run_demo)

    assert CliRunner().invoke(app, ["demo"]).exit_code == 1
    CliRunner().invoke(app, ["demo", "elsewhere", "--device", "cpu", "--seed", "3", "--project", "p"])

    first, second = requests
    assert (first.folder, first.device, first.seed, first.project) == (Path("qpbridge-demo"), "auto", 0, None)
    assert (second.folder, second.device, second.seed, second.project) == (Path("elsewhere"), "cpu", 3, Path("p"))


def report(status: Status) -> DoctorReport:
    return DoctorReport(checks=(Check(name="disk", status=status, detail="1 GB [free]", remedy="make room"),))


@pytest.mark.parametrize(("status", "code"), [(Status.OK, 0), (Status.WARN, 0), (Status.FAIL, 1)])
def test_only_a_failed_check_fails(status: Status, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda _: report(status))

    result = CliRunner().invoke(app, ["doctor"])

    assert result.exit_code == code
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[:2] == [[status.value, "disk", "1", "GB", "[free]"], ["->", "make", "room"]]
    assert lines[2][:2] == ["ok", "server"]


def test_the_checks_are_one_json_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda _: report(Status.WARN))

    document = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)

    assert document["is_healthy"]
    assert document["checks"][0] == report(Status.WARN).to_dict()["checks"][0]
    assert document["checks"][1]["name"] == "server"


def test_a_server_that_is_asked_for_must_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda _: report(Status.OK))

    result = CliRunner().invoke(app, ["doctor", "--server", "--json"])

    assert result.exit_code == 1
    check = json.loads(result.stdout)["checks"][-1]
    assert (check["name"], check["status"]) == ("server", "fail")
    assert "qpbridge serve" in check["remedy"]
