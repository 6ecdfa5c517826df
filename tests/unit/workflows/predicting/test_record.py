import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shapely import box

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import SilentProgress
from qpbridge.files import sha256
from qpbridge.inference.interest import Interest
from qpbridge.models.bundle import Bundle
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.entries.sources import OpenedSource, sources_of_slides
from qpbridge.workflows.predicting.predictor import NotedProgress, Predictor
from qpbridge.workflows.predicting.record import RunRecord
from qpbridge.workflows.predicting.results import SlideResult
from qpbridge.workflows.requests import PredictRequest


@pytest.fixture
def opened(draw: Callable[..., Path]) -> OpenedSource:
    with sources_of_slides([draw("a.png")])[0].open(0.5) as opened:
        return opened


class Case:
    """A folder of results, and runs that write to it."""

    def __init__(self, out: Path, bundle: Bundle, opened: OpenedSource) -> None:
        self.out = out
        self.bundle = bundle
        self.opened = opened
        self.warnings: list[str] = []

    def record(self, bundle: Bundle | None = None, **fields: Any) -> RunRecord:
        request = replace(PredictRequest(inputs=(), model=Path("m"), out=self.out, device="cpu", resume=True), **fields)
        progress = SilentProgress()
        record = RunRecord(request, Predictor(request, bundle or self.bundle, NotedProgress(progress)), "job")
        self.warnings = progress.warnings
        return record

    def result(self, name: str = "a") -> SlideResult:
        file = self.out / f"{name}.geojson"
        self.out.mkdir(exist_ok=True)
        file.write_text(f"objects of {name}")
        map_file = self.out / f"{name}.probabilities.ome.tif"
        map_file.write_text("a map")
        return SlideResult(
            key=name,
            name=f"{name}.png",
            file=file,
            slide_path=self.opened.slide.path,
            fingerprint=self.opened.slide.fingerprint,
            mpp_x=0.5,
            mpp_y=0.5,
            mpp_source="request",
            objects=3,
            classes=(),
            duration_s=1.0,
            warnings=("odd",),
            probabilities=map_file,
            file_sha256=sha256(file),
        )

    def kept(self, record: RunRecord, name: str = "a", interest: Interest | None = None) -> SlideResult | None:
        return record.still_good(self.out / f"{name}.geojson", self.opened, interest)

    def document(self) -> Any:
        return json.loads((self.out / "run.json").read_text())


@pytest.fixture
def case(tmp_path: Path, color_bundle: Bundle, opened: OpenedSource) -> Case:
    return Case(tmp_path / "out", color_bundle, opened)


def test_a_record_tells_how_far_a_run_is(case: Case) -> None:
    record = case.record(annotations={"a": "x" * 1000})

    record.write("running", [])
    at_first = case.document()
    record.add(case.result())
    record.write("done", [Failure(entry="b", reason="R", message="m")])

    assert (at_first["status"], at_first["slides"]) == ("running", [])
    assert (case.document()["status"], case.document()["slides"][0]["key"]) == ("done", "a")
    assert case.document()["failures"] == [{"entry": "b", "reason": "R", "message": "m"}]
    assert case.document()["parameters"]["annotations"] == ["a"]


def test_what_a_run_of_the_same_kind_left_whole_is_still_good(case: Case) -> None:
    first = case.record()
    result = case.result()
    first.add(result)
    first.write("running", [])

    second = case.record(inputs=(Path("elsewhere"),), entries=("a",))

    assert case.kept(second) == result
    assert case.kept(second, "b") is None
    assert case.warnings == []


def spoil_file(case: Case) -> None:
    (case.out / "a.geojson").write_text("cut")


def lose_file(case: Case) -> None:
    (case.out / "a.geojson").unlink()


def lose_map(case: Case) -> None:
    (case.out / "a.probabilities.ome.tif").unlink()


def move_pixels(case: Case) -> None:
    case.opened = replace(case.opened, calibration=PixelCalibration.square(0.25))


@pytest.mark.parametrize("spoil", [spoil_file, lose_file, lose_map, move_pixels])
def test_a_slide_that_changed_since_is_predicted_again(case: Case, spoil: Callable[[Case], None]) -> None:
    record = case.record()
    record.add(case.result())
    record.write("cancelled", [])
    spoil(case)

    assert case.kept(case.record()) is None


def test_other_areas_of_interest_are_predicted_again(case: Case) -> None:
    record = case.record()
    record.add(case.result())
    record.write("done", [])

    assert case.kept(case.record(), interest=Interest(geometry=box(0, 0, 9, 9))) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"mpp": 0.3},
        {"min_area_um2": 5.0},
        {"smooth_um": 1.0},
        {"use_tissue_mask": False},
        {"margin_px": 3},
        {"blend": True},
        {"tta": "d4"},
        {"suggest": 2},
    ],
)
def test_another_kind_of_run_predicts_all_again_and_says_so(case: Case, fields: dict[str, Any]) -> None:
    record = case.record()
    record.add(case.result())
    record.write("done", [])

    assert case.kept(case.record(**fields)) is None
    assert "another model, version or parameters" in case.warnings[0]


def test_another_model_predicts_all_again(case: Case) -> None:
    record = case.record()
    record.add(case.result())
    record.write("done", [])
    other = Bundle(
        spec=case.bundle.spec, network=case.bundle.network, provenance=case.bundle.provenance, digest="beef" * 16
    )

    assert case.kept(case.record(other)) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"slides": 3}', b"\xff"])
def test_a_record_that_cannot_be_read_is_told_and_not_trusted(case: Case, content: bytes) -> None:
    case.result()
    (case.out / "run.json").write_bytes(content)

    assert case.kept(case.record()) is None
    assert "cannot be read" in case.warnings[0]


def test_without_an_earlier_run_nothing_is_kept_and_nothing_told(case: Case) -> None:
    assert case.kept(case.record()) is None
    assert case.warnings == []


def test_a_run_that_is_not_resumed_keeps_nothing(case: Case) -> None:
    record = case.record()
    record.add(case.result())
    record.write("done", [])

    assert case.kept(case.record(resume=False)) is None


def test_a_run_that_dies_early_forgets_nothing_of_the_one_before(case: Case) -> None:
    first = case.record()
    for name in ("a", "b"):
        first.add(case.result(name))
    first.write("running", [])

    second = case.record()
    kept = case.kept(second)
    assert kept is not None
    second.add(kept)
    second.write("running", [])

    third = case.record()
    assert [one["key"] for one in case.document()["earlier"]] == ["b"]
    assert case.kept(third, "a") is not None
    assert case.kept(third, "b") is not None


def test_the_place_of_a_map_is_told_where_one_was_asked_for(case: Case) -> None:
    file = Path("out/1-a.svs.geojson.gz")

    assert case.record().map_file(file) is None
    assert case.record(probabilities=True).map_file(file) == Path("out/1-a.svs.probabilities.ome.tif")
