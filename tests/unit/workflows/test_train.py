import csv
import errno
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import (
    CancelledError,
    DiskFullError,
    InvalidValueError,
    NoAnnotationError,
    NothingToTrainError,
    PixelSizeMissingError,
    ProjectNotFoundError,
    QpbridgeError,
    SlideNotFoundError,
    TooFewClassesError,
    UnknownNameError,
)
from qpbridge.models import bundle as bundles
from qpbridge.models.bundle import load_bundle
from qpbridge.qupath.geojson import write_objects
from qpbridge.workflows.train import TrainRequest, train

MakeProject = Callable[..., Path]
Annotate = Callable[..., PathObject]

FAST = {
    "variant": "unet",
    "width": "2",
    "norm": "batch",
    "patch_px": "64",
    "stride_px": "64",
    "optimizer": "adamw",
    "learning_rate": "0.02",
    "batch_size": "4",
    "epochs": "1",
    "repeats_max": "0",
}
FILES = ["README.md", "curves.csv", "report.html", "spec.json", "weights.safetensors"]


@pytest.fixture
def both(annotate: Annotate) -> Callable[[], list[PathObject]]:
    """Annotations of both classes, 2 x 20000 px."""
    return lambda: [annotate("Tumor", 50, 50, 150, 250), annotate("Stroma", 250, 50, 350, 250)]


@pytest.fixture
def request_of(tmp_path: Path) -> Callable[..., TrainRequest]:
    def make(project: Path, settings: dict[str, str] | None = None, **fields: Any) -> TrainRequest:
        whole = TrainRequest(
            project=project,
            out=tmp_path / "models" / "model",
            family="dmmn",
            device="cpu",
            settings={**FAST, **(settings or {})},
        )
        return replace(whole, **fields)

    return make


Both = Callable[[], list[PathObject]]
RequestOf = Callable[..., TrainRequest]


def left_over(out: Path) -> list[Path]:
    return list(out.parent.iterdir()) if out.parent.exists() else []


def test_a_project_becomes_a_bundle(make_project: MakeProject, both: Both, request_of: RequestOf) -> None:
    request = request_of(make_project({"a.png": both(), "b.png": both()}), {"epochs": "6"}, seed=3)
    progress = SilentProgress()

    report = train(request, progress)

    assert progress.warnings == []
    assert sorted(path.name for path in report.bundle.iterdir()) == FILES
    bundle = load_bundle(report.bundle)
    assert bundle.digest == report.digest
    assert tuple(item.name for item in bundle.spec.classes) == report.classes == ("Tumor", "Stroma")
    assert bundle.spec.classes[0].color_rgb == (200, 30, 30)
    # Each annotation reaches into 3 x 4 patches; of each class a fifth of the pixels is held back.
    assert report.training_patches + report.validation_patches == 2 * 24
    assert 2 <= report.validation_patches <= 12
    assert report.mean_iou > 0.8
    assert set(report.class_iou) == {"Tumor", "Stroma"}
    assert report.device == "cpu"
    assert report.failures == ()
    assert left_over(request.out) == [request.out]


def test_a_bundle_says_where_it_comes_from(make_project: MakeProject, both: Both, request_of: RequestOf) -> None:
    request = request_of(make_project({"a.png": both()}, folder="Case 7"), {"epochs": "3"}, seed=3, tensorboard=True)
    report = train(request, SilentProgress())

    provenance = load_bundle(report.bundle).provenance
    assert provenance.project == "Case 7"
    assert provenance.seed == 3
    assert provenance.recipe.epochs == 3
    assert provenance.training_entries == provenance.validation_entries == ("a.png",)
    assert provenance.annotated_area_um2 == pytest.approx({"Tumor": 20000 * 0.25, "Stroma": 20000 * 0.25})
    (metrics,) = provenance.metrics
    assert metrics.split == "validation"
    assert metrics.values["mean IoU"] == pytest.approx(report.mean_iou)
    assert metrics.values["IoU Tumor"] == pytest.approx(report.class_iou["Tumor"])
    with (report.bundle / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[report.best_epoch - 1]["mean_iou"]) == pytest.approx(report.mean_iou, abs=1e-6)
    page = (report.bundle / "report.html").read_text(encoding="utf-8")
    assert "Training on Case 7" in page
    assert f"{report.best_epoch} of 3" in page
    assert page.count("annotated pixels wrong") * 3 == page.count("data:image/jpeg")
    assert b"IoU/Tumor" in next(request.out.with_name("model.tensorboard").iterdir()).read_bytes()


