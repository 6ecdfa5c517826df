import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import DamagedDataError, NoAnnotationError, SlideNotFoundError
from qpbridge.models.spec import ModelClass
from qpbridge.qupath.geojson import write_objects
from qpbridge.qupath.reconcile import reconcile
from qpbridge.training.classes import ClassChoice
from qpbridge.workflows.entries.gathering import Gathering, OpenedSlide
from qpbridge.workflows.entries.sources import sources_of_project
from qpbridge.workflows.predicting.history import SlideHistory

MakeProject = Callable[..., Path]
Annotate = Callable[..., PathObject]

CHOICE = ClassChoice(
    classes=(ModelClass(name="Stroma", color_rgb=(0, 200, 0)), ModelClass(name="Tumor", color_rgb=(200, 0, 0))),
    background=None,
)


@pytest.fixture
def progress() -> SilentProgress:
    return SilentProgress()


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


@pytest.fixture
def gather(progress: SilentProgress) -> Callable[..., Gathering]:
    def make(project: Path, mpp: float | None = None) -> Gathering:
        return Gathering(sources_of_project(project), mpp, progress)

    return make


def damage(project: Path, entry: str) -> None:
    (project / "data" / entry / "data.qpdata").write_bytes(b"\xac\xed\x00\x05nonsense")


def test_objects_and_classes_of_the_whole_project_are_offered(
    make_project: MakeProject, annotate: Annotate, gather: Callable[..., Gathering]
) -> None:
    drawn = annotate("Tumor", 0, 0, 9, 9), annotate("Stroma", 0, 0, 9, 9), annotate("Tumor", 0, 0, 9, 9)

    gathering = gather(make_project({"a.png": drawn[:2], "b.png": [], "c.png": drawn[2:]}))

    assert [item.id for item in gathering.objects] == [item.id for item in drawn]
    assert [item.name for item in gathering.project_classes] == ["Tumor", "Stroma", "Background"]
    assert gathering.failures == []


def test_slides_are_opened_with_their_labels(
    make_project: MakeProject,
    annotate: Annotate,
    gather: Callable[..., Gathering],
    stack: contextlib.ExitStack,
    progress: SilentProgress,
) -> None:
    objects = [annotate("Tumor", 0, 0, 100, 100), annotate("Stroma", 10, 10, 20, 20), annotate("Fat", 0, 0, 5, 5)]

    (one,) = gather(make_project({"a.png": objects}, mpp=0.495)).open(0.5, CHOICE, stack)

    assert isinstance(one, OpenedSlide)
    assert one.source.name == "a.png"
    assert [label for _, label in one.slide.shapes] == [1, 0, IGNORE_INDEX]
    # Tiles see whole pixels, areas the true ones; what lies under others teaches nothing.
    assert one.slide.calibration.mpp_x == 0.5
    assert one.areas_um2 == pytest.approx({"Tumor": (10000 - 100 - 25) * 0.495**2, "Stroma": 100 * 0.495**2})
    assert progress.warnings == []


def test_areas_of_derived_classes_count_for_the_class_that_is_learnt(
    make_project: MakeProject, annotate: Annotate, gather: Callable[..., Gathering], stack: contextlib.ExitStack
) -> None:
    objects = [annotate("Tumor: Positive", 0, 0, 10, 10), annotate("Tumor: Negative", 5, 0, 15, 10)]

    (one,) = gather(make_project({"a.png": objects}, mpp=2.0)).open(2.0, CHOICE, stack)

    assert one.areas_um2 == {"Tumor": 150 * 4}


def test_slides_without_labels_are_not_even_looked_for(
    make_project: MakeProject, annotate: Annotate, gather: Callable[..., Gathering], stack: contextlib.ExitStack
) -> None:
    project = make_project({"a.png": [annotate("Tumor", 0, 0, 9, 9)], "b.png": []})
    (project.parent / "slides" / "b.png").unlink()
    gathering = gather(project)

    opened = gathering.open(0.5, CHOICE, stack)

    assert [one.source.name for one in opened] == ["a.png"]
    assert gathering.failures == []


def test_a_slide_that_is_gone_is_told_and_left_out(
    make_project: MakeProject,
    annotate: Annotate,
    gather: Callable[..., Gathering],
    stack: contextlib.ExitStack,
    progress: SilentProgress,
) -> None:
    drawn = annotate("Tumor", 0, 0, 9, 9)
    project = make_project({"a.png": [drawn], "b.png": [drawn], "c.png": [drawn]})
    (project.parent / "slides" / "b.png").unlink()
    gathering = gather(project)

    opened = gathering.open(0.5, CHOICE, stack)

    assert [one.source.name for one in opened] == ["a.png", "c.png"]
    (failure,) = gathering.failures
    assert (failure.entry, failure.reason) == ("entry 2 'b.png'", "SLIDE_NOT_FOUND")
    assert progress.warnings == [failure.message]


