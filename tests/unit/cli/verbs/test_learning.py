import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from qpbridge.cli.app import app
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.inference.nuclei.decoding import Decoding
from qpbridge.inference.objects import DEFAULT_MIN_AREA_UM2
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.evaluate import EntryScore, EvaluationReport
from qpbridge.workflows.predict import ClassSummary, PredictReport, SlideResult
from qpbridge.workflows.train import TrainReport

FAILURE = Failure(entry="entry 2 'b.svs'", reason="SLIDE_NOT_FOUND", message="looked in /b")
RESULT = SlideResult(
    key="1",
    name="a.svs",
    file=Path("/out/1-a.svs.geojson"),
    slide_path=Path("/a.svs"),
    fingerprint="f",
    mpp_x=0.5,
    mpp_y=0.5,
    mpp_source="project",
    objects=7,
    classes=(ClassSummary(name="Tumor", count=7, area_mm2=1.5, share_of_tissue=0.25),),
    duration_s=3.0,
    warnings=(),
)
SCORE = EntryScore(
    key="1",
    name="a.svs",
    matrix=ConfusionMatrix(("Tumor", "Stroma"), np.array([[8, 2, 0], [0, 10, 0]])),
    pixel_area_mm2=1e-6,
    slide_mm2=1.0,
)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def workflow_is(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Put a report in a workflow's place; return the requests that it gets."""

    def replace(name: str, report: Any = None) -> list[Any]:
        requests: list[Any] = []

        def work(request: Any, progress: Any, *_: Any) -> Any:
            requests.append(request)
            if report is None:
                raise KeyboardInterrupt
            return report

        monkeypatch.setattr(f"qpbridge.workflows.{name}.{name}", work)
        return requests

    return replace


def test_train_asks_for_what_the_options_say(workflow_is: Callable[..., list[Any]]) -> None:
    requests = workflow_is("train")

    invoke(
        *("train", "p", "--family", "dmmn", "--out", "m", "--preset", "small", "--classes", "A,B", "--seed", "4"),
        *("--entries", "1,2", "--entries", "x", "--validation", "2", "--set", "epochs=3", "--set", "width=8"),
        *("--mpp", "0.25", "--device", "cuda:1", "--path-map", "C:=/mnt", "--tensorboard"),
    )

    (request,) = requests
    assert (request.project, request.out, request.family, request.preset) == (Path("p"), Path("m"), "dmmn", "small")
    assert (request.classes, request.entries, request.validation) == (("A", "B"), ("1", "2", "x"), ("2",))
    assert dict(request.settings) == {"epochs": "3", "width": "8"}
    assert (request.tensorboard, request.resume) == (True, False)
    assert (request.mpp, request.device, request.seed, request.path_map) == (0.25, "cuda:1", 4, ("C:=/mnt",))


def test_train_leaves_open_what_is_not_asked_for(workflow_is: Callable[..., list[Any]]) -> None:
    requests = workflow_is("train")

    invoke("train", "p", "--family", "dmmn", "--out", "m")

    (request,) = requests
    assert (request.preset, request.classes, request.entries, request.mpp) == (None, None, None, None)
    assert (request.validation, dict(request.settings), request.device) == ((), {}, "auto")


def test_training_without_some_entries_is_partly_done(workflow_is: Callable[..., list[Any]]) -> None:
    trained = TrainReport(
        bundle=Path("m"),
        digest="f00d",
        classes=("Tumor", "Stroma"),
        training_entries=("a.svs",),
        validation_entries=("a.svs",),
        training_patches=90,
        validation_patches=10,
        best_epoch=3,
        epochs=5,
        mean_iou=0.85,
        class_iou={"Tumor": 0.9, "Stroma": None},
        device="cpu",
        duration_s=12.5,
        failures=(FAILURE,),
    )
    workflow_is("train", trained)

    result = invoke("train", "p", "--family", "dmmn", "--out", "m")

    assert result.exit_code == 3
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["mean", "IoU", "0.85"] in rows
    assert ["Tumor", "0.9"] in rows
    assert "SLIDE_NOT_FOUND" in result.stdout


def test_a_setting_that_is_no_pair_is_bad_usage() -> None:
    result = invoke("train", "p", "--family", "dmmn", "--out", "m", "--set", "epochs", "--json")

    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["reason"] == "INVALID_VALUE"


def test_predict_asks_for_what_the_options_say(workflow_is: Callable[..., list[Any]]) -> None:
    requests = workflow_is("predict")

    invoke(
        *("predict", "a.svs", "b.svs", "--model", "m", "--out", "o", "--gzip", "--min-area-um2", "0"),
        *("--smooth-um", "2", "--no-tissue-mask", "--overlap", "32", "--seed", "1", "--device", "cpu", "--mpp", "0.5"),
        *("--project-out", "p"),
    )

    (request,) = requests
    assert (request.inputs, request.model, request.out) == ((Path("a.svs"), Path("b.svs")), Path("m"), Path("o"))
    assert (request.gzip, request.min_area_um2, request.smooth_um) == (True, 0.0, 2.0)
    assert (request.use_tissue_mask, request.margin_px, request.seed) == (False, 32, 1)
    assert (request.device, request.mpp, request.project_out) == ("cpu", 0.5, Path("p"))


def test_predict_tells_where_the_project_is(workflow_is: Callable[..., list[Any]]) -> None:
    workflow_is(
        "predict", PredictReport(out=Path("/out"), job_id="j", project=Path("/made"), results=(RESULT,), failures=())
    )

    told = invoke("predict", "a.svs", "--model", "m")

    assert ["QuPath", "project", "in", "/made"] in [line.split() for line in told.stdout.splitlines()]


def test_predict_asks_for_what_is_made_of_probabilities(workflow_is: Callable[..., list[Any]]) -> None:
    requests = workflow_is("predict")

    invoke(
        *("predict", "a.svs", "--model", "m", "--out", "o", "--blend", "--tta", "d4", "--probabilities"),
        *("--uncertainty", "--suggest", "7", "--within", "Tumor, Stroma"),
    )

    (request,) = requests
    assert request.within == ("Tumor", "Stroma")
    assert (request.blend, request.tta, request.probabilities) == (True, "d4", True)
    assert (request.uncertainty, request.suggest) == (True, 7)


def test_a_way_to_turn_tiles_that_does_not_exist_is_bad_usage() -> None:
    result = invoke("predict", "a.svs", "--model", "m", "--out", "o", "--tta", "d8")

    assert result.exit_code == 2
    assert "--tta takes none, flips, d4, not 'd8'" in result.output


def test_predict_has_the_workflows_defaults(workflow_is: Callable[..., list[Any]]) -> None:
    from qpbridge.workflows.predict import PredictRequest

    requests = workflow_is("predict")

    invoke("predict", "p", "--model", "m", "--out", "o")

    assert requests == [PredictRequest(inputs=(Path("p"),), model=Path("m"), out=Path("o"))]


def test_help_states_the_default_of_the_smallest_region() -> None:
    told = " ".join(invoke("predict", "--help").output.split())

    stated = re.search(r"left out; default: (\d+), nuclei ([\d.]+)\. ", told)

    assert stated is not None
    assert (float(stated[1]), float(stated[2])) == (DEFAULT_MIN_AREA_UM2, Decoding().min_area_um2)


@pytest.mark.parametrize(
    ("results", "failures", "code"), [((RESULT,), (), 0), ((RESULT,), (FAILURE,), 3), ((), (FAILURE,), 1)]
)
def test_prediction_shows_slides_areas_and_failures(
    results: tuple[SlideResult, ...],
    failures: tuple[Failure, ...],
    code: int,
    workflow_is: Callable[..., list[Any]],
) -> None:
    workflow_is("predict", PredictReport(out=Path("/out"), job_id="7", results=results, failures=failures))

    result = invoke("predict", "p", "--model", "m")

    rows = [line.split() for line in result.stdout.splitlines()]
    assert result.exit_code == code
    assert (["a.svs", "1-a.svs.geojson", "7", "0.5", "project", "3"] in rows) == bool(results)
    assert (["a.svs", "Tumor", "7", "1.5", "25"] in rows) == bool(results)
    assert ("SLIDE_NOT_FOUND" in result.stdout) == bool(failures)


def test_evaluate_asks_for_what_the_options_say(workflow_is: Callable[..., list[Any]]) -> None:
    from qpbridge.workflows.evaluate import EvaluateRequest

    requests = workflow_is("evaluate")

    invoke("evaluate", "p", "--predictions", "r", "--entries", "1", "--out", "s.json")

    expected = EvaluateRequest(project=Path("p"), predictions=Path("r"), entries=("1",), out=Path("s.json"))
    assert requests == [expected]


def test_evaluation_shows_classes_slides_and_failures(workflow_is: Callable[..., list[Any]]) -> None:
    workflow_is(
        "evaluate",
        EvaluationReport(pooled=SCORE.matrix, entries=(SCORE,), failures=(FAILURE,), unlabelled=("c.svs",)),
    )

    result = invoke("evaluate", "p", "--model", "m")

    rows = [line.split() for line in result.stdout.splitlines()]
    assert result.exit_code == 3
    assert ["Tumor", "0.800", "0.800", "1.000", "10"] in rows
    assert ["a.svs", "0.8167", "2e-05", "no"] in rows
    assert "SLIDE_NOT_FOUND" in result.stdout
    assert "without annotations: c.svs" in result.stdout


def test_evaluation_needs_something_to_compare(data_dir: Path) -> None:
    result = invoke("evaluate", str(data_dir / "made" / "qp-0.7.0" / "project"))

    assert result.exit_code == 2
    assert "[INVALID_VALUE]" in result.stderr
