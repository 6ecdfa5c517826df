from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qpbridge.core.objects import PathClass
from qpbridge.core.progress import SilentProgress
from qpbridge.demo.judging import CLASS_NAMES
from qpbridge.demo.making import DemoCase, DemoFolder
from qpbridge.demo.subject import SHOWN_MAX, Gained, MadeSlide, OwnProject
from qpbridge.errors import ProjectNotFoundError
from qpbridge.qupath.geojson import write_objects
from qpbridge.slides.synthetic import CLASSES, write_slide

TRAINED = {"class_iou": {"Tumor": 0.75, "Stroma": None}, "mean_iou": 0.75}
TUMOR = [PathClass("Tumor", (200, 0, 0)), PathClass("Stroma", (0, 200, 0))]


@pytest.fixture
def project(data_dir: Path) -> Path:
    return data_dir / "made" / "qp-0.7.0" / "project"


def gained(slides: list[dict[str, Any]]) -> Gained:
    return Gained(trained=TRAINED, predicted={"slides": slides}, classes=TUMOR)


def slide(key: str, file: Path, mpp: float = 0.25) -> dict[str, Any]:
    return {"key": key, "file": str(file), "mpp_x": mpp}


def test_a_made_slide_is_compared_with_its_truth(case_of: Callable[..., DemoCase], tmp_path: Path) -> None:
    folder, case = DemoFolder(tmp_path), case_of()
    write_slide(folder.slide, case.slide)
    write_objects(tmp_path / "found.geojson", case.annotations)
    subject = MadeSlide(folder, case)

    outcome = subject.outcome(gained([slide("1", tmp_path / "found.geojson")]), SilentProgress())

    (shown,) = outcome.slides
    assert outcome.classes == CLASSES
    assert list(outcome.verdict.class_iou) == CLASS_NAMES
    # Only annotations were predicted, and they do not count.
    assert outcome.verdict.mean_iou == 0
    assert outcome.verdict.table[0] == ["class", "IoU", "recall", "precision"]
    assert outcome.verdict.table[-1][0] == "mean"
    assert (shown.annotated == shown.predicted) or len(shown.annotated) == len(shown.predicted)
    assert shown.truth is not None
    assert np.array_equal(shown.truth(case.slide.bounds, 64, 64), case.slide.labels(case.slide.bounds, 64, 64))
    assert subject.roots == (tmp_path,)


def test_the_detail_of_a_made_slide_lies_in_the_class_that_only_context_tells(
    case_of: Callable[..., DemoCase], tmp_path: Path
) -> None:
    case = case_of()
    write_objects(tmp_path / "found.geojson", [])
    found = gained([slide("1", tmp_path / "found.geojson")])

    (shown,) = MadeSlide(DemoFolder(tmp_path), case).outcome(found, SilentProgress()).slides

    assert shown.detail is not None
    x, y = (int(place) for place in shown.detail)
    labels = case.slide.labels(case.slide.bounds, case.slide.width_px, case.slide.height_px)
    assert CLASS_NAMES[labels[y, x]] == "Benign"
    plain = case_of(250, 200, has_context_class=False)
    assert MadeSlide(DemoFolder(tmp_path), plain).outcome(found, SilentProgress()).slides[0].detail is None


def test_a_server_must_read_the_folders_of_project_and_slides(project: Path) -> None:
    subject = OwnProject.at(project)

    assert subject.roots[0] == project
    assert all(root.is_dir() for root in subject.roots)
    assert {source.located().path.resolve().parent for source in subject.sources} <= set(subject.roots)
    assert subject.facts["entries"] == "5"
    assert OwnProject.at(project / "project.qpproj").roots == subject.roots


def test_ones_own_project_shows_annotated_slides_first_and_what_was_held_back(project: Path, tmp_path: Path) -> None:
    subject = OwnProject.at(project)
    write_objects(tmp_path / "found.geojson", [])
    file = tmp_path / "found.geojson"

    outcome = subject.outcome(gained([slide(key, file) for key in ("3", "1", "2", "4")]), SilentProgress())

    assert len(outcome.slides) == SHOWN_MAX
    assert outcome.slides[0].annotated
    assert outcome.slides[0].detail is not None
    is_annotated = [bool(shown.annotated) for shown in outcome.slides]
    assert is_annotated == sorted(is_annotated, reverse=True)
    assert outcome.verdict.class_iou == TRAINED["class_iou"]
    assert outcome.verdict.table == [["class", "IoU"], ["Tumor", "0.750"], ["Stroma", "-"], ["mean", "0.750"]]
    with outcome.slides[0].open() as opened:
        assert opened.width_px > 0


def test_slides_that_failed_are_not_shown(project: Path, tmp_path: Path) -> None:
    write_objects(tmp_path / "found.geojson", [])

    outcome = OwnProject.at(project).outcome(gained([slide("2", tmp_path / "found.geojson")]), SilentProgress())

    assert [shown.name for shown in outcome.slides] == ["slide_b.tif"]


def test_a_project_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProjectNotFoundError):
        OwnProject.at(tmp_path / "none")
