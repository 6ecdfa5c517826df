"""Every verb through a server that runs, against the same verb in this process."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from qpbridge.cli.app import app
from qpbridge.client import Client, started_server
from qpbridge.core.progress import SilentProgress
from qpbridge.demo import making
from qpbridge.demo.making import DemoFolder, make_case
from qpbridge.demo.running import DemoReport, DemoRequest, run_demo
from qpbridge.slides.synthetic import SyntheticSpec

pytestmark = pytest.mark.slow

SETTINGS = ["variant=unet", "width=2", "mpp=2.0", "patch_px=64", "samples_per_epoch=8"]
QUICK = ["--preset", "small", *(word for pair in [*SETTINGS, "epochs=1"] for word in ("--set", pair))]
ENDLESS = ["--preset", "small", *(word for pair in [*SETTINGS, "epochs=5000"] for word in ("--set", pair))]
LONG_S = 120
# A shell lets what it starts in the background ignore interrupts. `preexec_fn` would fork, and gRPC breaks in forks.
INTERRUPTIBLE = """
import signal
from qpbridge.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


@pytest.fixture(scope="module")
def small_slides() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "EDGE_PX", 512)
        patch.setattr(making, "SyntheticSpec", partial(SyntheticSpec, mpp=2.0))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def project(folder: Path, small_slides: None) -> Path:
    case = DemoFolder(folder / "case")
    make_case(case, 0, SilentProgress())
    return case.project


@pytest.fixture(scope="module")
def state(folder: Path, project: Path, data_dir: Path) -> Iterator[Path]:
    with (
        started_server(folder / "state", [folder, data_dir], device="cpu"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("QPBRIDGE_STATE", str(folder / "state"))
        yield folder / "state"


def invoke(*words: Any) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


def document(*words: Any, code: int = 0) -> Any:
    result = invoke(*words, "--json")
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def trained(state: Path, project: Path, folder: Path) -> Any:
    return document("train", project, "--server", "--family", "dmmn", *QUICK, "--out", folder / "model")


@pytest.fixture(scope="module")
def model(trained: Any) -> str:
    return str(trained["bundle"])


OF_THE_RUN = {"duration_s", "job_id", "replaced"}


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in OF_THE_RUN}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def test_training_on_a_server_gives_the_bundle_and_the_report_of_this_process(
    trained: Any, project: Path, folder: Path
) -> None:
    here = document("train", project, "--family", "dmmn", *QUICK, "--device", "cpu", "--out", folder / "own")

    assert sorted(path.name for path in (folder / "model").iterdir()) == sorted(
        path.name for path in (folder / "own").iterdir()
    )
    assert trained.keys() == here.keys()
    assert (trained["classes"], trained["training_patches"]) == (here["classes"], here["training_patches"])
    assert Path(trained["bundle"]) == folder / "model"


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "{project}", "--model", "{model}", "--out", "{folder}/results", "--device", "cpu"],
        ["evaluate", "{project}", "--model", "{model}", "--device", "cpu"],
        ["export", "{project}", "--out", "{folder}/exported", "--label-maps"],
        ["inspect", "{project}"],
        ["models", "list"],
        ["models", "show", "dmmn"],
        ["models", "show", "{model}"],
    ],
    ids=lambda words: "-".join(words[:2]) if words[0] == "models" else words[0],
)
def test_a_verb_prints_the_same_here_and_on_a_server(words: list[str], project: Path, model: str, folder: Path) -> None:
    spelled = [word.format(project=project, model=model, folder=folder) for word in words]

    assert without_times(document(*spelled, "--server")) == without_times(document(*spelled))


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["inspect", "{folder}/none"], 1, "PROJECT_NOT_FOUND"),
        (["train", "{project}", "--family", "unet9", "--out", "{folder}/x"], 2, "UNKNOWN_NAME"),
        (["predict", "{project}", "--model", "{folder}/none", "--out", "{folder}/x"], 1, "BUNDLE_NOT_FOUND"),
        (["evaluate", "{project}"], 2, "INVALID_VALUE"),
    ],
)
def test_a_verb_fails_alike_here_and_on_a_server(
    words: list[str], code: int, reason: str, state: Path, project: Path, folder: Path
) -> None:
    spelled = [word.format(project=project, folder=folder) for word in words]

    for place in ([], ["--server"]):
        assert document(*spelled, *place, code=code)["error"]["reason"] == reason


def test_a_project_with_broken_entries_is_partly_done_on_a_server_too(state: Path, data_dir: Path) -> None:
    project = data_dir / "made" / "qp-0.7.0" / "project"

    here, there = document("inspect", project, code=3), document("inspect", project, "--server", code=3)

    assert here == there


