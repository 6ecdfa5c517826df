import contextlib
import json
import threading
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
from qpbridge.errors import CancelledError, InvalidValueError, UnknownNameError
from qpbridge.models.bundle import Bundle
from qpbridge.qupath.geojson import parse_objects, read_objects, write_objects
from qpbridge.workflows.predict import PredictRequest, predict
from qpbridge.workflows.predicting.region import PredictRegionReport, PredictRegionRequest, chunks, predict_region

Draw = Callable[..., Path]
Box = tuple[float, float, float, float]


class Desk(SilentProgress):
    """Takes objects, and notes how many there were at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.received = bytearray()
        self.counts: list[int] = []
        self.steps: list[tuple[int, int, float]] = []
        self.is_cancelled = False

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        if stage.startswith("predict"):
            self.steps.append((done, total, numbers["objects"]))

    def emit(self, payload: bytes, count: int) -> None:
        self.received += payload
        self.counts.append(count)

    def raise_if_cancelled(self) -> None:
        if self.is_cancelled:
            raise CancelledError("cancelled")

    @property
    def objects(self) -> tuple[PathObject, ...]:
        return parse_objects(b"[" + b",".join(self.received.splitlines()) + b"]", "what was received").objects


@pytest.fixture
def slide(draw: Draw) -> Path:
    areas = {"Tumor": (100, 50, 200, 150), "Stroma": (150, 170, 300, 280)}
    return draw("case.png", **areas)


@pytest.fixture
def request_of(tmp_path: Path, color_bundle: Bundle) -> Callable[..., PredictRegionRequest]:
    def make(
        path: Path, region: tuple[float, float, float, float] | None = None, **fields: Any
    ) -> PredictRegionRequest:
        x, y, width, height = region or (0, 0, 0, 0)
        whole = PredictRegionRequest(
            input=path,
            model=tmp_path / "model",
            region=Region(x_px=x, y_px=y, width_px=width, height_px=height) if region else None,
            mpp=0.5,
            device="cpu",
            use_tissue_mask=False,
        )
        return replace(whole, **fields)

    return make


RequestOf = Callable[..., PredictRegionRequest]


def predicted(request: PredictRegionRequest) -> tuple[PredictRegionReport, Desk]:
    desk = Desk()
    return predict_region(request, desk, desk.emit), desk


def written(request: PredictRegionRequest, out: Path, annotations: dict[str, str]) -> list[PathObject]:
    whole = PredictRequest(
        inputs=(request.input,),
        model=request.model,
        out=out,
        mpp=request.mpp,
        device=request.device,
        min_area_um2=request.min_area_um2,
        smooth_um=request.smooth_um,
        use_tissue_mask=False,
        annotations=annotations,
    )
    return list(read_objects(predict(whole, SilentProgress()).results[0].file).objects)


def sorted_lines(objects: list[PathObject] | tuple[PathObject, ...]) -> list[tuple[str, bytes, object]]:
    classes = [item.path_class and item.path_class.name for item in objects]
    return sorted((item.id, shapely.to_wkb(item.geometry), name) for item, name in zip(objects, classes, strict=True))


def text_of(path: Path, *objects: PathObject) -> str:
    write_objects(path, objects)
    return path.read_text()


def test_the_objects_of_a_region_end_at_its_borders(slide: Path, request_of: RequestOf) -> None:
    report, desk = predicted(request_of(slide, (120, 20.5, 250, 100)))

    found = {item.path_class.name: item.geometry for item in desk.objects if item.path_class}
    assert found["Tumor"].equals(box(120, 50, 200, 120.5))
    assert found["Background"].equals(box(120, 20.5, 370, 120.5) - box(120, 50, 200, 120.5))
    assert report.region == Region(x_px=120, y_px=20.5, width_px=250, height_px=100)
    assert (report.objects, sum(desk.counts), len(desk.objects)) == (2, 2, 2)
    assert [(one.name, one.count) for one in report.classes] == [("Tumor", 1), ("Stroma", 0), ("Background", 1)]
    assert report.classes[0].area_mm2 == pytest.approx(80 * 70.5 * 0.25e-6)


@pytest.mark.parametrize("smooth_um", [0.0, 3.0])
@pytest.mark.parametrize("min_area_um2", [0.0, 200.0])
def test_a_region_holds_what_a_prediction_writes_for_it(
    draw: Draw,
    annotate: Callable[..., PathObject],
    request_of: RequestOf,
    tmp_path: Path,
    smooth_um: float,
    min_area_um2: float,
) -> None:
    slide = draw("case.png", Tumor=(100, 50, 200, 150), Stroma=(150, 170, 163, 180))
    asked = request_of(slide, (90, 20, 250, 230.5), smooth_um=smooth_um, min_area_um2=min_area_um2)
    drawn = text_of(tmp_path / "box.geojson", annotate("x", 90, 20, 340, 250.5))

    _, desk = predicted(asked)

    assert sorted_lines(desk.objects) == sorted_lines(written(asked, tmp_path / "out", {"case": drawn}))


def test_what_lies_inside_has_the_id_that_it_has_on_the_whole_slide(
    slide: Path, request_of: RequestOf, tmp_path: Path
) -> None:
    asked = request_of(slide, (90, 20, 250, 230))
    _, desk = predicted(asked)

    everywhere = {item.id for item in written(asked, tmp_path / "out", {})}

    names = {item.path_class.name for item in desk.objects if item.path_class and item.id in everywhere}
    assert names == {"Tumor"}


def test_without_a_region_the_whole_slide_is_predicted(slide: Path, request_of: RequestOf, tmp_path: Path) -> None:
    report, desk = predicted(request_of(slide))

    assert report.region == Region(x_px=0, y_px=0, width_px=400, height_px=300)
    assert sorted_lines(desk.objects) == sorted_lines(written(request_of(slide), tmp_path / "out", {}))


def test_annotations_narrow_a_region(
    slide: Path, annotate: Callable[..., PathObject], request_of: RequestOf, tmp_path: Path
) -> None:
    disk = replace(annotate("x", 0, 0, 1, 1), geometry=Point(200, 150).buffer(80))
    drawn = text_of(tmp_path / "disk.geojson", disk)

    report, desk = predicted(request_of(slide, (0, 0, 200, 300), annotations={"case.png": drawn}))

    half = disk.geometry & box(0, 0, 200, 300)
    geometries = [item.geometry for item in desk.objects]
    assert shapely.area(geometries).sum() == pytest.approx(half.area, abs=0.005 * half.length)
    assert shapely.coverage_is_valid(geometries)
    assert report.region.width_px == pytest.approx(80)


def test_first_objects_come_long_before_the_last_tile(draw: Draw, request_of: RequestOf) -> None:
    slide = draw("case.png", Tumor=(100, 20, 130, 50), Stroma=(200, 60, 300, 290))

    report, desk = predicted(request_of(slide))

    done_at_first = next(done for done, _, objects in desk.steps if objects)
    assert done_at_first < desk.steps[-1][1] / 2
    assert report.objects == 3


def test_an_entry_of_a_project_is_chosen_by_name(make_project: Callable[..., Path], request_of: RequestOf) -> None:
    project = make_project({"a.png": [], "b.png": []})

    report, _ = predicted(request_of(project, (0, 0, 50, 50), entry="b.png", mpp=None))

    assert report.slide_path.name == "b.png"
    assert (report.mpp_x, report.mpp_source) == (0.5, "project")
    assert json.loads(json.dumps(report.to_dict()))["model_digest"] == "f00d" * 16
    with pytest.raises(InvalidValueError, match="has 2 entries; name the one to predict"):
        predicted(request_of(project))
    with pytest.raises(UnknownNameError, match=r"c\.png"):
        predicted(request_of(project, entry="c.png"))


def test_a_region_that_makes_no_sense_is_refused(slide: Path, request_of: RequestOf) -> None:
    with pytest.raises(InvalidValueError, match=r"between \(900, 0\)"):
        predicted(request_of(slide, (900, 0, 10, 10)))
    with pytest.raises(InvalidValueError, match="belongs to a project"):
        predicted(request_of(slide, entry="1"))


def test_cancelling_ends_a_region_and_its_readers(slide: Path, request_of: RequestOf) -> None:
    class Cancelled(Desk):
        def emit(self, payload: bytes, count: int) -> None:
            super().emit(payload, count)
            self.is_cancelled = True

    desk = Cancelled()

    with contextlib.suppress(CancelledError):
        predict_region(request_of(slide), desk, desk.emit)

    assert len(desk.counts) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_lines_are_put_together_up_to_a_size() -> None:
    lines = [b"a" * 4, b"b" * 4, b"c" * 3]

    assert list(chunks(iter(lines), 10)) == [(b"aaaa\nbbbb\n", 2), (b"ccc\n", 1)]
    assert list(chunks(iter([]), 10)) == []


def test_a_line_that_is_too_long_comes_in_parts() -> None:
    parts = list(chunks(iter([b"a", b"b" * 25, b"c"]), 10))

    assert parts == [(b"a\n", 1), (b"b" * 10, 0), (b"b" * 10, 0), (b"bbbbb\nc\n", 2)]
    assert b"".join(payload for payload, _ in parts).split() == [b"a", b"b" * 25, b"c"]


def test_a_region_is_measured_and_ends_with_what_to_look_at_next(slide: Path, request_of: RequestOf) -> None:
    region = (0, 0, 300, 300)
    asked = {"blend": True, "tta": "flips", "uncertainty": True}

    report, desk = predicted(request_of(slide, region, suggest=2, **asked))

    *found, one, two = desk.objects
    _, plain = predicted(request_of(slide, region))
    # Rows end elsewhere where tiles are blended, and objects leave as their last row is known.
    assert sorted(item.id for item in found) == sorted(item.id for item in plain.objects)
    assert all("qpbridge: Uncertainty" in item.measurements for item in found)
    assert [one.name, two.name] == ["Review 1 of 2", "Review 2 of 2"]
    assert (report.objects, report.suggestions) == (len(found) + 2, 2)
    assert sum(item.count for item in report.classes) == len(found)
