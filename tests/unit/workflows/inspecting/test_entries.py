from collections.abc import Callable
from pathlib import Path

import pytest
import shapely

from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.workflows.entries.sources import Source, sources_of_project
from qpbridge.workflows.inspecting.entries import inspect_entry
from qpbridge.workflows.inspecting.records import ClassReport, EntryReport

TUMOR, REGION = PathClass("Tumor", (200, 0, 0)), PathClass("Region*", (0, 0, 0))
SQUARE = "POLYGON ((0 0, 400 0, 400 400, 0 400, 0 0))"


@pytest.fixture
def made(data_dir: Path) -> Path:
    return data_dir / "made" / "qp-0.7.0" / "project"


@pytest.fixture
def report_of(made: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EntryReport]:
    """Look at slide_b (4096 x 3072 px of 0.25 µm) as if it had some objects."""

    def look(*objects: PathObject, region_class: str = "Region*", mpp: float | None = None) -> EntryReport:
        monkeypatch.setattr(Source, "objects", lambda _: objects)
        (source,) = sources_of_project(made, ("slide_b.tif",))
        return inspect_entry(source, mpp, region_class)[0]

    return look


def annotation(
    wkt: str,
    path_class: PathClass | None = TUMOR,
    name: str = "it",
    kind: ObjectKind = ObjectKind.ANNOTATION,
    **options: object,
) -> PathObject:
    return PathObject(
        id="6a2f7e0e-55a8-4a53-9a32-0c4c2f1f7e01",
        kind=kind,
        geometry=shapely.from_wkt(wkt),
        path_class=path_class,
        name=name,
        **options,
    )


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


def test_kinds_and_locks_are_counted_and_notes_kept(report_of: Callable[..., EntryReport], made: Path) -> None:
    saved, unsaved = (inspect_entry(one, None, "Region*")[0] for one in sources_of_project(made, ("1", "3")))
    report = report_of(annotation(SQUARE, is_locked=True), annotation(SQUARE, kind=ObjectKind.CELL), annotation(SQUARE))

    assert report.kinds == {"annotation": 2, "cell": 1}
    assert report.locked == 1
    assert report.has_data
    assert report.metadata == {"split": "val", "patient": "P-02"}
    assert not unsaved.has_data
    assert saved.tags == ("reviewed", "fold 1")
    assert saved.kinds == {"annotation": 13, "cell": 60, "detection": 23, "tile": 1}


def test_complete_areas_are_measured_and_belong_to_no_class(report_of: Callable[..., EntryReport]) -> None:
    done = PathClass("Done", (0, 0, 0))
    tagged = PathClass("Region*: Tumor", (0, 0, 0))

    plain = report_of(annotation(SQUARE, REGION), annotation(SQUARE, REGION), annotation(SQUARE, tagged))
    other = report_of(annotation(SQUARE, done), region_class="Done")

    assert plain.complete_mm2 == other.complete_mm2 == pytest.approx(0.01)
    assert [(one.name, one.area_mm2, one.is_region) for one in other.classes] == [("Done", None, True)]


def test_tags_are_counted_for_the_classes_that_they_name(report_of: Callable[..., EntryReport]) -> None:
    report = report_of(
        annotation(SQUARE, PathClass("Region*: Tumor: Fat", (0, 0, 0))),
        annotation(SQUARE, None, metadata={"tissues": "Tumor"}),
        annotation(SQUARE),
    )

    classes = {one.name: one for one in report.classes}

    assert (classes["Tumor"].tags, classes["Tumor"].annotations) == (2, 1)
    assert (classes["Fat"].tags, classes["Fat"].objects) == (1, 0)
    assert report.troubles == ()


def test_a_pixel_size_that_the_file_contradicts_is_noted(report_of: Callable[..., EntryReport]) -> None:
    (note,) = report_of(mpp=0.5).notes

    assert "0.5 µm by the request count, though the file says 0.25 µm" in note
    assert report_of().notes == ()


def test_a_slide_that_cannot_be_used_is_told_with_its_place(made: Path) -> None:
    without_size, stack = (inspect_entry(one, None, "Region*")[0] for one in sources_of_project(made, ("4", "5")))

    assert (without_size.image.slide.name, without_size.image.found_by) == ("plain.png", "moved with the project")
    assert (stack.image.slide.name, stack.image.found_by) == ("stack_z3c2.tif", None)
    assert [problem.reason for problem in stack.problems] == ["UNSUPPORTED_IMAGE"]
