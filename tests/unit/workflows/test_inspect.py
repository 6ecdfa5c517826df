import shutil
from pathlib import Path

import pytest
import shapely

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, ProjectNotFoundError
from qpbridge.qupath.project import open_project
from qpbridge.workflows.entries.sources import Source
from qpbridge.workflows.inspect import InspectReport, InspectRequest, inspect, orphaned_data, similar_names
from qpbridge.workflows.inspecting.records import ImageReport, MissingFolder

TUMOR = PathClass("Tumor", (200, 0, 0))


def inspected(project: Path, **options: object) -> InspectReport:
    return inspect(InspectRequest(project=project, **options), SilentProgress())


@pytest.fixture
def made(data_dir: Path) -> Path:
    return data_dir / "made" / "qp-0.7.0" / "project"


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
        uri="file:/data/histology/made/images/slide_a.tif",
        found_by="moved with the project",
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
    assert report.missing == (MissingFolder(folder="/data/histology/made/images", slides=5),)


def test_class_names_that_differ_only_by_case_or_blanks_are_told() -> None:
    assert similar_names(["Tumor", "tumor", "Stroma", " Tumor ", "Stroma"]) == (("Tumor", "tumor", " Tumor "),)


def test_one_class_is_too_few_to_train_unless_its_rest_is_background(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    square = "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0))"
    tumor = annotation(square)
    region = annotation("POLYGON ((0 0, 999 0, 999 999, 0 999, 0 0))", PathClass("Region*", (0, 0, 0)))

    monkeypatch.setattr(Source, "objects", lambda _: (tumor,))
    alone = inspected(made, entries=("slide_b.tif",)).training
    monkeypatch.setattr(Source, "objects", lambda _: (tumor, region))
    inside_region = inspected(made, entries=("slide_b.tif",)).training

    assert "only 'Tumor'" in (alone.obstacle or "")
    assert inside_region.obstacle is None


def test_what_training_leaves_out_and_what_belongs_to_nobody_is_told(made: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(made, project)
    shutil.copytree(project / "data" / "1", project / "data" / "77")
    (project / "data" / "78").mkdir()

    report = inspected(project, entries=("1",))

    assert report.ignored_classes == ("Ignore*",)
    assert [(orphan.folder.name, orphan.bytes > 1000) for orphan in report.orphans] == [("77", True)]
    assert orphaned_data(open_project(made)) == []


def test_a_missing_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectNotFoundError):
        inspected(tmp_path / "nothing")


def test_it_stops_when_asked(made: Path) -> None:
    class Stopping(SilentProgress):
        def raise_if_cancelled(self) -> None:
            raise CancelledError("stopped on request")

    with pytest.raises(CancelledError):
        inspect(InspectRequest(project=made), Stopping())
