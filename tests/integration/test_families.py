"""Every family of tissue networks from a project on disk to GeoJSON, small enough to take seconds."""

import json
from pathlib import Path

import pytest
import shapely

from qpbridge.core.objects import ObjectKind
from qpbridge.core.progress import SilentProgress
from qpbridge.models.bundle import load_bundle
from qpbridge.qupath.geojson import read_objects
from qpbridge.qupath.writing import create_project
from qpbridge.slides.synthetic import CLASSES, SyntheticSlide, SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import partial_annotations
from qpbridge.vector.labels import LabelRule, read_labels
from qpbridge.vector.raster import rasterize
from qpbridge.workflows.entries.making import entry_of_file
from qpbridge.workflows.entries.naming import places_file
from qpbridge.workflows.predict import PredictRequest, predict
from qpbridge.workflows.train import TrainReport, TrainRequest, train

EDGE_PX = 640
MPP = 4.0
TOLD_APART = ("Stroma", "Tumor", "Background")
TRAINING = {
    "mpp": str(MPP),
    "epochs": "6",
    "samples_per_epoch": "64",
    "batch_size": "8",
    "stride_px": "64",
    "learning_rate": "0.01",
    "rotation_p": "0",
    "width": "4",
}
NETWORKS = {
    "multiscale": {"patch_px": "64"},
    "foveation": {"patch_px": "64", "fields_px": "64,128", "glance_px": "9"},
}


def synthetic(seed: int) -> SyntheticSlide:
    spec = SyntheticSpec(width_px=EDGE_PX, height_px=EDGE_PX, mpp=MPP, seed=seed, has_context_class=False)
    return make_slide(spec)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One slide, of which a fifth is annotated; another lies beside the project."""
    folder = tmp_path_factory.mktemp("case")
    entries = []
    for seed in (0, 1):
        slide, path = synthetic(seed), folder / "slides" / f"{seed}.tif"
        write_slide(path, slide)
        entry = entry_of_file(path, partial_annotations(slide, share=0.2))
        entries.append(entry)
    create_project(folder / "project", entries[:1], CLASSES)
    return folder / "project"


@pytest.fixture(scope="module", params=list(NETWORKS))
def report(request: pytest.FixtureRequest, project: Path) -> TrainReport:
    name = request.param
    return train(
        TrainRequest(
            project=project,
            out=project.parent / name,
            family=name,
            preset="small",
            classes=TOLD_APART,
            settings={**TRAINING, **NETWORKS[name]},
            device="cpu",
        ),
        SilentProgress(),
    )


def test_training_learns_and_leaves_a_bundle(report: TrainReport) -> None:
    assert report.failures == ()
    assert report.classes == TOLD_APART
    assert report.mean_iou > 0.4
    assert load_bundle(report.bundle).spec.family == report.bundle.name


def test_the_bundle_labels_a_slide_that_it_never_saw(report: TrainReport, project: Path) -> None:
    out = project.parent / f"{report.bundle.name}-out"
    slide = project.parent / "slides" / "1.tif"

    (result,) = predict(
        PredictRequest(inputs=(slide,), model=report.bundle, out=out, device="cpu"), SilentProgress()
    ).results

    _check_places(places_file(result.file), report)
    objects = read_objects(result.file).objects
    assert shapely.is_valid([item.geometry for item in objects]).all()
    assert {item.path_class.name for item in objects if item.path_class} <= set(TOLD_APART)
    assert json.loads((out / "run.json").read_text())["model"]["digest"] == report.digest
    unseen = synthetic(1)
    shapes = read_labels(objects, LabelRule(class_names=[item.name for item in CLASSES])).shapes
    predicted = rasterize(shapes, unseen.bounds, EDGE_PX // 4, EDGE_PX // 4)
    truth = unseen.labels(unseen.bounds, EDGE_PX // 4, EDGE_PX // 4)
    known = [label for label, item in enumerate(CLASSES) if item.name in TOLD_APART]
    judged = sum((truth == label) for label in known) > 0
    assert (predicted[judged] == truth[judged]).mean() > 0.5


def _check_places(file: Path, report: TrainReport) -> None:
    """Foveation tells which fields it prefers, tile by tile; others tell nothing."""
    assert file.exists() == (report.bundle.name == "foveation")
    if not file.exists():
        return
    tiles = read_objects(file).objects
    assert {item.kind for item in tiles} == {ObjectKind.TILE}
    names = ["Field of 256 µm", "Field of 512 µm", "Mean field µm"]
    assert all(list(item.measurements) == names for item in tiles)
    for fine, coarse, mean_um in (item.measurements.values() for item in tiles):
        assert fine + coarse == pytest.approx(1, abs=1e-4)
        assert mean_um == pytest.approx(256 * fine + 512 * coarse, rel=1e-3)
    assert len({item.measurements["Mean field µm"] for item in tiles}) > 1
    geometries = [item.geometry for item in tiles]
    assert shapely.union_all(geometries).area == pytest.approx(sum(one.area for one in geometries))
    left, top, right, bottom = shapely.total_bounds(geometries)
    assert min(left, top) >= 0
    assert max(right, bottom) <= EDGE_PX