def test_a_report_is_json(make_project: MakeProject, both: Both, request_of: RequestOf) -> None:
    report = train(request_of(make_project({"a.png": both()})), SilentProgress())

    told = json.loads(json.dumps(report.to_dict()))
    blank = json.loads(json.dumps(replace(report, mean_iou=math.nan, class_iou={"Tumor": None}).to_dict()))

    assert told["bundle"] == str(report.bundle)
    assert told["classes"] == ["Tumor", "Stroma"]
    assert told["mean_iou"] == pytest.approx(report.mean_iou)
    assert blank["mean_iou"] is None


def test_one_seed_gives_one_digest(make_project: MakeProject, both: Both, request_of: RequestOf) -> None:
    request = request_of(make_project({"a.png": both()}))

    digests = [train(replace(request, seed=seed), SilentProgress()).digest for seed in (1, 1, 2)]

    assert digests[0] == digests[1] != digests[2]


class CancelledAfter(SilentProgress):
    """Asked to stop once a stage has been told some steps."""

    def __init__(self, stage: str, steps: int) -> None:
        super().__init__()
        self.stage = stage
        self.steps = steps

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
        self.steps -= stage == self.stage

    def raise_if_cancelled(self) -> None:
        if self.steps <= 0:
            raise CancelledError("cancelled")


@pytest.mark.parametrize(("stage", "steps"), [("find patches", 3), ("train", 1), ("train", 3)])
def test_a_cancel_leaves_nothing(
    make_project: MakeProject, both: Both, request_of: RequestOf, stage: str, steps: int
) -> None:
    request = request_of(make_project({"a.png": both()}), {"epochs": "50"})

    with pytest.raises(CancelledError):
        train(request, CancelledAfter(stage, steps))

    assert left_over(request.out) == []


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundles, "model_card", full)


def test_a_full_disk_leaves_nothing_half_written(
    make_project: MakeProject, both: Both, request_of: RequestOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(make_project({"a.png": both()}))
    fill_the_disk(monkeypatch)

    with pytest.raises(DiskFullError, match="model"):
        train(request, SilentProgress())

    assert left_over(request.out) == []


def test_an_older_bundle_is_replaced_when_all_is_done_and_kept_otherwise(
    make_project: MakeProject, both: Both, request_of: RequestOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(make_project({"a.png": both()}))

    first = train(request, SilentProgress()).digest
    with pytest.raises(CancelledError):
        train(replace(request, seed=1), CancelledAfter("train", 1))
    kept_at_cancel = load_bundle(request.out).digest
    second = train(replace(request, seed=1), SilentProgress()).digest
    fill_the_disk(monkeypatch)
    with pytest.raises(DiskFullError):
        train(replace(request, seed=2), SilentProgress())

    assert kept_at_cancel == first
    assert load_bundle(request.out).digest == second != first
    assert sorted(path.name for path in request.out.iterdir()) == FILES
    assert left_over(request.out) == [request.out]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("project", "project exists and is no model bundle.*give another folder"),
        ("file", "file exists and is no model bundle.*give another folder"),
        ("file/model", r"no bundle can be written to .*model \(.+\): give another folder"),
    ],
)
def test_a_bundle_that_cannot_be_written_is_told_before_training_and_nothing_else_is_replaced(
    make_project: MakeProject, both: Both, request_of: RequestOf, tmp_path: Path, out: str, message: str
) -> None:
    project = make_project({"a.png": both()})
    (tmp_path / "file").write_text("notes")

    with pytest.raises(InvalidValueError, match=message):
        train(request_of(project, out=tmp_path / out), CancelledAfter("find patches", 1))

    assert (project / "project.qpproj").is_file()
    assert (tmp_path / "file").read_text() == "notes"


def test_a_slide_that_is_gone_is_told_and_the_rest_is_learnt(
    make_project: MakeProject, both: Both, request_of: RequestOf
) -> None:
    project = make_project({"a.png": both(), "b.png": both()})
    (project.parent / "slides" / "a.png").unlink()
    progress = SilentProgress()

    report = train(request_of(project), progress)

    assert [(one.entry, one.reason) for one in report.failures] == [("entry 1 'a.png'", "SLIDE_NOT_FOUND")]
    assert progress.warnings == [report.failures[0].message]
    assert report.training_entries == ("b.png",)
    assert report.to_dict()["failures"][0]["reason"] == "SLIDE_NOT_FOUND"


