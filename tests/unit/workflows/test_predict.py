import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely import Point, box

from qpbridge.core.geometry import Region
from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, DiskFullError, InvalidValueError
from qpbridge.models.bundle import Bundle
from qpbridge.qupath.geojson import read_objects, write_objects
from qpbridge.workflows import predict as workflow
from qpbridge.workflows.predict import PredictRequest, predict
from qpbridge.workflows.predicting import predictor

Draw = Callable[..., Path]


class CancelledDuring(SilentProgress):
    """Asked to stop as soon as a stage begins."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage
        self.is_reached = False

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
        self.is_reached |= stage == self.stage

    def raise_if_cancelled(self) -> None:
        if self.is_reached:
            raise CancelledError("cancelled")


@pytest.fixture
def request_of(tmp_path: Path, color_bundle: Bundle) -> Callable[..., PredictRequest]:
    def make(*inputs: Path, **fields: Any) -> PredictRequest:
        whole = PredictRequest(
            inputs=inputs, model=tmp_path / "model", out=tmp_path / "out", mpp=0.5, device="cpu", use_tissue_mask=False
        )
        return replace(whole, **fields)

    return make


def run_of(out: Path) -> Any:
    return json.loads((out / "run.json").read_text())


def test_regions_come_out_where_they_are(draw: Draw, request_of: Callable[..., PredictRequest]) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150), Stroma=(200, 50, 300, 150))

    report = predict(request_of(slide), SilentProgress())

    file = report.results[0].file
    assert file.name == "case.geojson"
    regions = {item.path_class.name: item.geometry for item in read_objects(file).objects if item.path_class}
    assert regions["Tumor"].equals(box(100, 50, 200, 150))
    assert regions["Stroma"].equals(box(200, 50, 300, 150))
    assert regions["Background"].equals(box(0, 0, 400, 300) - box(100, 50, 300, 150))


def test_a_folder_of_slides_may_be_given(draw: Draw, request_of: Callable[..., PredictRequest]) -> None:
    slides = [draw(f"slides/{name}", Tumor=(100, 50, 200, 150)) for name in ("a.png", "b.png")]

    report = predict(request_of(slides[0].parent), SilentProgress())

    assert [result.slide_path for result in report.results] == slides


def test_the_record_of_a_run_tells_all_that_is_needed_to_repeat_it(
    draw: Draw, request_of: Callable[..., PredictRequest], color_bundle: Bundle
) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150))

    report = predict(request_of(slide, seed=7), SilentProgress())

    run = run_of(report.out)
    assert run["status"] == "done"
    assert run["model"]["digest"] == color_bundle.digest
    assert set(run["versions"]) == {"qpbridge", "torch"}
    assert run["device"]["name"] == "cpu"
    assert run["parameters"]["seed"] == 7
    (told,) = run["slides"]
    assert told["slide_path"] == str(slide)
    assert told["fingerprint"].startswith("sha256-ends:")
    assert (told["mpp_x"], told["mpp_source"], told["objects"]) == (0.5, "request", 2)
    assert told["duration_s"] >= 0
    assert report.to_dict()["slides"][0]["name"] == "case.png"


def test_the_summary_holds_areas_counts_and_shares(draw: Draw, request_of: Callable[..., PredictRequest]) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150), Stroma=(200, 50, 300, 200))

    report = predict(request_of(slide), SilentProgress())

    rows = list(csv.DictReader((report.out / "summary.csv").read_text().splitlines()))
    assert [(row["entry"], row["class"], row["count"]) for row in rows] == [
        ("case", "Tumor", "1"),
        ("case", "Stroma", "1"),
        ("case", "Background", "1"),
    ]
    assert [float(row["area_mm2"]) for row in rows] == pytest.approx([0.0025, 0.00375, 0.03 - 0.00625])
    assert [row["share_of_tissue"] for row in rows] == ["0.4", "0.6", ""]


def test_two_runs_write_the_same_bytes(draw: Draw, request_of: Callable[..., PredictRequest], tmp_path: Path) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150))

    first, second = (
        predict(request_of(slide, out=tmp_path / name, margin_px=margin), SilentProgress())
        for name, margin in (("one", 0), ("two", 20))
    )

    assert first.results[0].file.read_bytes() == second.results[0].file.read_bytes()


def test_specks_join_what_surrounds_them(draw: Draw, request_of: Callable[..., PredictRequest]) -> None:
    slide = draw("case.png", Tumor=(100, 50, 110, 60), Stroma=(200, 50, 300, 150))

    by_default = predict(request_of(slide), SilentProgress()).results[0]
    all_kept = predict(request_of(slide, min_area_um2=0), SilentProgress()).results[0]

    assert [(item.name, item.count) for item in by_default.classes] == [("Tumor", 0), ("Stroma", 1), ("Background", 1)]
    assert [(item.name, item.count) for item in all_kept.classes] == [("Tumor", 1), ("Stroma", 1), ("Background", 1)]
    assert all_kept.classes[0].area_mm2 == pytest.approx(25e-6)


def test_one_bad_slide_does_not_end_a_batch(draw: Draw, request_of: Callable[..., PredictRequest]) -> None:
    good = draw("good.png", Tumor=(100, 50, 200, 150))
    torn = draw("torn.png")
    torn.write_bytes(torn.read_bytes()[:200])
    missing = good.with_name("missing.png")
    progress = SilentProgress()

    report = predict(request_of(torn, missing, good), progress)

    assert [result.key for result in report.results] == ["good"]
    assert [failure.reason for failure in report.failures] == ["DAMAGED_SLIDE", "SLIDE_NOT_FOUND"]
    assert len(progress.warnings) == 2
    assert [failure["reason"] for failure in run_of(report.out)["failures"]] == ["DAMAGED_SLIDE", "SLIDE_NOT_FOUND"]
    assert sorted(path.name for path in report.out.iterdir()) == ["good.geojson", "run.json", "runs", "summary.csv"]


def test_a_slide_without_pixel_size_is_told_how_to_get_one(
    draw: Draw, request_of: Callable[..., PredictRequest]
) -> None:
    report = predict(request_of(draw("case.png"), mpp=None), SilentProgress())

    (failure,) = report.failures
    assert failure.reason == "PIXEL_SIZE_MISSING"
    assert "--mpp" in failure.message


def test_a_slide_too_large_for_memory_does_not_end_a_batch(
    draw: Draw, request_of: Callable[..., PredictRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(predictor, "rows_of", exhausted)

    report = predict(request_of(draw("case.png")), SilentProgress())

    assert [failure.reason for failure in report.failures] == ["OUT_OF_MEMORY"]


def test_a_full_disk_ends_a_batch_and_leaves_nothing_half_written(
    draw: Draw, request_of: Callable[..., PredictRequest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise DiskFullError("no space left")

    monkeypatch.setattr(workflow, "write_objects", full)

    with pytest.raises(DiskFullError):
        predict(request_of(draw("a.png"), draw("b.png")), SilentProgress())

    assert run_of(tmp_path / "out")["status"] == "failed"
    assert not list((tmp_path / "out").glob("*.geojson"))


def test_cancelling_keeps_the_slides_that_are_finished(
    draw: Draw, request_of: Callable[..., PredictRequest], tmp_path: Path
) -> None:
    slides = draw("first.png", Tumor=(100, 50, 200, 150)), draw("second.png")

    with pytest.raises(CancelledError):
        predict(request_of(*slides), CancelledDuring("predict second.png"))

    run = run_of(tmp_path / "out")
    assert run["status"] == "cancelled"
    assert [slide["key"] for slide in run["slides"]] == ["first"]
    assert [path.name for path in (tmp_path / "out").glob("*.geojson")] == ["first.geojson"]


def test_cancelling_works_between_prediction_and_writing(
    draw: Draw, request_of: Callable[..., PredictRequest], tmp_path: Path
) -> None:
    with pytest.raises(CancelledError):
        predict(request_of(draw("case.png")), CancelledDuring("outline case.png"))

    assert not list((tmp_path / "out").glob("*.geojson"))


def test_blank_glass_is_not_shown_to_the_network(draw: Draw, request_of: Callable[..., PredictRequest]) -> None:
    slide = draw("case.png", Tumor=(20, 20, 120, 120))
    progress = SilentProgress()

    report = predict(request_of(slide, use_tissue_mask=True), progress)
    empty = predict(request_of(draw("empty.png"), use_tissue_mask=True), progress)

    regions = {item.path_class.name: item.geometry for item in read_objects(report.results[0].file).objects}  # type: ignore[union-attr]
    assert regions["Tumor"].equals(box(20, 20, 120, 120))
    assert empty.results[0].classes[-1].area_mm2 == pytest.approx(0.03)
    assert ["no tissue found" in message for message in empty.results[0].warnings] == [True]
    assert report.results[0].warnings == ()


def test_a_slide_much_coarser_than_the_model_is_told(draw: Draw, request_of: Callable[..., PredictRequest]) -> None:
    report = predict(request_of(draw("case.png"), mpp=1.0), SilentProgress())

    assert "cannot be seen" in report.results[0].warnings[0]


def test_results_are_compressed_on_request(draw: Draw, request_of: Callable[..., PredictRequest]) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150))

    report = predict(request_of(slide, gzip=True), SilentProgress())

    assert report.results[0].file.name == "case.geojson.gz"
    assert report.results[0].file.read_bytes()[:2] == b"\x1f\x8b"
    assert len(read_objects(report.results[0].file).objects) == 2


def test_smooth_outlines_still_cover_the_slide(draw: Draw, request_of: Callable[..., PredictRequest]) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150), Stroma=(150, 100, 300, 250))

    report = predict(request_of(slide, smooth_um=5.0), SilentProgress())

    geometries = [item.geometry for item in read_objects(report.results[0].file).objects]
    assert shapely.coverage_is_valid(geometries)
    whole = Region(x_px=0, y_px=0, width_px=400, height_px=300)
    assert sum(geometry.area for geometry in geometries) == pytest.approx(whole.width_px * whole.height_px)


def test_suggestions_and_a_map_lie_with_the_results_and_are_no_tissue(
    draw: Draw, request_of: Callable[..., PredictRequest]
) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150))

    plain = predict(request_of(slide), SilentProgress()).results[0]
    first, again = (
        predict(request_of(slide, suggest=2, probabilities=True), SilentProgress()).results[0] for _ in range(2)
    )

    objects = read_objects(again.file).objects
    assert [item.name for item in objects if item.is_locked] == ["Review 1 of 2", "Review 2 of 2"]
    assert first.classes == again.classes == plain.classes
    assert (plain.suggestions, first.suggestions, again.suggestions) == (0, 2, 2)
    assert (plain.objects, again.objects, again.replaced, again.kept) == (2, 4, 4, 0)
    assert plain.probabilities is None
    assert again.probabilities == slide.parent / "out" / "case.probabilities.ome.tif"
    assert again.probabilities.is_file()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inputs": ()}, "give one project, one folder of slides, or one or more slides, not nothing"),
        ({"inputs": (Path("p.qpproj"), Path("a.svs"))}, "give one project"),
        ({"inputs": (Path("a.svs"),), "entries": ("1",)}, "belong to a project"),
        ({"inputs": (Path("a.svs"),), "min_area_um2": -1.0}, "min-area-um2 must be 0 or more"),
        ({"inputs": (Path("a.svs"),), "device": "tpu"}, "there are: auto, cpu"),
    ],
)
def test_requests_that_make_no_sense_are_refused_before_work(
    fields: dict[str, Any], message: str, request_of: Callable[..., PredictRequest], tmp_path: Path
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        predict(request_of(**fields) if "inputs" not in fields else replace(request_of(), **fields), SilentProgress())

    assert not (tmp_path / "out").exists()


class KilledDuring(SilentProgress):
    """Ends the process, as far as a test can, as soon as a stage begins."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
        if stage == self.stage:
            raise SystemExit


