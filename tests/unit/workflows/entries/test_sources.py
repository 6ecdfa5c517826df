from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import PathObject
from qpbridge.errors import (
    PathRefusedError,
    PixelSizeMissingError,
    ProjectNotFoundError,
    SlideMismatchError,
    SlideNotFoundError,
    UnknownNameError,
)
from qpbridge.qupath.writing import NewEntry, create_project
from qpbridge.workflows.entries.roots import reading_only_in
from qpbridge.workflows.entries.sources import Source, is_project, slides_in, sources_of_project, sources_of_slides

MakeProject = Callable[..., Path]


def tiff(path: Path, mpp: float | None) -> Path:
    """A picture of 300 x 200 px, with a pixel size in its file or none."""
    resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    pixels = np.full((200, 300, 3), 200, np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64), metadata=None, **resolution)
    return path


def source_in_project(folder: Path, slide: Path, mpp: float | None) -> Source:
    calibration = None if mpp is None else PixelCalibration.square(mpp)
    entry = NewEntry(
        slide_path=slide, name=slide.name, width_px=300, height_px=200, downsamples=(1.0,), calibration=calibration
    )
    create_project(folder, [entry], [])
    (source,) = sources_of_project(folder)
    return source


@pytest.mark.parametrize(
    ("requested", "in_project", "in_file", "mpp", "origin"),
    [
        (0.3, 0.5, 0.25, 0.3, "request"),
        (0.3, None, None, 0.3, "request"),
        (None, 0.5, 0.25, 0.5, "project"),
        (None, 0.5, None, 0.5, "project"),
        (None, None, 0.25, 0.25, "file"),
    ],
)
def test_the_pixel_size_comes_from_the_request_then_the_project_then_the_file(
    tmp_path: Path, requested: float | None, in_project: float | None, in_file: float | None, mpp: float, origin: str
) -> None:
    source = source_in_project(tmp_path / "project", tiff(tmp_path / "a.tif", in_file), in_project)

    with source.open(requested) as opened:
        assert opened.calibration.mpp_x == pytest.approx(mpp, rel=1e-6)
        assert opened.calibration.mpp_y == pytest.approx(mpp, rel=1e-6)
        assert opened.calibration_source == origin


def test_without_any_pixel_size_the_user_is_told_how_to_set_one(tmp_path: Path) -> None:
    slide = tiff(tmp_path / "a.tif", None)
    source = source_in_project(tmp_path / "project", slide, None)

    with (
        pytest.raises(PixelSizeMissingError, match=r"entry 1 'a\.tif' has no pixel size.*Pixel width.*--mpp, in µm/px"),
        source.open(None),
    ):
        pass
    (bare,) = sources_of_slides([slide])
    with pytest.raises(PixelSizeMissingError, match=r"slide 'a\.tif' has no pixel size"), bare.open(None):
        pass


def test_the_region_is_the_whole_slide_and_the_slide_is_closed_in_the_end(tmp_path: Path) -> None:
    (source,) = sources_of_slides([tiff(tmp_path / "a.tif", 0.5)])

    with source.open(None) as opened:
        region = opened.region
        assert opened.slide.read(region, 30, 20).shape == (20, 30, 3)

    assert (region.x_px, region.y_px, region.width_px, region.height_px) == (0, 0, 300, 200)


def test_entries_of_a_project_know_what_they_are_called(
    make_project: MakeProject, annotate: Callable[..., PathObject]
) -> None:
    drawn = annotate("Tumor", 0, 0, 50, 50)
    project = make_project({"a.png": [drawn], "b:c.png": []}, folder="My case")

    first, second = sources_of_project(project)

    assert (first.key, first.name, first.label) == ("1", "a.png", "entry 1 'a.png'")
    assert (second.key, second.file_stem) == ("2", "2-b_c.png")
    assert first.file_stem == "1-a.png"
    assert first.project_name == second.project_name == "My case"
    assert [item.id for item in first.objects()] == [drawn.id]
    assert second.objects() == ()
    assert first.located().path.name == "a.png"


def test_a_project_is_named_by_its_folder_even_from_inside_of_it(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_project({"a.png": []}))

    (source,) = sources_of_project(Path())

    assert source.project_name == "project"


def test_bare_slides_have_no_project_and_no_objects(tmp_path: Path) -> None:
    first, second = sources_of_slides([tmp_path / "a b.ome.tif", tmp_path / "c:d.svs"])

    assert (first.key, first.name, first.label) == ("a b.ome", "a b.ome.tif", "slide 'a b.ome.tif'")
    assert (first.file_stem, second.file_stem) == ("a b.ome", "c_d")
    assert first.project_name == ""
    assert first.objects() == ()
    assert first.located().path == tmp_path / "a b.ome.tif"


