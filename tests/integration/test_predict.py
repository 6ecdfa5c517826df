"""From a bundle on disk and a project that QuPath wrote to GeoJSON, and back as scores."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import shapely

from qpbridge.core.geometry import Region
from qpbridge.core.progress import SilentProgress
from qpbridge.inference.engine import Segmenter
from qpbridge.jobs.desk import SilentDesk
from qpbridge.models.bundle import load_bundle
from qpbridge.qupath.geojson import parse_objects, read_objects
from qpbridge.workflows import worker
from qpbridge.workflows.evaluate import EvaluateRequest, evaluate
from qpbridge.workflows.kinds import to_json
from qpbridge.workflows.predict import PredictReport, PredictRequest, predict
from qpbridge.workflows.requests import PredictRegionRequest


@pytest.fixture(scope="module")
def project(data_dir: Path) -> Path:
    return data_dir / "made" / "qp-0.6.0" / "project"


@pytest.fixture(scope="module")
def predicted(project: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> PredictReport:
    request = PredictRequest(
        inputs=(project,),
        model=model,
        out=tmp_path_factory.mktemp("out"),
        entries=("2", "plain.png", "stack_z3c2.tif"),
        device="cpu",
        min_area_um2=0,
    )
    return predict(request, SilentProgress())


def test_what_can_be_predicted_is_and_the_rest_is_told(predicted: PredictReport) -> None:
    assert [result.name for result in predicted.results] == ["slide_b.tif"]
    assert [failure.reason for failure in predicted.failures] == ["PIXEL_SIZE_MISSING", "UNSUPPORTED_IMAGE"]
    assert sorted(path.name for path in predicted.out.iterdir()) == [
        "2-slide_b.tif.geojson",
        "run.json",
        "runs",
        "summary.csv",
    ]


def test_objects_are_valid_annotations_that_cover_what_was_predicted_once(predicted: PredictReport) -> None:
    (result,) = predicted.results
    read = read_objects(result.file)

    assert read.mended == {}
    assert {item.path_class.name for item in read.objects if item.path_class} == {"Tumor", "Stroma"}
    assert len({item.id for item in read.objects}) == len(read.objects) == result.objects > 2
    geometries = [item.geometry for item in read.objects]
    assert shapely.is_valid(geometries).all()
    assert shapely.total_bounds(geometries).tolist() == [0, 0, 4096, 3072]
    assert shapely.area(geometries).sum() == 4096 * 3072


def test_records_agree_with_the_objects(predicted: PredictReport, model: Path) -> None:
    (result,) = predicted.results
    objects = read_objects(result.file).objects
    run = json.loads((predicted.out / "run.json").read_text())
    rows = list(csv.DictReader((predicted.out / "summary.csv").read_text().splitlines()))

    assert run["model"]["digest"] == load_bundle(model).digest
    assert (run["slides"][0]["mpp_x"], run["slides"][0]["mpp_source"]) == (0.25, "project")
    for row in rows:
        found = [item for item in objects if item.path_class is not None and item.path_class.name == row["class"]]
        assert int(row["count"]) == len(found)
        assert float(row["area_mm2"]) == pytest.approx(sum(item.geometry.area for item in found) * 0.0625e-6, rel=1e-5)


def test_a_model_and_its_written_predictions_score_the_same(
    project: Path, model: Path, predicted: PredictReport
) -> None:
    by_model = evaluate(EvaluateRequest(project=project, model=model, entries=("2",), device="cpu"), SilentProgress())
    by_file = evaluate(EvaluateRequest(project=project, predictions=predicted.out, entries=("2",)), SilentProgress())

    assert by_model.pooled.labelled_px * 16 == pytest.approx(by_file.pooled.labelled_px, rel=0.01)
    assert by_model.pooled.pixel_accuracy == pytest.approx(by_file.pooled.pixel_accuracy, abs=0.01)
    assert 0.1 < by_model.pooled.pixel_accuracy < 0.9


def test_loading_a_bundle_gives_what_the_engine_needs(model: Path) -> None:
    segmenter = Segmenter.of(load_bundle(model))

    assert [view.fov.size_px for view in segmenter.views] == [256]
    assert segmenter.background is None


def test_a_region_of_a_real_slide_is_what_a_prediction_of_all_of_it_shows_there(
    project: Path, model: Path, predicted: PredictReport
) -> None:
    region = Region(x_px=1000.5, y_px=700, width_px=1500, height_px=1203)
    request = PredictRegionRequest(
        input=project, model=model, region=region, entry="2", device="cpu", min_area_um2=0, use_tissue_mask=True
    )
    desk = SilentDesk()

    report = worker.run("predict_region", to_json(request), desk)

    lines = b"".join(chunk.payload for chunk in desk.chunks).splitlines()
    found = parse_objects(b"[" + b",".join(lines) + b"]", "the region").objects
    frame = shapely.box(region.x_px, region.y_px, region.right_px, region.bottom_px)
    whole = read_objects(predicted.results[0].file).objects
    assert report["objects"] == len(lines) == len(found) > 2
    for name in ("Tumor", "Stroma"):
        of_region, of_whole = (
            shapely.union_all([item.geometry for item in items if item.path_class and item.path_class.name == name])
            for items in (found, whole)
        )
        assert shapely.symmetric_difference(of_region, of_whole & frame).area == pytest.approx(0, abs=1e-6)
    inside = {item.id for item in whole if frame.contains_properly(item.geometry)}
    assert inside <= {item.id for item in found}


KILLED = """
import os, signal, sys
from qpbridge.jobs.desk import SilentDesk
from qpbridge.workflows import worker
import json

class Killed(SilentDesk):
    def report(self, stage, done, total, **numbers):
        if stage == "predict plain.png" and done:
            os.kill(os.getpid(), signal.SIGKILL)

worker.run("predict", json.load(sys.stdin), Killed())
"""


def test_a_killed_prediction_goes_on_where_it_ended(project: Path, model: Path, tmp_path: Path) -> None:
    request = PredictRequest(
        inputs=(project,), model=model, out=tmp_path, entries=("2", "plain.png"), mpp=0.25, device="cpu"
    )
    text = json.dumps(to_json(request))

    died = subprocess.run([sys.executable, "-c", KILLED], input=text, text=True, check=False)
    left = json.loads((tmp_path / "run.json").read_text())
    first = tmp_path / "2-slide_b.tif.geojson"
    written_ns = first.stat().st_mtime_ns
    report = worker.run("predict", json.loads(text), SilentDesk(is_resumed=True))

    assert died.returncode == -signal.SIGKILL
    assert (left["status"], [slide["key"] for slide in left["slides"]]) == ("running", ["2"])
    assert first.stat().st_mtime_ns == written_ns
    assert [slide["key"] for slide in report["slides"]] == ["2", "4"]
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "done"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "2-slide_b.tif.geojson",
        "4-plain.png.geojson",
        "run.json",
        "runs",
        "summary.csv",
    ]
