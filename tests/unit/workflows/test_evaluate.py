import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from shapely import box
from shapely.geometry.base import BaseGeometry

from qpbridge.core.backend import Backend
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import (
    DamagedDataError,
    InvalidValueError,
    NoAnnotationError,
    PredictionNotFoundError,
    SlideMismatchError,
    SlideNotFoundError,
)
from qpbridge.models.bundle import Bundle
from qpbridge.qupath.geojson import write_objects
from qpbridge.qupath.locate import PathMap
from qpbridge.qupath.project import Project, ProjectEntry
from qpbridge.workflows import evaluate as workflow
from qpbridge.workflows.entries.sources import Source
from qpbridge.workflows.evaluate import EvaluateRequest, evaluate

Draw = Callable[..., Path]


def annotation(class_name: str, geometry: BaseGeometry) -> PathObject:
    return PathObject(
        id=str(uuid.uuid4()), kind=ObjectKind.ANNOTATION, geometry=geometry, path_class=PathClass(class_name, (9, 9, 9))
    )


@dataclass
class Entry:
    label: str
    objects: tuple[PathObject, ...] | Exception
    server: None = None
    data_path: Path = Path("data.qpdata")


@dataclass
class MemoryProject:
    """A project whose objects are in memory."""

    classes: tuple[PathClass, ...] = ()
    backend: Backend = field(default_factory=Backend)
    folder: Path = Path("nowhere")

    def read_objects(self, entry: Entry) -> tuple[PathObject, ...]:
        if isinstance(entry.objects, Exception):
            raise entry.objects
        return entry.objects


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make a project of (slide, objects) pairs; ids count from 1."""

    def make(*entries: tuple[Path, tuple[PathObject, ...] | Exception], classes: tuple[str, ...] = ()) -> Path:
        whole = MemoryProject(classes=tuple(PathClass(name, (9, 9, 9)) for name in classes))
        sources = [
            Source(
                key=str(number),
                name=path.name,
                file_stem=f"{number}-{path.name}",
                path=path,
                project=cast(Project, whole),
                entry=cast(ProjectEntry, Entry(f"entry {number} '{path.name}'", objects)),
                path_map=PathMap.parse([]),
            )
            for number, (path, objects) in enumerate(entries, start=1)
        ]
        monkeypatch.setattr(workflow, "open_told", lambda *_: whole)
        monkeypatch.setattr(workflow, "sources_in", lambda *_: sources)
        return Path("project.qpproj")

    return make


def with_model(project: Path, **fields: Any) -> EvaluateRequest:
    whole = EvaluateRequest(project=project, model=Path("model"), mpp=0.5, device="cpu")
    return replace(whole, **fields)


@pytest.mark.usefixtures("color_bundle")
def test_a_model_is_scored_on_annotated_pixels_only(draw: Draw, project: Callable[..., Path]) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150), Stroma=(200, 50, 300, 150))
    # A quarter of what is said to be tumor is stroma; the rest of the slide is not annotated.
    objects = (annotation("Tumor", box(125, 60, 225, 100)), annotation("Stroma", box(240, 60, 290, 100)))

    report = evaluate(with_model(project((slide, objects))), SilentProgress())

    assert report.pooled.class_names == ("Tumor", "Stroma", "Background")
    assert report.pooled.counts.tolist() == [[3000, 1000, 0, 0], [0, 2000, 0, 0], [0, 0, 0, 0]]
    assert report.pooled.iou[0] == 0.75
    told = report.to_dict()
    assert told["labelled_mm2"] == pytest.approx(6000 * 0.25e-6)
    assert told["labelled_share"] == pytest.approx(6000 / 120_000)
    assert told["entries"][0]["classes"]["Stroma"]["recall"] == 1.0
    tumor = told["classes"]["Tumor"]
    assert (tumor["iou"], tumor["recall"], tumor["precision"], tumor["true_px"]) == (0.75, 0.75, 1.0, 4000)


@pytest.mark.usefixtures("color_bundle")
def test_entries_are_pooled_by_pixels(draw: Draw, project: Callable[..., Path]) -> None:
    red = draw("red.png", Tumor=(0, 0, 400, 300))
    green = draw("green.png", Stroma=(0, 0, 400, 300))
    where = project(
        (red, (annotation("Tumor", box(0, 0, 30, 100)),)), (green, (annotation("Tumor", box(0, 0, 10, 100)),))
    )

    report = evaluate(with_model(where), SilentProgress())

    assert [entry.matrix.mean_iou for entry in report.entries] == [1.0, 0.0]
    assert report.pooled.mean_iou == 0.75


@pytest.mark.usefixtures("color_bundle")
def test_unlabelled_pixels_in_a_region_are_background(draw: Draw, project: Callable[..., Path]) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150))
    objects = (annotation("Region*", box(50, 0, 250, 200)), annotation("Tumor", box(100, 50, 200, 150)))

    report = evaluate(with_model(project((slide, objects))), SilentProgress())

    assert report.pooled.counts.tolist() == [[10_000, 0, 0, 0], [0, 0, 0, 0], [0, 0, 30_000, 0]]


@pytest.mark.usefixtures("color_bundle")
def test_slides_without_annotations_are_not_even_opened(draw: Draw, project: Callable[..., Path]) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150))
    absent = slide.with_name("absent.png")
    other = annotation("Nerve", box(0, 0, 10, 10))

    report = evaluate(
        with_model(project((slide, (annotation("Tumor", box(100, 50, 200, 150)),)), (absent, ()), (absent, (other,)))),
        SilentProgress(),
    )

    assert report.unlabelled == ("absent.png", "absent.png")
    assert report.failures == ()


@pytest.mark.usefixtures("color_bundle")
def test_one_bad_entry_does_not_end_an_evaluation(draw: Draw, project: Callable[..., Path]) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150))
    tumor = (annotation("Tumor", box(100, 50, 200, 150)),)
    progress = SilentProgress()

    where = project(
        (slide.with_name("absent.png"), tumor), (slide, DamagedDataError("data.qpdata is cut short")), (slide, tumor)
    )
    report = evaluate(with_model(where), progress)

    assert [failure.reason for failure in report.failures] == ["SLIDE_NOT_FOUND", "DAMAGED_DATA"]
    assert [entry.key for entry in report.entries] == ["3"]
    assert len(progress.warnings) == 2


@pytest.mark.usefixtures("color_bundle")
def test_where_nothing_can_be_compared_the_cause_is_told(draw: Draw, project: Callable[..., Path]) -> None:
    slide = draw("case.png")
    tumor = (annotation("Tumor", box(0, 0, 9, 9)),)

    with pytest.raises(NoAnnotationError, match="no annotation of Tumor, Stroma, Background to compare"):
        evaluate(with_model(project((slide, ()))), SilentProgress())
    with pytest.raises(SlideNotFoundError):
        evaluate(with_model(project((slide.with_name("absent.png"), tumor))), SilentProgress())


@pytest.mark.usefixtures("color_bundle")
def test_images_that_the_model_learned_from_are_marked(draw: Draw, project: Callable[..., Path]) -> None:
    tumor = (annotation("Tumor", box(0, 0, 9, 9)),)

    report = evaluate(with_model(project((draw("learned.png"), tumor), (draw("new.png"), tumor))), SilentProgress())

    assert [entry.was_trained_on for entry in report.entries] == [True, False]


def test_written_predictions_are_scored_on_the_pixels_of_the_slide(
    draw: Draw, project: Callable[..., Path], tmp_path: Path
) -> None:
    slide = draw("case.png")
    truth = (annotation("Tumor", box(0, 0, 100, 100)), annotation("Stroma: Loose", box(100, 0, 200, 100)))
    predicted = [
        annotation("Tumor", box(0, 0, 80, 100)),
        annotation("Stroma: Loose", box(120, 0, 400, 300)),
        annotation("Necrosis", box(80, 0, 90, 100)),
    ]
    write_objects(tmp_path / "results" / "1-case.png.geojson.gz", predicted)

    request = EvaluateRequest(project=project((slide, truth)), predictions=tmp_path / "results", mpp=0.25)
    report = evaluate(request, SilentProgress())

    assert report.pooled.class_names == ("Stroma: Loose", "Tumor")
    # Neither what is not predicted nor a class that nobody annotated is a hit.
    assert report.pooled.counts.tolist() == [[8000, 0, 2000], [0, 8000, 2000]]
    assert report.entries[0].labelled_mm2 == pytest.approx(20_000 * 0.0625e-6)
    assert not report.entries[0].was_trained_on


def test_an_entry_without_prediction_is_told(draw: Draw, project: Callable[..., Path], tmp_path: Path) -> None:
    tumor = (annotation("Tumor", box(0, 0, 100, 100)),)
    where = project((draw("a.png"), tumor), (draw("b.png"), tumor))
    write_objects(tmp_path / "2-b.png.geojson", tumor)

    report = evaluate(EvaluateRequest(project=where, predictions=tmp_path, mpp=0.5), SilentProgress())

    (failure,) = report.failures
    assert failure.reason == "PREDICTION_NOT_FOUND"
    assert "1-a.png.geojson" in failure.message
    assert report.pooled.mean_iou == 1.0


def test_what_is_free_inside_a_region_is_background_or_else_what_is_never_written(
    draw: Draw, project: Callable[..., Path], tmp_path: Path
) -> None:
    slide = draw("case.png")
    truth = (annotation("Region*", box(0, 0, 20, 20)), annotation("Tumor", box(0, 0, 10, 10)))
    predicted = [annotation("Tumor", box(0, 0, 10, 10)), annotation("Background", box(10, 0, 400, 300))]
    write_objects(tmp_path / "1-case.png.geojson", predicted)
    request = EvaluateRequest(project=Path("p"), predictions=tmp_path, mpp=0.5)

    project((slide, truth), classes=("Tumor", "Background"))
    with_background = evaluate(request, SilentProgress())
    project((slide, truth), classes=("Tumor",))
    without = evaluate(request, SilentProgress())

    assert with_background.pooled.counts.tolist() == [[100, 0, 0], [0, 200, 100]]
    assert without.pooled.counts.tolist() == [[100, 0, 0], [0, 100, 200]]
    write_objects(tmp_path / "1-case.png.geojson", [annotation("Tumor", box(0, 0, 10, 15))])
    assert evaluate(request, SilentProgress()).pooled.counts.tolist() == [[100, 0, 0], [50, 250, 0]]


def test_predictions_of_another_slide_are_refused(draw: Draw, project: Callable[..., Path], tmp_path: Path) -> None:
    slide = draw("case.png")
    where = project((slide, (annotation("Tumor", box(0, 0, 9, 9)), annotation("Stroma", box(9, 9, 19, 19)))))
    file = tmp_path / "1-case.png.geojson"
    write_objects(file, [])
    (tmp_path / "run.json").write_text(json.dumps({"slides": [{"file": str(file), "fingerprint": "sha256-ends:0"}]}))

    with pytest.raises(SlideMismatchError, match=r"predicted on another slide \(sha256-ends:0\)"):
        evaluate(EvaluateRequest(project=where, predictions=tmp_path, mpp=0.5), SilentProgress())


def test_the_report_is_written_on_request(
    draw: Draw, project: Callable[..., Path], tmp_path: Path, color_bundle: Bundle
) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150))
    where = project((slide, (annotation("Tumor", box(100, 50, 200, 150)),)))

    report = evaluate(with_model(where, out=tmp_path / "scores.json"), SilentProgress())

    assert json.loads((tmp_path / "scores.json").read_text()) == json.loads(json.dumps(report.to_dict()))


def test_either_a_model_or_predictions_are_evaluated(project: Callable[..., Path]) -> None:
    where = project()

    for fields in ({"model": None}, {"predictions": Path("results")}):
        with pytest.raises(InvalidValueError, match="either a model or a folder of predictions"):
            evaluate(with_model(where, **fields), SilentProgress())
    with pytest.raises(PredictionNotFoundError, match="no folder of predictions at"):
        evaluate(with_model(where, model=None, predictions=Path("nowhere")), SilentProgress())


@pytest.mark.usefixtures("color_bundle")
def test_annotations_of_the_request_are_compared_like_saved_ones(
    draw: Draw, project: Callable[..., Path], tmp_path: Path
) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150))
    saved, live = (annotation("Tumor", box(*edges)) for edges in ((0, 0, 10, 10), (120, 60, 140, 80)))
    write_objects(tmp_path / "live.geojson", [live])
    texts = {"case.png": (tmp_path / "live.geojson").read_text()}
    where = project((slide, (saved,)))

    replaced = evaluate(with_model(where, annotations=texts), SilentProgress())
    added = evaluate(with_model(where, annotations=texts, annotations_mode="add"), SilentProgress())

    assert replaced.pooled.counts[0].tolist() == [400, 0, 0, 0]
    assert added.pooled.counts[0].tolist() == [400, 0, 100, 0]
    with pytest.raises(InvalidValueError, match=r"annotations of entry 1 'case\.png' is no GeoJSON"):
        evaluate(with_model(where, annotations={"1": "{"}), SilentProgress())
