import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shapely import affinity, box

from qpbridge.core.objects import ObjectKind, PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import InvalidValueError, NoAnnotationError
from qpbridge.evaluation.instance_picture import COLORS_RGB, Verdict
from qpbridge.qupath.geojson import write_objects
from qpbridge.workflows.evaluate import EvaluateRequest, evaluate
from qpbridge.workflows.predict import PredictRequest, predict

MakeProject = Callable[..., Path]
Make = Callable[..., PathObject]
WITH_MODEL = EvaluateRequest(project=Path("unknown"), model=Path("model"), device="cpu")
LARGE, WIDE, HIGH = box(40, 40, 60, 60), box(100, 40, 124, 60), box(40, 120, 58, 144)
REGION = box(0, 0, 200, 200)


@pytest.fixture
def truth(make_nucleus: Make) -> list[PathObject]:
    """All spots but one, one nucleus that no spot shows, and a mark that these are all."""
    unseen = make_nucleus(box(150, 150, 170, 170))
    region = make_nucleus(REGION, "Region*", ObjectKind.ANNOTATION)
    return [region, make_nucleus(LARGE), make_nucleus(WIDE, "Stroma"), unseen]


@pytest.mark.usefixtures("spot_bundle")
def test_a_model_of_nuclei_is_scored_nucleus_by_nucleus(
    spot_project: MakeProject, truth: list[PathObject], tmp_path: Path
) -> None:
    request = replace(WITH_MODEL, project=spot_project(truth), pictures=tmp_path / "pictures")

    report = evaluate(request, SilentProgress())

    told = report.to_dict()
    counts = {"annotated": 3, "predicted": 3, "matched": 2, "merged": 0, "split": 0, "found": 2, "missed": 1}
    assert told["nuclei"]["counts"] == {**counts, "made_up": 1}
    assert told["nuclei"]["f1"] == pytest.approx(2 / 3)
    # 400 and 480 of themselves; 400 missed and 432 made up; corners are cut.
    assert told["nuclei"]["aji"] == pytest.approx(880 / (880 + 400 + 432), abs=0.01)
    assert told["nuclei_mean"]["aji"] == told["nuclei"]["aji"] == told["entries"][0]["nuclei"]["aji"]
    assert told["entries"][0]["was_trained_on"]
    assert told["classes"]["Stroma"]["recall"] == 0
    (picture,) = told["entries"][0]["nuclei"]["pictures"]
    drawn = np.asarray(Image.open(picture))
    assert drawn.shape == (200, 200, 3)
    assert drawn[40, 50].tolist() == list(COLORS_RGB[Verdict.FOUND])
    assert drawn[120, 50].tolist() == list(COLORS_RGB[Verdict.MADE_UP])


@pytest.mark.usefixtures("spot_bundle")
def test_what_predict_wrote_scores_as_the_model_does(
    spot_project: MakeProject, truth: list[PathObject], tmp_path: Path
) -> None:
    project = spot_project(truth)
    predict(
        PredictRequest(inputs=(project,), model=Path("model"), out=tmp_path / "out", device="cpu"), SilentProgress()
    )

    by_model = evaluate(replace(WITH_MODEL, project=project), SilentProgress()).to_dict()
    by_files = evaluate(EvaluateRequest(project=project, predictions=tmp_path / "out"), SilentProgress()).to_dict()

    assert by_files["nuclei"] == by_model["nuclei"]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["model"]["subject"] == "nuclei"


def test_cells_of_another_program_count_by_their_nuclei(
    spot_project: MakeProject, truth: list[PathObject], make_nucleus: Make, tmp_path: Path
) -> None:
    project = spot_project(truth)
    cell = replace(make_nucleus(box(30, 30, 70, 70), kind=ObjectKind.CELL), nucleus=affinity.translate(LARGE, 1, 0))
    write_objects(tmp_path / "out" / "1-spots.png.geojson", [cell])

    report = evaluate(EvaluateRequest(project=project, predictions=tmp_path / "out"), SilentProgress())

    assert report.nuclei is not None
    assert report.nuclei.scores.matched == 1
    assert report.nuclei.verdicts["missed"] == 2


@pytest.mark.usefixtures("spot_bundle")
def test_everything_may_be_said_to_be_annotated(spot_project: MakeProject, make_nucleus: Make) -> None:
    project = spot_project([make_nucleus(LARGE)])

    sparse = evaluate(replace(WITH_MODEL, project=project), SilentProgress())
    complete = evaluate(replace(WITH_MODEL, project=project, complete=True), SilentProgress())

    assert sparse.nuclei is not None
    assert complete.nuclei is not None
    assert (sparse.nuclei.verdicts["made_up"], complete.nuclei.verdicts["made_up"]) == (0, 2)
    assert complete.entries[0].matrix.labelled_px == 200 * 200


@pytest.mark.usefixtures("spot_bundle")
def test_without_nuclei_there_is_nothing_to_compare(spot_project: MakeProject, tmp_path: Path) -> None:
    project = spot_project([])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text(json.dumps({"slides": [], "model": {"subject": "nuclei"}}))

    with pytest.raises(NoAnnotationError):
        evaluate(replace(WITH_MODEL, project=project), SilentProgress())
    with pytest.raises(NoAnnotationError, match="no nuclei"):
        evaluate(EvaluateRequest(project=project, predictions=tmp_path / "out"), SilentProgress())


@pytest.mark.usefixtures("color_bundle")
def test_pictures_are_of_nuclei(make_project: Callable[..., Path], annotate: Callable[..., PathObject]) -> None:
    project = make_project({"a.png": [annotate("Tumor", 0, 0, 9, 9)]})

    with pytest.raises(InvalidValueError, match="tissue was predicted: leave --pictures out"):
        evaluate(replace(WITH_MODEL, project=project, pictures=Path("pictures")), SilentProgress())
