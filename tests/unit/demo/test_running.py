import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
from typer.testing import CliRunner

from qpbridge.cli.app import app
from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.demo import running
from qpbridge.demo.making import MARK, DemoFolder
from qpbridge.demo.running import DemoReport, DemoRequest, run_demo
from qpbridge.errors import CancelledError, InvalidValueError, SlideMismatchError
from qpbridge.models.bundle import load_bundle
from qpbridge.models.registry import configure
from qpbridge.qupath.geojson import read_objects
from qpbridge.qupath.project import open_project
from qpbridge.slides.opening import open_slide
from qpbridge.slides.synthetic import CLASSES

NAMES = [item.name for item in CLASSES]
SETTINGS = {
    "variant": "unet",
    "width": "2",
    "mpp": "2.0",
    "patch_px": "64",
    "epochs": "1",
    "samples_per_epoch": "8",
}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_slides")]


class Watching(SilentProgress):
    """Remembers the stages, and asks to stop where it is told to."""

    def __init__(self, stop_in: str = "nowhere") -> None:
        super().__init__()
        self.stages: list[str] = []
        self._stop_in = stop_in

    def report(self, stage: str, *_: int, **__: float) -> None:
        if stage not in self.stages:
            self.stages.append(stage)

    def raise_if_cancelled(self) -> None:
        if self._stop_in in self.stages:
            raise CancelledError("stopped")


def demo(folder: Path, progress: SilentProgress, client: Any, **values: Any) -> DemoReport:
    return run_demo(DemoRequest(folder=folder, device="cpu", settings=SETTINGS, **values), progress, client)


@pytest.fixture(scope="module")
def progress() -> Watching:
    return Watching()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DemoFolder:
    return DemoFolder(tmp_path_factory.mktemp("case") / "demo")


@pytest.fixture(scope="module")
def report(folder: DemoFolder, progress: Watching, small_slides: None, make_client: Callable[[], Any]) -> DemoReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.root.parent)
        return demo(folder.root, progress, make_client())


def test_it_tells_where_everything_lies_and_how_good_it_is(
    report: DemoReport, folder: DemoFolder, progress: Watching
) -> None:
    assert (report.report, report.project) == (folder.report, folder.project)
    assert (report.model, report.results, report.predicted) == (folder.model, folder.results, folder.predicted)
    assert list(report.class_iou) == NAMES
    assert report.judged_by == "the truth, where nothing was annotated"
    assert report.failures == ()
    assert report.mean_iou is not None
    assert 0 < report.mean_iou < 1
    assert report.mean_iou == pytest.approx(sum(iou or 0 for iou in report.class_iou.values()) / len(NAMES))
    assert report.duration_s > 0
    assert progress.stages[0] == "write slide"
    assert progress.stages[-1] == "compare with the truth"
    assert {"annotate", "train"} < set(progress.stages)


def test_its_report_is_json(report: DemoReport, folder: DemoFolder) -> None:
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))

    assert document["report"] == str(folder.report)
    assert document["mean_iou"] == report.mean_iou
    assert document["class_iou"] == report.class_iou
    assert document["regions"] == report.regions


def test_a_class_without_a_score_is_null() -> None:
    report = DemoReport(
        report=Path("r"),
        project=Path("p"),
        model=Path("m"),
        results=Path("s"),
        predicted=Path("q"),
        judged_by="the truth",
        mean_iou=None,
        class_iou={"Tumor": 0.5, "Necrosis": None},
        regions=1,
        duration_s=1.0,
    )

    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))

    assert document["class_iou"] == {"Tumor": 0.5, "Necrosis": None}
    assert document["mean_iou"] is None


def test_the_page_shows_two_levels_scores_and_commands(report: DemoReport) -> None:
    page = report.report.read_text(encoding="utf-8")

    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert captions == ["slide", "annotations", "prediction", "truth"] * 2
    assert "<h2>slide.tif, 2.0 mm across</h2>" in page
    for name, iou in report.class_iou.items():
        assert f"<tr><td>{name}</td><td>{'-' if iou is None else f'{iou:.3f}'}</td>" in page
    assert f"<td>predicted regions</td><td>{report.regions}</td>" in page
    assert f"<td>mean IoU against {report.judged_by}</td><td>{report.mean_iou:.3f}</td>" in page
    assert re.findall("^(?:<pre>)?qpbridge ([a-z]+)", page, re.MULTILINE) == ["inspect", "train", "predict", "evaluate"]


def test_it_leaves_a_project_that_shows_the_prediction(report: DemoReport) -> None:
    (entry,) = (project := open_project(report.predicted)).entries
    (file,) = report.results.glob("*.geojson")

    assert [item.id for item in project.read_objects(entry)] == [item.id for item in read_objects(file).objects]
    assert (entry.data_folder / "thumbnail.jpg").is_file()
    assert [item.name for item in project.classes] == NAMES


def test_the_project_model_and_results_that_it_leaves_fit_together(report: DemoReport) -> None:
    project = open_project(report.project)
    bundle = load_bundle(report.model)
    (file,) = report.results.glob("*.geojson")

    regions = read_objects(file)

    (entry,) = project.entries
    annotated = {item.path_class.name for item in project.read_objects(entry) if item.path_class}
    with open_slide(report.report.with_name("slide.tif")) as slide:
        frame = shapely.box(0, 0, slide.width_px, slide.height_px)
    assert {item.name for item in bundle.spec.classes} == annotated == set(NAMES)
    assert len(regions.objects) == report.regions > 0
    assert not regions.mended
    assert all(frame.covers(item.geometry) for item in regions.objects)
    assert {item.path_class.name for item in regions.objects if item.path_class} <= set(NAMES)


