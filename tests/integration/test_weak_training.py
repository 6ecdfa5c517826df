"""From a project that only holds tags to a model that says where the tissues are."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import shapely

from qpbridge.core.objects import ObjectKind
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, NothingToTrainError
from qpbridge.models.bundle import load_bundle
from qpbridge.qupath.geojson import read_objects
from qpbridge.qupath.writing import NewEntry, create_project
from qpbridge.slides.synthetic import CLASSES, SyntheticSlide, SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import region_annotations, tags
from qpbridge.workflows.entries.making import entry_of_file
from qpbridge.workflows.evaluate import EvaluateRequest, evaluate
from qpbridge.workflows.predict import PredictRequest, predict
from qpbridge.workflows.train import TrainReport, TrainRequest, train

EDGE_PX = 640
MPP = 4.0
SETTINGS = {
    "mpp": str(MPP),
    "patch_px": "32",
    "width": "6",
    "classifier_epochs": "8",
    "epochs": "5",
    "samples_per_epoch": "96",
    "batch_size": "16",
    "learning_rate": "0.01",
}


class Told(SilentProgress):
    """Notes what it hears, and is cancelled at a step."""

    def __init__(self, last: int = 10**9) -> None:
        self.warnings: list[str] = []
        self.stages: list[str] = []
        self.last, self.reached = last, 0

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        del total, numbers
        self.stages += [stage] if self.stages[-1:] != [stage] else []
        self.reached = done if stage == "train" else self.reached

    def raise_if_cancelled(self) -> None:
        if self.reached >= self.last:
            raise CancelledError("stopped")

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def entry(folder: Path, seed: int) -> tuple[SyntheticSlide, NewEntry]:
    spec = SyntheticSpec(width_px=EDGE_PX, height_px=EDGE_PX, mpp=MPP, seed=seed, has_context_class=False)
    slide, path = make_slide(spec), folder / "slides" / f"{seed}.tif"
    write_slide(path, slide)
    return slide, entry_of_file(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides with tags alone, and one that is annotated, to be judged by."""
    folder = tmp_path_factory.mktemp("case")
    entries = [entry(folder, seed) for seed in (0, 1, 2)]
    tagged = [replace(one, objects=tags(slide, count=60, seed=3)) for slide, one in entries[:2]]
    create_project(folder / "project", tagged, CLASSES)
    slide, unseen = entries[2]
    create_project(folder / "test", [replace(unseen, objects=region_annotations(slide, count=4, size_um=800))], CLASSES)
    return folder


def request(folder: Path, name: str, **settings: str) -> TrainRequest:
    return TrainRequest(
        project=folder / "project",
        out=folder / name,
        family="weak_tissue",
        preset="small",
        settings={**SETTINGS, **settings},
        device="cpu",
    )


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def report(folder: Path, told: Told) -> TrainReport:
    return train(request(folder, "model"), told)


def test_one_training_goes_through_both_stages(report: TrainReport, told: Told) -> None:
    assert report.failures == ()
    assert report.classes == ("Stroma", "Adipose", "Necrosis", "Tumor")
    assert told.stages[:4] == ["find patches", "train", "pseudo masks", "train"]
    rows = list(csv.DictReader((report.bundle / "curves.csv").read_text().splitlines()))
    assert [row["stage"] for row in rows] == ["1"] * 8 + ["2"] * 5
    assert report.best_epoch > 8
    assert not report.is_judged_by_people
    (metrics,) = load_bundle(report.bundle).provenance.metrics
    assert "pseudo masks" in metrics.split


def test_the_pseudo_masks_can_be_looked_at_before_the_second_stage(report: TrainReport, told: Told) -> None:
    assert report.pseudo_masks == report.bundle.with_name("model.pseudo-masks")
    assert any(str(report.pseudo_masks) in one for one in told.warnings)
    files = sorted(report.pseudo_masks.iterdir())
    assert [one.suffix for one in files] == [".geojson"] * 2
    objects = read_objects(files[0]).objects
    assert {item.kind for item in objects} == {ObjectKind.DETECTION}
    assert shapely.is_valid([item.geometry for item in objects]).all()
    assert {item.path_class.name for item in objects if item.path_class} <= set(report.classes)


def test_the_model_finds_tissues_on_a_slide_that_it_never_saw(report: TrainReport, folder: Path) -> None:
    (result,) = predict(
        PredictRequest(inputs=(folder / "slides" / "2.tif",), model=report.bundle, out=folder / "out", device="cpu"),
        SilentProgress(),
    ).results

    assert {item.path_class.name for item in read_objects(result.file).objects if item.path_class} <= {*report.classes}
    pooled = evaluate(
        EvaluateRequest(project=folder / "test", model=report.bundle, device="cpu"), SilentProgress()
    ).pooled
    assert pooled.mean_iou > 0.25  # one class all over has 0.12


@pytest.mark.parametrize("step", [48, 60])
def test_an_interrupted_training_gives_the_same_model(report: TrainReport, folder: Path, step: int) -> None:
    again = replace(request(folder, f"again-{step}"), resume=True)
    with pytest.raises(CancelledError):
        train(again, Told(step))

    resumed = train(again, Told())

    assert resumed.digest == report.digest


def test_polygons_become_tags_where_asked_for(folder: Path) -> None:
    weak = replace(
        request(folder, "weak", supervision="polygons", stride_px="32", classifier_epochs="2", epochs="1"),
        project=folder / "test",
    )

    report = train(weak, SilentProgress())

    assert set(report.classes) >= {"Stroma", "Adipose", "Tumor", "Background"}
    assert report.is_judged_by_people


def test_tags_that_leave_absence_open_are_refused(folder: Path) -> None:
    with pytest.raises(NothingToTrainError, match="no tagged area is known to be without it"):
        train(request(folder, "open", absence="unknown"), SilentProgress())