class Watched(SilentProgress):
    def __init__(self) -> None:
        super().__init__()
        self.stages: list[str] = []
        self.objects: list[float] = []

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
        self.stages.append(stage)
        self.objects.append(numbers["objects"])


def test_the_record_of_a_run_is_kept_up_to_date(
    draw: Draw, request_of: Callable[..., PredictRequest], tmp_path: Path
) -> None:
    seen = []

    class Looking(SilentProgress):
        def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
            if stage == "slides" and done < total:
                run = run_of(tmp_path / "out")
                seen.append((run["status"], [slide["key"] for slide in run["slides"]], len(run["failures"])))

    slides = draw("a.png"), tmp_path / "missing.png", draw("c.png")

    predict(request_of(*slides), Looking())

    assert seen == [("running", [], 0), ("running", ["a"], 0), ("running", ["a"], 1)]


def test_a_resumed_run_keeps_what_is_finished_and_does_the_rest(
    draw: Draw, request_of: Callable[..., PredictRequest], tmp_path: Path
) -> None:
    slides = [draw(f"{name}.png", Tumor=(100, 50, 200, 150)) for name in "abc"]
    undisturbed = predict(request_of(*slides, out=tmp_path / "undisturbed"), SilentProgress())
    with pytest.raises(SystemExit):
        predict(request_of(*slides), KilledDuring("predict c.png"))
    first, second = (tmp_path / "out" / f"{name}.geojson" for name in "ab")
    second.unlink()
    written_ns = first.stat().st_mtime_ns
    watched = Watched()

    report = predict(request_of(*slides, resume=True), watched)

    assert first.stat().st_mtime_ns == written_ns
    assert sorted({stage for stage in watched.stages if stage.startswith("predict")}) == [
        "predict b.png",
        "predict c.png",
    ]
    assert [result.file.read_bytes() for result in report.results] == [
        result.file.read_bytes() for result in undisturbed.results
    ]
    assert [result.classes for result in report.results] == [result.classes for result in undisturbed.results]
    assert (tmp_path / "out" / "summary.csv").read_bytes() == (tmp_path / "undisturbed" / "summary.csv").read_bytes()
    assert (run_of(report.out)["status"], len(run_of(report.out)["slides"])) == ("done", 3)
    assert (watched.objects[0], watched.objects[-1]) == (0, 6)