def test_progress_comes_from_the_server(state: Path, project: Path, model: str, folder: Path) -> None:
    result = invoke("predict", project, "--server", "--model", model, "--out", folder / "again")

    assert "predict slide.tif" in result.stderr
    assert "slides 1/1 (100 %)" in result.stderr
    assert "slide.tif" in result.stdout


def test_a_job_is_listed_watched_and_its_files_fetched(
    state: Path, project: Path, model: str, folder: Path, tmp_path: Path
) -> None:
    told = document("predict", project, "--server", "--model", model, "--out", folder / "fetched", "--gzip")
    job = document("jobs", "list", "--kind", "predict")["jobs"][0]

    watched = document("jobs", "watch", job["id"])
    fetched = document("jobs", "fetch", job["id"], "--out", tmp_path)

    assert (job["state"], job["kind"]) == ("succeeded", "predict")
    assert watched == told
    (file,) = fetched["files"]
    assert (tmp_path / file).read_bytes() == (folder / "fetched" / file).read_bytes()


def started(words: list[Any], waits_for: str, state: Path) -> subprocess.Popen[str]:
    """Start a verb in a process of its own, and wait until it says something."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"QPBRIDGE_STATE": str(state)},
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        if waits_for in line:
            return process
        said.append(line)
    out, _ = process.communicate()
    raise AssertionError(f"it ended without saying '{waits_for}', but: {''.join(said)}{out}")


@pytest.fixture
def training(state: Path, project: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    words = ["train", project, "--server", "--family", "dmmn", *ENDLESS, "--out", folder / "never", "--json"]
    process = started(words, "train ", state)
    yield process
    process.kill()
    process.communicate()


def test_an_interrupt_cancels_the_job_on_the_server(training: subprocess.Popen[str], folder: Path) -> None:
    (running,) = document("jobs", "list", "--state", "running")["jobs"]

    training.send_signal(signal.SIGINT)
    out, err = training.communicate(timeout=LONG_S)

    assert training.returncode == 1
    assert json.loads(out)["error"]["reason"] == "CANCELLED"
    assert "[CANCELLED]" in err
    states = {job["id"]: job["state"] for job in document("jobs", "list")["jobs"]}
    assert states[running["id"]] == "cancelled"
    assert not (folder / "never").exists()


def test_a_job_is_cancelled_from_another_process(training: subprocess.Popen[str], folder: Path) -> None:
    (running,) = document("jobs", "list", "--state", "running")["jobs"]

    told = document("jobs", "cancel", running["id"])
    _, err = training.communicate(timeout=LONG_S)

    assert told["state"] == "cancelled"
    assert training.returncode == 1
    assert f"job {running['id']} was cancelled" in err
    assert not (folder / "never").exists()


def test_a_wrong_token_is_named_and_the_right_one_taken(
    state: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client() as client:
        address, token = client.access.address, client.access.token
    assert token is not None
    monkeypatch.setenv("QPBRIDGE_STATE", str(tmp_path))
    (tmp_path / "token").write_text(token + "\n")

    refused = invoke("inspect", project, "--server", address)
    wrong = document("inspect", project, "--server", address, "--token-file", project / "project.qpproj", code=1)

    assert refused.exit_code == 1
    assert re.search(r"error: token: .* no token was shown.*\[TOKEN_REFUSED\]", refused.stderr)
    assert wrong["error"]["reason"] == "TOKEN_REFUSED"
    document("inspect", project, "--server", address, "--token-file", tmp_path / "token")
    monkeypatch.setenv("QPBRIDGE_TOKEN", token)
    document("inspect", project, "--server", address)


def test_the_doctor_finds_the_server_in_order(state: Path) -> None:
    checks = {check["name"]: check for check in document("doctor", "--server")["checks"]}

    assert (checks["server"]["status"], checks["token"]["status"]) == ("ok", "ok")


def demo(folder: Path, client: Client | None = None, project: Path | None = None) -> DemoReport:
    values = dict(pair.split("=") for pair in [*SETTINGS, "epochs=1"])
    request = DemoRequest(folder=folder, device="cpu", settings=values, project=project)
    return run_demo(request, SilentProgress(), client)


def test_the_demonstration_starts_a_server_and_leaves_none(small_slides: None, tmp_path: Path) -> None:
    report = demo(tmp_path / "demo")

    assert report.regions > 0
    assert report.report.is_file()
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        *("slide.tif", "project", "model", "results", "predicted", "report.html", "qpbridge-demo.txt")
    }


def test_the_demonstration_goes_through_ones_own_project_and_server(state: Path, project: Path, folder: Path) -> None:
    with Client() as client:
        report = demo(folder / "demo", client, project)

    assert report.judged_by == "the annotations that training held back"
    assert report.regions > 0
