"""From a slide and a QuPath project on disk to a model that labels a slide that it never saw."""

from pathlib import Path

import numpy as np
import pytest

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.progress import SilentProgress
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.models.bundle import load_bundle
from qpbridge.qupath.geojson import read_objects
from qpbridge.qupath.writing import create_project
from qpbridge.slides.synthetic import CLASSES, SyntheticSlide, SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import partial_annotations, region_annotations
from qpbridge.vector.labels import LabelRule, read_labels
from qpbridge.vector.raster import rasterize
from qpbridge.workflows.entries.making import entry_of_file
from qpbridge.workflows.predict import PredictRequest, predict
from qpbridge.workflows.train import TrainReport, TrainRequest, train

EDGE_PX = 1024
MPP = 2.0
TOLD_APART = ("Stroma", "Tumor", "Background")
SETTINGS = {
    "variant": "unet",
    "width": "8",
    "norm": "batch",
    "pixels": "density",
    "mpp": str(MPP),
    "patch_px": "128",
    "stride_px": "128",
    "optimizer": "adamw",
    "learning_rate": "0.01",
    "schedule": "cosine",
    "batch_size": "8",
    "epochs": "10",
    "repeats_max": "0",
    "color_p": "0",
}


def synthetic(seed: int) -> SyntheticSlide:
    spec = SyntheticSpec(width_px=EDGE_PX, height_px=EDGE_PX, mpp=MPP, seed=seed, has_context_class=False)
    return make_slide(spec)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides, about a tenth of each annotated, and one square completely; a third slide lies beside the project."""
    folder = tmp_path_factory.mktemp("case")
    entries = []
    for seed in (0, 1, 2):
        slide, path = synthetic(seed), folder / "slides" / f"{seed}.tif"
        write_slide(path, slide)
        entry = entry_of_file(path, (*partial_annotations(slide, share=0.1), *region_annotations(slide, count=1)))
        entries.append(entry)
    create_project(folder / "project", entries[:2], CLASSES)
    return folder / "project"


@pytest.fixture(scope="module")
def report(project: Path) -> TrainReport:
    request = TrainRequest(
        project=project,
        out=project.parent / "model",
        family="dmmn",
        classes=TOLD_APART,
        settings=SETTINGS,
        device="cpu",
        seed=1,
    )
    return train(request, SilentProgress())


def test_the_annotated_tissues_are_learnt(report: TrainReport) -> None:
    assert report.failures == ()
    assert report.classes == TOLD_APART
    assert set(report.training_entries) == {"0.tif", "1.tif"}
    assert report.mean_iou > 0.6


def test_the_model_labels_a_slide_that_it_never_saw(report: TrainReport, project: Path) -> None:
    unseen, path = synthetic(2), project.parent / "slides" / "2.tif"
    request = PredictRequest(inputs=(path,), model=report.bundle, out=project.parent / "out", device="cpu", seed=0)

    (result,) = predict(request, SilentProgress()).results

    assert tuple(item.name for item in load_bundle(report.bundle).spec.classes) == TOLD_APART
    shapes = read_labels(read_objects(result.file).objects, LabelRule(class_names=TOLD_APART)).shapes
    predicted = rasterize(shapes, unseen.bounds, EDGE_PX // 4, EDGE_PX // 4)
    order = np.full(256, IGNORE_INDEX, np.uint8)
    for label, name in enumerate(TOLD_APART):
        order[[item.name for item in CLASSES].index(name)] = label
    matrix = ConfusionMatrix(TOLD_APART)
    matrix.add(order[unseen.labels(unseen.bounds, EDGE_PX // 4, EDGE_PX // 4)], predicted)
    assert matrix.pixel_accuracy > 0.7
    assert matrix.mean_iou > 0.5
