import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import PathClass, PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, InvalidValueError, ProjectExistsError
from qpbridge.models.bundle import Bundle
from qpbridge.qupath.encoding.settings import read_settings
from qpbridge.qupath.geojson import read_objects
from qpbridge.qupath.project import open_project
from qpbridge.workflows.entries.sources import sources_of_project, sources_of_slides
from qpbridge.workflows.predict import PredictReport, predict
from qpbridge.workflows.predicting.projects.project_out import new_entry
from qpbridge.workflows.requests import PredictRequest

Draw = Callable[..., Path]


class StoppedBy(SilentProgress):
    """Asked to stop when a slide's turn comes."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.is_reached = False

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
        self.is_reached |= stage.endswith(self.name)

    def raise_if_cancelled(self) -> None:
        if self.is_reached:
            raise CancelledError("stopped")


@pytest.fixture
def run(tmp_path: Path, color_bundle: Bundle) -> Callable[..., PredictReport]:
    def run(*inputs: Path, progress: SilentProgress | None = None, **fields: Any) -> PredictReport:
        request = PredictRequest(
            inputs=inputs,
            model=tmp_path / "model",
            out=tmp_path / "out",
            project_out=tmp_path / "made",
            mpp=0.5,
            device="cpu",
            use_tissue_mask=False,
        )
        return predict(replace(request, **fields), progress or SilentProgress())

    return run


def essence(objects: Any) -> list[tuple[str, PathClass | None, float]]:
    return [(item.id, item.path_class, item.geometry.area) for item in objects]


def test_slides_and_results_become_a_project(draw: Draw, run: Callable[..., PredictReport], tmp_path: Path) -> None:
    slides = draw("a.png", Tumor=(100, 50, 200, 150)), draw("b.png", Stroma=(10, 10, 390, 90))

    report = run(*slides)

    assert report.project == tmp_path / "made"
    assert report.to_dict()["project"] == str(tmp_path / "made")
    project = open_project(tmp_path / "made")
    assert [entry.name for entry in project.entries] == ["a.png", "b.png"]
    assert [item.name for item in project.classes] == ["Tumor", "Stroma", "Background"]
    for entry, slide, result in zip(project.entries, slides, report.results, strict=True):
        assert essence(project.read_objects(entry)) == essence(read_objects(result.file).objects)
        assert entry.server.uri == f"file:{slide}"
        assert entry.server.calibration == PixelCalibration.square(0.5)
        names = {path.name for path in entry.data_folder.iterdir()}
        assert names == {"data.qpdata", "server.json", "summary.json", "thumbnail.jpg"}


def test_the_new_project_can_be_predicted_as_well(
    draw: Draw, run: Callable[..., PredictReport], tmp_path: Path
) -> None:
    first = run(draw("a.png", Tumor=(100, 50, 200, 150)))

    second = run(tmp_path / "made", mpp=None, out=tmp_path / "again", project_out=None)

    assert second.project is None
    assert second.results[0].mpp_source == "project"
    assert [item.name for item in second.results] == [item.name for item in first.results]
    assert second.results[0].file_sha256 == first.results[0].file_sha256


def test_what_people_chose_in_a_project_is_kept(
    data_dir: Path, run: Callable[..., PredictReport], tmp_path: Path
) -> None:
    theirs = open_project(data_dir / "made" / "qp-0.6.0" / "project")
    moved = (f"/data/histology/made/images={data_dir / 'made' / 'images'}",)

    run(theirs.path, entries=("1",), path_map=moved, mpp=2.0)

    was, (entry,) = theirs.entry("1"), open_project(tmp_path / "made").entries
    assert (entry.name, entry.description, entry.tags) == (was.name, was.description, was.tags)
    assert entry.metadata == was.metadata
    settings = read_settings(entry.data_path)
    assert settings == read_settings(was.data_path)
    assert settings.image_type == "BRIGHTFIELD_H_E"
    assert entry.server.uri == f"file:{data_dir / 'made' / 'images' / 'slide_a.tif'}"
    assert entry.server.calibration == PixelCalibration.square(2.0)
    classes = open_project(tmp_path / "made").classes
    assert classes[: len(theirs.classes)] == theirs.classes
    assert {item.name for item in classes} == {"Tumor", "Stroma", "Background"} | {one.name for one in theirs.classes}


def test_a_project_whose_file_forgot_the_builder_has_it_still(
    make_project: Callable[..., Path], tmp_path: Path
) -> None:
    project = make_project({"a.png": []})
    stored = json.loads((project / "project.qpproj").read_text())
    builder = stored["images"][0].pop("serverBuilder")
    (project / "project.qpproj").write_text(json.dumps(stored))
    (source,) = sources_of_project(project)

    with source.open(None) as opened:
        entry = new_entry(source, opened, [])

    assert entry.builder == builder


def test_kept_slides_are_in_the_project_too(draw: Draw, run: Callable[..., PredictReport], tmp_path: Path) -> None:
    slides = draw("a.png", Tumor=(100, 50, 200, 150)), draw("b.png")
    with pytest.raises(CancelledError):
        run(*slides, progress=StoppedBy("b.png"))
    assert not (tmp_path / "made").exists()

    report = run(*slides, resume=True)

    project = open_project(tmp_path / "made")
    assert [entry.name for entry in project.entries] == ["a.png", "b.png"]
    kept = project.read_objects(project.entries[0])
    assert essence(kept) == essence(read_objects(report.results[0].file).objects)


def test_a_slide_that_fails_is_not_in_the_project(
    draw: Draw, run: Callable[..., PredictReport], tmp_path: Path
) -> None:
    good = draw("good.png")

    report = run(good.with_name("missing.png"), good)

    assert len(report.failures) == 1
    assert [(entry.id, entry.name) for entry in open_project(tmp_path / "made").entries] == [("1", "good.png")]


def test_a_run_in_which_all_fails_leaves_the_older_project(
    draw: Draw, run: Callable[..., PredictReport], tmp_path: Path
) -> None:
    run(draw("a.png"))

    report = run(tmp_path / "missing.png")

    assert report.project is None
    assert [entry.name for entry in open_project(tmp_path / "made").entries] == ["a.png"]


def test_work_of_somebody_is_never_replaced(draw: Draw, run: Callable[..., PredictReport], tmp_path: Path) -> None:
    slide = draw("a.png")
    run(slide)
    data = tmp_path / "made" / "data" / "1" / "data.qpdata"
    data.write_bytes(b"saved by QuPath")
    shutil.rmtree(tmp_path / "out")

    with pytest.raises(ProjectExistsError, match=r"data\.qpdata was changed since"):
        run(slide)

    assert data.read_bytes() == b"saved by QuPath"
    assert not list((tmp_path / "out").glob("*.geojson"))  # told before the work, not after


@pytest.mark.parametrize(
    ("out", "made", "said"),
    [("x", "x", "lie where the project"), ("x/out", "x", "lie where the project"), ("x", "p.qpproj", "names a file")],
)
def test_places_that_would_harm_one_another_are_refused(
    draw: Draw, run: Callable[..., PredictReport], tmp_path: Path, out: str, made: str, said: str
) -> None:
    with pytest.raises(InvalidValueError, match=said):
        run(draw("a.png"), out=tmp_path / out, project_out=tmp_path / made)


def test_thumbnails_fit_into_those_of_qupath(tmp_path: Path) -> None:
    Image.fromarray(np.full((3000, 2000, 3), 90, np.uint8)).save(tmp_path / "tall.png")
    (source,) = sources_of_slides([tmp_path / "tall.png"])

    with source.open(0.5) as opened:
        entry = new_entry(source, opened, [])

    assert entry.thumbnail is not None
    assert entry.thumbnail.shape == (600, 400, 3)


def test_a_slide_that_openslide_does_not_know_is_for_bioformats(data_dir: Path, tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "flat.tif", np.full((64, 80, 3), 90, np.uint8), photometric="rgb")
    scan = data_dir / "made" / "images" / "slide_a.tif"
    providers = []

    for source in sources_of_slides([tmp_path / "flat.tif", scan]):
        with source.open(0.5) as opened:
            providers.append(new_entry(source, opened, []).provider)

    assert [provider.split(".")[-1] for provider in providers if provider] == [
        "BioFormatsServerBuilder",
        "OpenslideServerBuilder",
    ]


def test_objects_on_the_grid_are_those_of_the_geojson(
    draw: Draw, run: Callable[..., PredictReport], tmp_path: Path
) -> None:
    report = run(draw("a.png", Tumor=(100, 50, 200, 150), Stroma=(200, 50, 303, 150)), smooth_um=3.0)

    project = open_project(tmp_path / "made")
    ours: dict[str, PathObject] = {item.id: item for item in project.read_objects(project.entries[0])}
    for item in read_objects(report.results[0].file).objects:
        assert ours[item.id].geometry.symmetric_difference(item.geometry).area < 0.01
