import os
from collections.abc import Callable
from pathlib import Path

import pytest
import shapely

from qpbridge.core.progress import SilentProgress
from qpbridge.demo.making import ANNOTATED_SHARE, MARK, DemoCase, DemoFolder, make_case, relative
from qpbridge.errors import InvalidValueError
from qpbridge.qupath.locate import PathMap, locate_slide
from qpbridge.qupath.project import open_project
from qpbridge.slides.opening import open_slide
from qpbridge.slides.synthetic import CLASSES

Made = tuple[DemoFolder, DemoCase]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small_slides: None) -> Made:
    folder = DemoFolder(tmp_path_factory.mktemp("made") / "demo")
    return folder, make_case(folder, 0, SilentProgress())


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_the_slide_is_the_one_whose_truth_is_known(made: Made) -> None:
    folder, case = made
    truth = case.slide

    with open_slide(folder.slide) as slide:
        assert (slide.width_px, slide.height_px) == (truth.width_px, truth.height_px)
        assert slide.calibration == truth.calibration
        written = slide.read(truth.bounds, truth.width_px, truth.height_px)

    difference = abs(written.astype(int) - truth.pixels(0, 0, truth.width_px, truth.height_px))
    assert difference.mean() < 8  # JPEG


def test_the_project_holds_slide_classes_and_annotations(made: Made) -> None:
    folder, case = made

    project = open_project(folder.project)

    (entry,) = project.entries
    read = {item.id: item for item in project.read_objects(entry)}
    assert project.classes == CLASSES
    assert locate_slide(project, entry, PathMap.parse([])).path == folder.slide
    assert set(read) == {item.id for item in case.annotations}
    for drawn in case.annotations:
        assert read[drawn.id].path_class == drawn.path_class
        assert read[drawn.id].kind is drawn.kind
        assert shapely.equals_exact(read[drawn.id].geometry, drawn.geometry, 1e-3)  # QuPath keeps 32 bits


def test_about_the_promised_share_is_annotated_and_every_class(made: Made) -> None:
    _, case = made

    area_px = sum(item.geometry.area for item in case.annotations)
    named = {item.path_class.name for item in case.annotations if item.path_class}

    assert area_px / (case.slide.width_px * case.slide.height_px) == pytest.approx(ANNOTATED_SHARE, rel=0.3)
    assert named == {item.name for item in CLASSES}


def test_a_seed_gives_one_case_and_another_seed_another(made: Made, tmp_path: Path) -> None:
    folder, case = made
    again = DemoFolder(tmp_path / "again")

    other = make_case(again, 1, SilentProgress())
    same = make_case(again, 0, SilentProgress())

    assert [item.id for item in same.annotations] == [item.id for item in case.annotations]
    assert again.slide.read_bytes() == folder.slide.read_bytes()
    assert not {item.id for item in other.annotations} & {item.id for item in case.annotations}


def test_an_older_demonstration_makes_way_with_all_that_it_wrote(tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path)
    folder.clear()
    for part in (folder.project, folder.model, folder.results):
        (part / "deep").mkdir(parents=True)
        (part / "deep" / "old").touch()
    folder.slide.touch()
    folder.report.touch()
    (tmp_path / "notes.txt").write_text("mine")

    folder.clear()

    assert contents(tmp_path) == {MARK: contents(tmp_path)[MARK], "notes.txt": b"mine"}


@pytest.mark.parametrize("name", ["slide.tif", "project/project.qpproj", "letter.txt"])
def test_a_folder_of_something_else_is_refused_and_not_touched(
    name: str, tmp_path: Path, case_of: Callable[..., DemoCase]
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    before = contents(tmp_path)

    with pytest.raises(InvalidValueError, match="holds something else than a demo; name a new folder"):
        make_case(DemoFolder(tmp_path), 0, SilentProgress())

    assert contents(tmp_path) == before


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "demo"
    file.write_text("precious")

    with pytest.raises(InvalidValueError, match="something else"):
        DemoFolder(file).clear()

    assert file.read_text() == "precious"


@pytest.mark.parametrize("is_there", [True, False])
def test_an_empty_folder_and_a_new_one_will_do(is_there: bool, tmp_path: Path) -> None:
    root = tmp_path / "demo"
    if is_there:
        root.mkdir()

    DemoFolder(root).clear()

    assert list(contents(root)) == [MARK]


def test_paths_are_told_from_where_the_reader_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    assert relative(tmp_path / "here" / "demo" / "model") == os.path.join("demo", "model")  # noqa: PTH118
    assert relative(Path("demo") / "model") == os.path.join("demo", "model")  # noqa: PTH118
    assert relative(tmp_path / "there") == os.path.join("..", "there")  # noqa: PTH118