def test_without_any_slide_there_is_no_model(make_project: MakeProject, both: Both, request_of: RequestOf) -> None:
    project = make_project({"a.png": both(), "b.png": both()})
    request = request_of(project)
    for slide in (project.parent / "slides").iterdir():
        slide.unlink()

    with pytest.raises(SlideNotFoundError, match=r"a\.png"):
        train(request, SilentProgress())

    assert left_over(request.out) == []


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"classes": ("Tumor", "Fat")}, NoAnnotationError, "'Fat'; annotated are: 'Stroma', 'Tumor'"),
        ({"classes": ("Tumor",)}, TooFewClassesError, "only 'Tumor'"),
        ({"family": "unet"}, UnknownNameError, "dmmn"),
        ({"preset": "huge"}, UnknownNameError, "small"),
        ({"settings": {"epoch": "3"}}, UnknownNameError, "epochs"),
        ({"settings": {"epochs": "many"}}, InvalidValueError, "epochs=many"),
        ({"device": "tpu"}, InvalidValueError, "auto, cpu"),
        ({"entries": ("z.png",)}, UnknownNameError, r"a\.png"),
        ({"validation": ("z.png",)}, UnknownNameError, r"a\.png"),
        ({"project": Path("nowhere")}, ProjectNotFoundError, "nowhere"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(
    make_project: MakeProject,
    both: Both,
    request_of: RequestOf,
    fields: dict[str, Any],
    error: type[QpbridgeError],
    message: str,
) -> None:
    request = replace(request_of(make_project({"a.png": both()})), **fields)

    with pytest.raises(error, match=message):
        train(request, SilentProgress())

    assert left_over(request.out) == []


def test_annotations_too_small_for_a_patch_are_told(
    make_project: MakeProject, annotate: Annotate, request_of: RequestOf
) -> None:
    tiny = [annotate("Tumor", 10, 10, 15, 15), annotate("Stroma", 300, 10, 305, 15)]

    with pytest.raises(NothingToTrainError, match=r"no patch of 64 px at 0\.5 µm/px has more than 1 % of its pixels"):
        train(request_of(make_project({"a.png": tiny})), SilentProgress())


def test_a_class_without_visible_pixels_is_told(
    make_project: MakeProject, both: Both, annotate: Annotate, request_of: RequestOf
) -> None:
    covers = [annotate("Stroma", 250, 100, 299, 150), annotate("Stroma", 299, 100, 300, 150)]
    hidden = [*both(), annotate("Fat", 250, 100, 300, 150), *covers]

    with pytest.raises(NothingToTrainError, match=r"nothing to learn 'Fat' from: .*covered by smaller annotations"):
        train(request_of(make_project({"a.png": hidden})), SilentProgress())


def test_slides_without_pixel_size_need_one(make_project: MakeProject, both: Both, request_of: RequestOf) -> None:
    request = request_of(make_project({"a.png": both()}, mpp=None))

    with pytest.raises(PixelSizeMissingError, match="--mpp"):
        train(request, SilentProgress())
    report = train(replace(request, mpp=0.25), SilentProgress())

    areas = load_bundle(report.bundle).provenance.annotated_area_um2
    assert areas == pytest.approx({"Tumor": 20000 / 16, "Stroma": 20000 / 16})
    assert report.training_patches + report.validation_patches <= 8


def test_named_entries_judge_and_are_not_learnt_from(
    make_project: MakeProject, both: Both, request_of: RequestOf
) -> None:
    project = make_project({"a.png": both(), "b.png": both(), "c.png": both()})

    by_name = train(request_of(project, validation=("b.png",)), SilentProgress())
    beside = train(request_of(project, entries=("1",), validation=("2", "b.png")), SilentProgress())

    assert by_name.training_entries == ("a.png", "c.png")
    assert by_name.validation_entries == ("b.png",)
    assert (by_name.training_patches, by_name.validation_patches) == (48, 24)
    assert beside.training_entries == ("a.png",)
    assert beside.validation_entries == ("b.png",)
    assert load_bundle(beside.bundle).provenance.annotated_area_um2["Tumor"] == pytest.approx(20000 * 0.25)


def test_there_must_be_something_to_judge_by_and_something_to_learn_from(
    make_project: MakeProject, both: Both, request_of: RequestOf
) -> None:
    project = make_project({"a.png": both(), "b.png": []})

    with pytest.raises(NoAnnotationError, match=r"no annotation to judge by on b\.png"):
        train(request_of(project, validation=("b.png",)), SilentProgress())
    with pytest.raises(NothingToTrainError, match="every annotated slide that can be used is held back"):
        train(request_of(project, validation=("a.png",)), SilentProgress())


def test_a_class_that_only_judges_is_told(
    make_project: MakeProject, both: Both, annotate: Annotate, request_of: RequestOf
) -> None:
    project = make_project({"a.png": both(), "b.png": [*both(), annotate("Fat", 0, 0, 40, 40)]})

    with pytest.raises(NothingToTrainError, match=r"'Fat' from: .*only on slides held back"):
        train(request_of(project, validation=("b.png",)), SilentProgress())


def test_from_four_slides_on_a_whole_one_is_held_back(
    make_project: MakeProject, both: Both, request_of: RequestOf
) -> None:
    names = [f"{name}.png" for name in "abcd"]

    report = train(request_of(make_project({name: both() for name in names})), SilentProgress())

    assert len(report.training_entries) == 3
    assert len(report.validation_entries) == 1
    assert sorted([*report.training_entries, *report.validation_entries]) == names


def test_without_anything_held_back_the_user_is_told(
    make_project: MakeProject, both: Both, request_of: RequestOf
) -> None:
    progress = SilentProgress()

    report = train(request_of(make_project({"a.png": both()}), {"validation_share": "0"}), progress)

    assert (report.training_patches, report.validation_patches) == (24, 24)
    assert ["judged by what it learnt from" in warning for warning in progress.warnings] == [True]


def test_a_completely_annotated_area_teaches_what_is_none_of_the_classes(
    make_project: MakeProject, annotate: Annotate, request_of: RequestOf
) -> None:
    objects = [annotate("Region*", 0, 0, 400, 300), annotate("Tumor", 0, 0, 200, 300)]

    report = train(request_of(make_project({"a.png": objects})), SilentProgress())

    assert report.classes == ("Tumor", "Background")


def test_an_output_that_is_never_written_may_stay_without_pixels(
    make_project: MakeProject, annotate: Annotate, request_of: RequestOf
) -> None:
    both = [annotate("Tumor", 0, 0, 200, 300), annotate("Stroma", 200, 0, 400, 300)]
    project = make_project({"a.png": [annotate("Region*", 0, 0, 400, 300), *both]})
    (project / "classifiers" / "classes.json").write_text('{"pathClasses": []}')

    report = train(request_of(project), SilentProgress())

    assert report.classes == ("Stroma", "Tumor", "(unlabelled)")
    assert report.class_iou["(unlabelled)"] is None or report.class_iou["(unlabelled)"] == 0


def test_a_background_that_nobody_left_free_is_left_out_with_a_warning(
    make_project: MakeProject, annotate: Annotate, request_of: RequestOf
) -> None:
    region, tumor = annotate("Region*", 0, 0, 400, 300), annotate("Tumor", 0, 0, 200, 300)
    full = make_project({"a.png": [region, tumor, annotate("Stroma", 200, 0, 400, 300)]})
    one = make_project({"a.png": [region, annotate("Tumor", 0, 0, 400, 300)]}, folder="one")
    progress = SilentProgress()

    report = train(request_of(full), progress)

    assert report.classes == ("Tumor", "Stroma")
    assert ["'Background' is left out" in message for message in progress.warnings] == [True]
    with pytest.raises(TooFewClassesError, match="only 'Tumor': it covers the areas marked as"):
        train(request_of(one), SilentProgress())
    with pytest.raises(NothingToTrainError, match="'Background' from"):
        train(request_of(full, classes=("Tumor", "Stroma", "Background")), SilentProgress())


def test_a_named_entry_without_annotations_is_told(
    make_project: MakeProject, both: Both, request_of: RequestOf
) -> None:
    project = make_project({"a.png": both(), "b.png": both(), "c.png": [], "d.png": both()})
    (project.parent / "slides" / "d.png").unlink()
    progress = SilentProgress()

    report = train(request_of(project, validation=("b.png", "c.png", "d.png")), progress)

    assert report.validation_entries == ("b.png",)
    assert [message for message in progress.warnings if "to judge by" in message] == [
        "entry 3 'c.png' has no annotation to judge by; the others named are taken alone"
    ]
    assert len(progress.warnings) == 2


def test_annotations_of_the_request_are_learnt_like_saved_ones(
    make_project: MakeProject, both: Both, request_of: RequestOf, tmp_path: Path
) -> None:
    write_objects(tmp_path / "live.geojson", both())
    project = make_project({"a.png": [], "b.png": both()})
    live = {"a.png": (tmp_path / "live.geojson").read_text()}

    report = train(request_of(project, annotations=live), SilentProgress())

    assert sorted({*report.training_entries, *report.validation_entries}) == ["a.png", "b.png"]
    with pytest.raises(InvalidValueError, match=r"annotations of entry 1 'a\.png' is no GeoJSON"):
        train(request_of(project, annotations={"a.png": "{"}), CancelledAfter("find patches", 1))
