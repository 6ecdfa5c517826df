"""Nuclei from a project on disk to GeoJSON and scores, small enough to take seconds."""

from dataclasses import replace
from pathlib import Path

import pytest
import shapely

from qpbridge.core.objects import REGION_CLASS, ObjectKind, PathClass, PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.qupath.geojson import read_objects
from qpbridge.qupath.writing import NewEntry, create_project
from qpbridge.slides.synthetic import SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import nucleus_detections
from qpbridge.workflows.entries.making import entry_of_file
from qpbridge.workflows.evaluate import EvaluateRequest, evaluate
from qpbridge.workflows.predict import PredictRequest, predict
from qpbridge.workflows.train import TrainReport, TrainRequest, train

EDGE_PX = 256
MPP = 1.0
TRAINING = {
    "mpp": str(MPP),
    "patch_px": "64",
    "width": "4",
    "epochs": "8",
    "samples_per_epoch": "64",
    "batch_size": "8",
    "learning_rate": "0.01",
    "density_jitter": "0",
    "rotation_p": "0",
    "turns": "none",
}
REGION = PathObject(
    id="6f1c2f4e-9d6c-4d8e-8f4b-2a7c1d3e5f60",
    kind=ObjectKind.ANNOTATION,
    geometry=shapely.box(0, 0, EDGE_PX, EDGE_PX),
    path_class=PathClass(REGION_CLASS, (0, 0, 0)),
)


def entry(folder: Path, seed: int) -> NewEntry:
    spec = SyntheticSpec(width_px=EDGE_PX, height_px=EDGE_PX, mpp=MPP, seed=seed, nucleus_density=1.5)
    slide, path = make_slide(spec), folder / f"{seed}.tif"
    write_slide(path, slide)
    return entry_of_file(path, [REGION, *(replace(one, path_class=None) for one in nucleus_detections(slide))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project to learn from, and one whose slide the model never saw."""
    folder = tmp_path_factory.mktemp("nuclei")
    create_project(folder / "known", [entry(folder, 2)], [])
    create_project(folder / "new", [entry(folder, 103)], [])
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> TrainReport:
    request = TrainRequest(
        project=folder / "known", out=folder / "model", family="use_net", preset="small", settings=TRAINING
    )
    return train(replace(request, device="cpu", backend="native"), SilentProgress())


def test_nuclei_of_a_new_slide_are_found_measured_and_scored(folder: Path, report: TrainReport) -> None:
    out = folder / "out"
    request = PredictRequest(inputs=(folder / "new",), model=report.bundle, out=out, device="cpu", backend="native")
    (result,) = predict(request, SilentProgress()).results

    scores = evaluate(EvaluateRequest(project=folder / "new", predictions=out, backend="native"), SilentProgress())

    assert report.classes == ("Nucleus", "(unlabelled)")
    assert scores.nuclei is not None
    counts = scores.nuclei.scores
    assert counts.aji > 0.25
    assert counts.predicted_objects == pytest.approx(counts.true_objects, rel=0.5)
    objects = read_objects(result.file).objects
    assert {item.kind for item in objects} == {ObjectKind.DETECTION}
    assert {"Nucleus: Area µm^2", "Hematoxylin: Nucleus: Mean", "Detection probability"} <= {*objects[0].measurements}
    outlines = shapely.STRtree([item.geometry for item in objects])
    first, second = outlines.query(outlines.geometries, predicate="overlaps")
    shared = shapely.area(shapely.intersection(outlines.geometries[first], outlines.geometries[second]))
    # Outlines are simplified one by one, so that neighbors may share a rim, but none is there twice.
    assert (shared < 0.2 * shapely.area(outlines.geometries[first])).all()
