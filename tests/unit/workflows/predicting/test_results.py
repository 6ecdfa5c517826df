import csv
from dataclasses import replace
from pathlib import Path

import pytest
from shapely import box

from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.models.spec import ModelClass
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.predicting.results import PredictReport, SlideResult, Tally, summary_csv

CLASSES = (
    ModelClass(name="Tumor", color_rgb=(200, 0, 0)),
    ModelClass(name="Background", color_rgb=(255, 255, 255)),
    ModelClass(name="(unlabelled)", color_rgb=(0, 0, 0), is_written=False),
)


def region(class_name: str, area_um2: float) -> PathObject:
    return PathObject(
        id=f"{class_name} {area_um2}",
        kind=ObjectKind.ANNOTATION,
        geometry=box(0, 0, area_um2 / 2, 4),  # pixels of half a µm²
        path_class=PathClass(class_name, (0, 0, 0)),
    )


def result_of(tally: Tally) -> SlideResult:
    return SlideResult(
        key="1",
        name="a.svs",
        file=Path("/out/1-a.svs.geojson"),
        slide_path=Path("/slides/a.svs"),
        fingerprint="quickhash-1:abc",
        mpp_x=0.5,
        mpp_y=0.5,
        mpp_source="file",
        objects=3,
        classes=tally.summary(),
        duration_s=1.5,
        warnings=(),
    )


def test_objects_are_counted_by_class_as_they_come() -> None:
    tally = Tally(CLASSES, 0.5)

    tally.add([region("Tumor", 1e6), region("Background", 3e6)])
    tally.add([region("Tumor", 2e6)])

    assert [(one.name, one.count, one.area_mm2, one.share_of_tissue) for one in tally.summary()] == [
        ("Tumor", 2, pytest.approx(3), 1),
        ("Background", 1, pytest.approx(3), None),
    ]


def test_sums_do_not_depend_on_the_order_of_objects() -> None:
    areas_um2 = [1e9 / (i + 3) for i in range(200)]
    forth, back = Tally(CLASSES, 0.5), Tally(CLASSES, 0.5)

    forth.add([region("Tumor", area) for area in areas_um2])
    back.add([region("Tumor", area) for area in reversed(areas_um2)])

    assert forth.summary() == back.summary()


def test_objects_of_people_count_by_their_outline_where_the_model_knows_their_class() -> None:
    tally = Tally(CLASSES, 0.5)

    tally.add([region("Tumor", 1e6), region("Necrosis", 1e6), replace(region("Tumor", 1e6), path_class=None)])

    assert [(one.name, one.count) for one in tally.summary()] == [("Tumor", 1), ("Background", 0)]


def test_without_tissue_there_are_no_shares() -> None:
    assert [one.share_of_tissue for one in Tally(CLASSES, 0.5).summary()] == [None, None]


def test_a_summary_has_a_line_for_each_class() -> None:
    tally = Tally(CLASSES, 0.5)
    tally.add([region("Tumor", 2.5e6)])

    rows = list(csv.DictReader(summary_csv([result_of(tally)]).decode().splitlines()))

    assert rows[0] == {
        "entry": "1",
        "image": "a.svs",
        "class": "Tumor",
        "count": "1",
        "area_mm2": "2.5",
        "share_of_tissue": "1",
    }
    assert rows[1]["share_of_tissue"] == ""


def test_a_report_tells_slides_and_failures() -> None:
    failure = Failure(entry="slide 'b'", reason="SLIDE_NOT_FOUND", message="gone")

    told = PredictReport(
        out=Path("/out"), job_id="7", results=(result_of(Tally(CLASSES, 0.5)),), failures=(failure,)
    ).to_dict()

    assert told["out"] == "/out"
    assert told["slides"][0]["classes"][0]["name"] == "Tumor"
    assert not {"file_sha256", "interest_sha256"} & told["slides"][0].keys()
    assert told["failures"] == [{"entry": "slide 'b'", "reason": "SLIDE_NOT_FOUND", "message": "gone"}]