def test_a_slide_that_changed_is_predicted_again(draw: Draw, request_of: Callable[..., PredictRequest]) -> None:
    slide = draw("a.png", Tumor=(100, 50, 200, 150))
    first = predict(request_of(slide), SilentProgress()).results[0]
    draw("a.png", Tumor=(100, 50, 300, 150))

    second = predict(request_of(slide, resume=True), SilentProgress()).results[0]

    assert second.classes[0].area_mm2 == pytest.approx(2 * first.classes[0].area_mm2)


def test_objects_end_exactly_at_the_borders_of_the_areas_of_interest(
    make_project: Callable[..., Path],
    annotate: Callable[..., PathObject],
    request_of: Callable[..., PredictRequest],
    tmp_path: Path,
) -> None:
    project = make_project({"a.png": [annotate("Stroma", 0, 0, 9, 9)], "b.png": []})
    disk = replace(annotate("x", 0, 0, 1, 1), geometry=Point(200.3, 150).buffer(60.7), path_class=None)
    write_objects(tmp_path / "drawn.geojson", [disk, annotate("Tumor", 10.25, 10, 30, 40.5)])
    areas = [item.geometry for item in read_objects(tmp_path / "drawn.geojson").objects]

    request = request_of(project, annotations={"a.png": (tmp_path / "drawn.geojson").read_text()})
    within, everywhere = predict(request, SilentProgress()).results

    found = [item.geometry for item in read_objects(within.file).objects]
    assert shapely.coverage_is_valid(found)
    assert shapely.area(found).sum() == pytest.approx(shapely.union_all(areas).area, abs=0.005 * areas[0].length)
    assert shapely.hausdorff_distance(shapely.union_all(found), shapely.union_all(areas)) < 0.011
    assert [(item.name, item.count) for item in within.classes] == [("Tumor", 2), ("Stroma", 1), ("Background", 0)]
    assert sum(item.area_mm2 for item in everywhere.classes) == pytest.approx(0.03)


def test_an_entry_with_no_area_to_predict_in_does_not_end_a_batch(
    make_project: Callable[..., Path], request_of: Callable[..., PredictRequest]
) -> None:
    project = make_project({"a.png": [], "b.png": []})

    report = predict(request_of(project, annotations={"1": "[]"}), SilentProgress())

    assert [failure.reason for failure in report.failures] == ["NO_ANNOTATION"]
    assert [result.name for result in report.results] == ["b.png"]
    with pytest.raises(InvalidValueError, match=r"annotations of entry 1 'a\.png' is no GeoJSON"):
        predict(request_of(project, annotations={"1": "{"}), SilentProgress())


def test_results_that_cannot_be_read_are_left_alone(draw: Draw, request_of: Callable[..., PredictRequest]) -> None:
    slide = draw("a.png", Tumor=(100, 50, 200, 150))
    (first,) = predict(request_of(slide), SilentProgress()).results
    torn = first.file.read_bytes()[:-9]
    first.file.write_bytes(torn)

    (failure,) = predict(request_of(slide), SilentProgress()).failures

    assert failure.reason == "DAMAGED_GEO_JSON"
    assert "mend it, or move it away to predict afresh" in failure.message
    assert first.file.read_bytes() == torn