def test_the_commands_on_the_page_work_from_where_it_was_made(
    report: DemoReport, folder: DemoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.root.parent)
    (block,) = re.findall(r"<pre>(.*?)</pre>", report.report.read_text(encoding="utf-8"), re.DOTALL)
    inspect, train, predict, evaluate = (shlex.split(line)[1:] for line in block.splitlines())

    inspected, judged = (CliRunner().invoke(app, words) for words in (inspect, evaluate))

    assert inspected.exit_code == judged.exit_code == 0
    assert "slide.tif" in inspected.stdout
    assert "Tumor" in judged.stdout
    draw = ["--seed", "0", "--device", "cpu"]
    written = ["--out", "demo/results", "--project-out", "demo/predicted"]
    assert predict == ["predict", "demo/project", "--model", "demo/model", *draw, *written]
    assert dict(word.split("=") for word in train if "=" in word) == SETTINGS
    assert train[:6] == ["train", "demo/project", "--family", "dmmn", "--preset", "small"]
    assert train[-6:] == [*draw, "--out", "demo/model"]


def test_paths_with_blanks_are_quoted_and_the_seed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    request = DemoRequest(folder=Path("my demo"), seed=7)

    inspect, train, *_ = running._commands(request, DemoFolder(request.folder), Path("my demo/project"))

    assert inspect == "qpbridge inspect 'my demo/project'"
    assert "--seed 7 " in train
    assert "--device" not in train
    named = dict(word.split("=") for word in shlex.split(train) if "=" in word)
    assert named == running.SETTINGS
    assert configure("dmmn", "small", named) != configure("dmmn", "small", {})


def test_another_run_replaces_all_of_it(report: DemoReport, folder: DemoFolder, client: Any) -> None:
    leftover = folder.results / "older.geojson"
    leftover.touch()
    digest = load_bundle(folder.model).digest
    drawn = {item.id for item in annotations(folder)}

    again = demo(folder.root, SilentProgress(), client, seed=1)

    assert not leftover.exists()
    assert load_bundle(folder.model).digest != digest
    assert not {item.id for item in annotations(folder)} & drawn
    assert f"<td>{again.mean_iou:.3f}</td>" in folder.report.read_text(encoding="utf-8")


def annotations(folder: DemoFolder) -> tuple[PathObject, ...]:
    project = open_project(folder.project)
    return project.read_objects(project.entries[0])


def test_a_foreign_folder_is_refused_before_anything_happens(tmp_path: Path, client: Any) -> None:
    (tmp_path / "slide.tif").write_text("precious")
    progress = Watching()

    with pytest.raises(InvalidValueError, match="something else"):
        demo(tmp_path, progress, client)

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("slide.tif", "precious")]
    assert progress.stages == []


def test_a_demonstration_that_was_stopped_has_no_page_and_can_be_made_again(tmp_path: Path, client: Any) -> None:
    folder = DemoFolder(tmp_path / "demo")

    with pytest.raises(CancelledError):
        demo(folder.root, Watching(stop_in="train"), client)
    left = {path.name for path in folder.root.iterdir()}
    folder.clear()

    assert left == {"slide.tif", "project", MARK}
    assert [path.name for path in folder.root.iterdir()] == [MARK]


def test_ones_own_project_is_judged_by_what_was_held_back(
    report: DemoReport, folder: DemoFolder, tmp_path: Path, client: Any
) -> None:
    own = demo(tmp_path / "own", SilentProgress(), client, project=report.project)

    assert own.project == report.project
    assert own.model == tmp_path / "own" / "model"
    assert own.judged_by == "the annotations that training held back"
    page = own.report.read_text(encoding="utf-8")
    assert re.findall(r"<figcaption>(.*?)</figcaption>", page) == ["slide", "annotations", "prediction"] * 2
    assert f"<td>project</td><td>{report.project}</td>" in page
    assert [type(request).__name__ for request in client.ran] == ["TrainRequest", "PredictRequest"]
    assert client.ran[0].project == report.project.absolute()
    assert folder.project.is_dir()


def test_a_project_inside_the_folder_that_is_replaced_is_refused(
    report: DemoReport, folder: DemoFolder, client: Any
) -> None:
    with pytest.raises(InvalidValueError, match="name another folder"):
        demo(folder.root, SilentProgress(), client, project=report.project)

    assert report.project.is_dir()


def test_a_prediction_of_nothing_is_the_failure_of_its_slide(
    report: DemoReport, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = {"entry": "slide.tif", "reason": "SLIDE_MISMATCH", "message": "another slide lies there"}
    answers = iter([{"failures": []}, {"slides": [], "failures": [failure]}])
    monkeypatch.setattr(client, "run", lambda *_: next(answers))

    with pytest.raises(SlideMismatchError, match="another slide lies there"):
        demo(tmp_path / "own", SilentProgress(), client, project=report.project)


def test_a_server_elsewhere_is_refused(report: DemoReport, tmp_path: Path, make_client: Callable[[str], Any]) -> None:
    with pytest.raises(InvalidValueError, match=r"gpu\.lab:80 has other files"):
        demo(tmp_path / "own", SilentProgress(), make_client("gpu.lab:80"), project=report.project)


def test_only_the_made_slide_has_settings_of_its_own() -> None:
    assert DemoRequest(folder=Path("d")).used_settings is running.SETTINGS
    assert DemoRequest(folder=Path("d"), project=Path("p")).used_settings == {}
    assert DemoRequest(folder=Path("d"), settings={"epochs": "1"}).used_settings == {"epochs": "1"}