def test_entries_are_chosen_by_id_or_name_in_the_order_asked_for(make_project: MakeProject) -> None:
    project = make_project({"a.png": [], "b.png": [], "c.png": []})

    assert [source.name for source in sources_of_project(project, ["c.png", "1"])] == ["c.png", "a.png"]


def test_an_entry_named_twice_comes_once(make_project: MakeProject) -> None:
    project = make_project({"a.png": [], "b.png": []})

    assert [source.key for source in sources_of_project(project, ["2", "1", "b.png", "1"])] == ["2", "1"]


def test_unknown_entries_and_projects_are_refused(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project({"a.png": [], "b.png": []})

    with pytest.raises(UnknownNameError, match=r"'z\.png'.*a\.png"):
        sources_of_project(project, ["1", "z.png"])
    with pytest.raises(ProjectNotFoundError):
        sources_of_project(tmp_path / "nowhere")


def test_a_path_map_finds_slides_that_moved(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project({"a.png": []})
    (tmp_path / "slides").rename(tmp_path / "elsewhere")

    (lost,) = sources_of_project(project)
    (found,) = sources_of_project(project, path_map=[f"{tmp_path / 'slides'}={tmp_path / 'elsewhere'}"])

    with pytest.raises(SlideNotFoundError, match=r"a\.png"):
        lost.located()
    assert found.located().path == tmp_path / "elsewhere" / "a.png"
    with found.open(None) as opened:
        assert opened.slide.width_px == 400


def test_another_slide_under_the_same_name_is_refused(tmp_path: Path) -> None:
    slide = tiff(tmp_path / "a.tif", 0.5)
    source = source_in_project(tmp_path / "project", slide, 0.5)
    tifffile.imwrite(slide, np.zeros((90, 80, 3), np.uint8), photometric="rgb")

    with pytest.raises(SlideMismatchError), source.open(None):
        pass


def test_a_slide_that_only_its_name_speaks_for_is_refused_where_its_pixel_size_speaks_against_it(
    tmp_path: Path,
) -> None:
    source = source_in_project(tmp_path / "project", tiff(tmp_path / "a.tif", 0.5), 0.25)
    with source.open(None) as opened:
        assert opened.found_by == "stored path"
    (tmp_path / "a.tif").rename(tmp_path / "project" / "a.tif")
    (mapped,) = sources_of_project(tmp_path / "project", path_map=[f"{tmp_path}={tmp_path / 'project'}"])

    with pytest.raises(SlideMismatchError, match=r"name beside the project, has pixels of 0\.5 µm, .* 0\.25 µm"):
        source.open(None).__enter__()
    with source.open(0.25) as opened:
        assert opened.found_by == "name beside the project"
    with mapped.open(None) as opened:
        assert opened.calibration.mpp_x == 0.25


def test_projects_are_told_from_slides(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project({"a.png": []})

    assert is_project(project)
    assert is_project(project / "project.qpproj")
    assert is_project(tmp_path / "gone.qpproj")
    assert not is_project(tmp_path)
    assert not is_project(tmp_path / "slides" / "a.png")


def test_slides_and_objects_outside_the_roots_are_not_opened(tmp_path: Path) -> None:
    root = tmp_path / "root"
    source = source_in_project(root / "project", tiff(tmp_path / "secret.tif", 0.5), 0.5)
    (bare,) = sources_of_slides([tmp_path / "secret.tif"])
    assert source.entry is not None
    (tmp_path / "away").mkdir()
    (source.entry.data_folder / "data.qpdata").symlink_to(tmp_path / "away")

    with reading_only_in([root]):
        with pytest.raises(SlideNotFoundError, match="not looked at"):
            source.located()
        with pytest.raises(PathRefusedError, match="outside the server's roots"):
            bare.located()
        with pytest.raises(PathRefusedError, match="outside the server's roots"):
            source.objects()
    assert source.located().path == bare.located().path == tmp_path / "secret.tif"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("b.svs", "a.NDPI", "notes.txt", "overview.jpg"), ["a.NDPI", "b.svs"]),
        (("b.png", "a.jpg"), ["a.jpg", "b.png"]),
        (("1.dcm", "2.dcm", "c.tif"), ["c.tif"]),
    ],
)
def test_a_folder_gives_its_slides_by_name(tmp_path: Path, names: tuple[str, ...], expected: list[str]) -> None:
    (tmp_path / "inner.svs").mkdir()
    for name in names:
        (tmp_path / name).touch()

    assert [path.name for path in slides_in(tmp_path)] == expected


def test_a_folder_without_slides_is_told(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").touch()

    with pytest.raises(ProjectNotFoundError, match="neither a QuPath project nor slides"):
        slides_in(tmp_path)