def test_without_any_slide_the_first_cause_is_told(
    make_project: MakeProject, annotate: Annotate, gather: Callable[..., Gathering], stack: contextlib.ExitStack
) -> None:
    project = make_project({"a.png": [annotate("Tumor", 0, 0, 9, 9)], "b.png": [annotate("Tumor", 0, 0, 9, 9)]})
    for slide in (project.parent / "slides").iterdir():
        slide.unlink()

    with pytest.raises(SlideNotFoundError, match=r"a\.png"):
        gather(project).open(0.5, CHOICE, stack)


def test_without_labels_of_these_classes_there_is_nothing_to_open(
    make_project: MakeProject, annotate: Annotate, gather: Callable[..., Gathering], stack: contextlib.ExitStack
) -> None:
    with pytest.raises(NoAnnotationError, match="no annotation with an area of Stroma, Tumor"):
        gather(make_project({"a.png": []})).open(0.5, CHOICE, stack)


def test_objects_that_cannot_be_read_are_told_and_the_rest_goes_on(
    make_project: MakeProject, annotate: Annotate, gather: Callable[..., Gathering], stack: contextlib.ExitStack
) -> None:
    drawn = annotate("Tumor", 0, 0, 9, 9)
    project = make_project({"a.png": [drawn], "b.png": [drawn]})
    damage(project, "1")
    gathering = gather(project)

    opened = gathering.open(0.5, CHOICE, stack)

    assert [one.source.name for one in opened] == ["b.png"]
    assert [(failure.entry, failure.reason) for failure in gathering.failures] == [("entry 1 'a.png'", "DAMAGED_DATA")]
    assert [item.name for item in gathering.project_classes] == ["Tumor", "Stroma", "Background"]


def test_without_any_readable_objects_the_first_cause_is_told(
    make_project: MakeProject, annotate: Annotate, gather: Callable[..., Gathering]
) -> None:
    project = make_project({"a.png": [annotate("Tumor", 0, 0, 9, 9)]})
    damage(project, "1")

    with pytest.raises(DamagedDataError):
        gather(project)


def test_a_slide_that_the_user_is_told_about_has_something_to_tell(
    make_project: MakeProject,
    annotate: Annotate,
    gather: Callable[..., Gathering],
    stack: contextlib.ExitStack,
    progress: SilentProgress,
) -> None:
    objects = [annotate("Tumor", 0, 0, 50, 50), annotate("Stroma", 900, 0, 950, 50), annotate("Fat", 0, 900, 9, 950)]

    gather(make_project({"a.png": objects})).open(0.5, CHOICE, stack)

    assert progress.warnings == ["entry 1 'a.png': 2 annotations outside the image left out"]


def test_a_slide_much_coarser_than_the_model_is_told(
    make_project: MakeProject,
    annotate: Annotate,
    gather: Callable[..., Gathering],
    stack: contextlib.ExitStack,
    progress: SilentProgress,
) -> None:
    project = make_project({"a.png": [annotate("Tumor", 0, 0, 9, 9)]})

    for mpp in (0.25, 0.5, 0.74, 0.76, 2.0):
        gather(project, mpp=mpp).open(0.5, CHOICE, stack)

    first, second = progress.warnings
    assert "entry 1 'a.png' has pixels of 0.76 µm, the model sees 0.5 µm" in first
    assert "pixels of 2 µm" in second


def test_a_pixel_size_asked_for_overrides_that_of_the_project(
    make_project: MakeProject, annotate: Annotate, gather: Callable[..., Gathering], stack: contextlib.ExitStack
) -> None:
    project = make_project({"a.png": [annotate("Tumor", 0, 0, 10, 10)]}, mpp=0.25)

    (one,) = gather(project, mpp=0.4).open(0.5, CHOICE, stack)

    assert one.slide.calibration.mpp_x == 0.4
    assert one.areas_um2 == pytest.approx({"Tumor": 100 * 0.16})


def test_what_a_run_found_and_nobody_touched_is_left_out_and_told(
    make_project: MakeProject, annotate: Annotate, gather: Callable[..., Gathering], progress: SilentProgress
) -> None:
    drawn, found = annotate("Tumor", 0, 0, 9, 9), annotate("Stroma", 0, 0, 9, 9)
    project = make_project({"a.png": [drawn, found]})
    file = project / "qpbridge-results" / "m" / "1-a.png.geojson"
    with SlideHistory(file.parent, "1-a.png").step("j", file, reconcile([], [], [found])):
        write_objects(file, [found])

    assert [item.id for item in gather(project).objects] == [drawn.id]
    assert "entry 1 'a.png': 1 objects that an earlier run found are left out" in progress.warnings[-1]
