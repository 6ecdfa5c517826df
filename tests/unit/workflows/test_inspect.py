import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import shapely

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, ProjectNotFoundError
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.entries.sources import Source
from qpbridge.workflows.inspect import (
    ClassReport,
    EntryReport,
    ImageReport,
    InspectReport,
    InspectRequest,
    inspect,
    preview_training,
    similar_names,
)

TUMOR = PathClass("Tumor", (200, 0, 0))


def inspected(project: Path, **options: object) -> InspectReport:
    return inspect(InspectRequest(project=project, **options), SilentProgress())


@pytest.fixture
def made(data_dir: Path) -> Path:
    return data_dir / "made" / "qp-0.7.0" / "project"


@pytest.fixture
def report_of(made: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EntryReport]:
    """Look at slide_b (4096 x 3072 px of 0.25 µm) as if it had some objects."""

    def look(*objects: PathObject) -> EntryReport:
        monkeypatch.setattr(Source, "objects", lambda _: objects)
        return inspected(made, entries=("slide_b.tif",)).entries[0]

    return look


def annotation(wkt: str, path_class: PathClass | None = TUMOR, name: str = "it", **options: object) -> PathObject:
    return PathObject(
        id="6a2f7e0e-55a8-4a53-9a32-0c4c2f1f7e01",
        kind=ObjectKind.ANNOTATION,
        geometry=shapely.from_wkt(wkt),
        path_class=path_class,
        name=name,
        **options,
    )


def test_slides_sizes_and_the_source_of_pixel_sizes_are_told(made: Path) -> None:
    report = inspected(made)

    images = {entry.name: entry.image for entry in report.entries}
    assert report.qupath_version == "0.7.0"
    assert images["slide_a.tif"] == ImageReport(
        slide=made.parent.parent / "images" / "slide_a.tif",
        width_px=4096,
        height_px=3072,
        calibration=PixelCalibration.square(0.25),
        calibration_source="project",
    )
    assert images["plain.png"].calibration_source == "missing"
    assert images["plain.png"].slide is not None


def test_the_requested_pixel_size_comes_first(made: Path) -> None:
    report = inspected(made, entries=("1", "plain.png"), mpp=0.5)

    assert [entry.image.calibration_source for entry in report.entries] == ["request", "request"]
    assert [entry.problems for entry in report.entries] == [(), ()]


def test_entries_that_cannot_be_used_are_told_and_do_not_stop_the_rest(made: Path, tmp_path: Path) -> None:
    project = tmp_path / "elsewhere" / "project"
    shutil.copytree(made, project)
    (project / "data" / "1" / "data.qpdata").write_bytes(b"no java")

    report = inspected(project)

    reasons = {entry.name: {problem.reason for problem in entry.problems} for entry in report.entries}
    assert reasons["slide_a.tif"] == {"SLIDE_NOT_FOUND", "DAMAGED_DATA"}
    assert reasons["slide_b.tif"] == {"SLIDE_NOT_FOUND"}
    assert report.entries[1].image.width_px == 4096
    assert report.entries[1].classes != ()
    assert report.training.obstacle is not None


def test_areas_are_in_mm2_of_the_union_and_ignored_classes_have_none(report_of: Callable[..., EntryReport]) -> None:
    ignored = PathClass("Ignore*", (0, 0, 0))
    report = report_of(
        annotation("POLYGON ((0 0, 400 0, 400 400, 0 400, 0 0))"),
        annotation("POLYGON ((200 0, 600 0, 600 400, 200 400, 200 0))"),
        annotation("POLYGON ((0 0, 400 0, 400 400, 0 400, 0 0))", ignored),
    )

    classes = {one.name: one for one in report.classes}

    assert classes["Tumor"] == ClassReport(
        name="Tumor", is_ignored=False, objects=2, annotations=2, area_mm2=pytest.approx(0.015)
    )
    assert classes["Ignore*"].is_ignored
    assert classes["Ignore*"].area_mm2 is None


@pytest.mark.parametrize(
    ("trouble", "what"),
    [
        (annotation("POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))", None), "has no class"),
        (annotation("POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))", plane=Plane(z=1)), "another plane"),
        (annotation("LINESTRING (0 0, 10 10)"), "no area"),
        (annotation("POLYGON ((0 0, 100 100, 100 0, 0 100, 0 0))"), "crosses itself"),
        (annotation("POLYGON ((5000 0, 5010 0, 5010 10, 5000 10, 5000 0))"), "outside the image"),
        (annotation("POLYGON ((4090 0, 5010 0, 5010 10, 4090 10, 4090 0))"), "beyond the image"),
    ],
)
def test_annotations_that_cannot_be_used_are_counted_with_examples(
    report_of: Callable[..., EntryReport], trouble: PathObject, what: str
) -> None:
    (found,) = report_of(annotation("POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0))"), trouble).troubles

    assert what in found.what
    assert (found.count, found.examples) == (1, ("it",))


def test_areas_outside_the_image_do_not_count(report_of: Callable[..., EntryReport]) -> None:
    report = report_of(annotation("POLYGON ((5000 0, 5010 0, 5010 10, 5000 10, 5000 0))"))

    assert report.classes[0].area_mm2 == 0


def test_class_names_that_differ_only_by_case_or_blanks_are_told() -> None:
    assert similar_names(["Tumor", "tumor", "Stroma", " Tumor ", "Stroma"]) == (("Tumor", "tumor", " Tumor "),)


def entry(key: str, areas_mm2: dict[str, float | None], problems: tuple[Failure, ...] = ()) -> EntryReport:
    classes = tuple(
        ClassReport(name=name, is_ignored=area is None, objects=1, annotations=1, area_mm2=area)
        for name, area in areas_mm2.items()
    )
    return EntryReport(id=key, name=key, image=ImageReport(), classes=classes, problems=problems)


def test_training_would_use_annotated_entries_without_problems() -> None:
    broken = Failure(entry="3", reason="SLIDE_NOT_FOUND", message="")

    preview = preview_training(
        [
            entry("1", {"Tumor": 1.0, "Stroma": 2.0, "Ignore*": None}),
            entry("2", {"Tumor": 0.5}),
            entry("3", {"Fat": 9.0}, (broken,)),
            entry("4", {}),
        ],
        None,
    )

    assert preview.entries == ("1", "2")
    assert {one.name: (one.entries, one.annotations, one.area_mm2) for one in preview.classes} == {
        "Tumor": (2, 2, 1.5),
        "Stroma": (1, 1, 2.0),
    }


def test_one_class_is_too_few_to_train_unless_its_rest_is_background(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    square = "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0))"
    tumor, region = annotation(square), annotation(square, PathClass("Region*", (0, 0, 0)))

    monkeypatch.setattr(Source, "objects", lambda _: (tumor,))
    alone = inspected(made, entries=("slide_b.tif",)).training
    monkeypatch.setattr(Source, "objects", lambda _: (tumor, region))
    inside_region = inspected(made, entries=("slide_b.tif",)).training

    assert "only 'Tumor'" in (alone.obstacle or "")
    assert inside_region.obstacle is None


def test_a_missing_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectNotFoundError):
        inspected(tmp_path / "nothing")


def test_it_stops_when_asked(made: Path) -> None:
    class Stopping(SilentProgress):
        def raise_if_cancelled(self) -> None:
            raise CancelledError("stopped on request")

    with pytest.raises(CancelledError):
        inspect(InspectRequest(project=made), Stopping())
