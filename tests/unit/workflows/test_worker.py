import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.core.objects import PathObject
from qpbridge.errors import InvalidValueError, ProjectNotFoundError, UnknownNameError
from qpbridge.jobs.desk import SilentDesk
from qpbridge.models.bundle import Bundle
from qpbridge.workflows import worker
from qpbridge.workflows.kinds import KINDS, Request, to_json
from qpbridge.workflows.requests import (
    EvaluateRequest,
    ExportRequest,
    InspectRequest,
    PredictRegionRequest,
    PredictRequest,
    TrainRequest,
)


class Desk(SilentDesk):
    """A desk that notes what is going on."""

    def __init__(self, is_resumed: bool = False) -> None:
        super().__init__(is_resumed=is_resumed)
        self.stages: set[str] = set()

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
        self.stages.add(stage)


@pytest.fixture
def model(color_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The bundle of colors, in a process that has not loaded it yet."""
    monkeypatch.setattr("qpbridge.workflows.predicting.warm.load_bundle", lambda _: color_bundle)
    worker._model.cache_clear()
    monkeypatch.setattr(worker._model(), "_load", lambda _: color_bundle)
    return tmp_path / "model"


@pytest.fixture
def project(make_project: Callable[..., Path], annotate: Callable[..., PathObject]) -> Path:
    objects = [annotate("Tumor", 50, 50, 150, 250), annotate("Stroma", 250, 50, 350, 250)]
    return make_project({"a.png": objects, "b.png": []})


def carried_out(kind: str, request: Request, desk: Desk | None = None) -> dict[str, Any]:
    report = worker.run(kind, json.loads(json.dumps(to_json(request))), desk or Desk())
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    return report


def test_every_kind_of_work_can_be_carried_out() -> None:
    assert set(worker._WORK) == set(KINDS)


def test_a_prediction(project: Path, model: Path, tmp_path: Path) -> None:
    request = PredictRequest(inputs=(project,), model=model, out=tmp_path / "out", device="cpu", use_tissue_mask=False)

    report = carried_out("predict", request)

    assert [slide["file"] for slide in report["slides"]] == [
        str(tmp_path / "out" / f"{name}.geojson") for name in ("1-a.png", "2-b.png")
    ]
    assert report["failures"] == []


def test_a_prediction_that_was_begun_goes_on(project: Path, model: Path, tmp_path: Path) -> None:
    request = PredictRequest(inputs=(project,), model=model, out=tmp_path / "out", device="cpu", use_tissue_mask=False)
    first, again, resumed = Desk(), Desk(), Desk(is_resumed=True)

    for desk in (first, again, resumed):
        carried_out("predict", request, desk)

    assert first.stages == again.stages
    assert resumed.stages == {"slides"}


def test_a_region(project: Path, model: Path) -> None:
    request = PredictRegionRequest(
        input=project, model=model, region=None, entry="1", device="cpu", use_tissue_mask=False
    )
    desk = Desk()

    report = carried_out("predict_region", request, desk)

    assert report["objects"] == len(b"".join(chunk.payload for chunk in desk.chunks).splitlines()) == 2
    assert report["region"] == {"x_px": 0, "y_px": 0, "width_px": 400, "height_px": 300}
    assert "failures" not in report


def test_an_evaluation(project: Path, model: Path) -> None:
    report = carried_out("evaluate", EvaluateRequest(project=project, model=model, device="cpu"))

    assert report["mean_iou"] == 1
    assert report["unlabelled"] == ["b.png"]


def test_an_export(project: Path, tmp_path: Path) -> None:
    report = carried_out("export", ExportRequest(project=project, out=tmp_path / "out"))

    assert report["entries"][0]["geojson"] == str(tmp_path / "out" / "1-a.png.geojson")


def test_an_inspection(project: Path) -> None:
    report = carried_out("inspect", InspectRequest(project=project))

    assert report["training"]["entries"] == ["1"]


def test_a_training(project: Path, tmp_path: Path) -> None:
    settings = {"variant": "unet", "width": "2", "patch_px": "64", "stride_px": "64", "batch_size": "4", "epochs": "1"}
    request = TrainRequest(
        project=project,
        out=tmp_path / "model",
        family="dmmn",
        settings={**settings, "norm": "batch", "repeats_max": "0"},
        device="cpu",
    )

    report = carried_out("train", request)

    assert (tmp_path / "model" / "weights.safetensors").is_file()
    assert report["classes"] == ["Tumor", "Stroma"]


@pytest.mark.parametrize(
    ("kind", "values", "error"),
    [
        ("dance", {}, UnknownNameError),
        ("inspect", {"project": 3}, InvalidValueError),
        ("inspect", {"project": "/nowhere"}, ProjectNotFoundError),
    ],
)
def test_errors_come_as_they_are(kind: str, values: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        worker.run(kind, values, Desk())


def test_a_model_stays_loaded_between_predictions(
    project: Path, color_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded = []

    def slowly(folder: Path) -> Bundle:
        loaded.append(folder)
        time.sleep(0.01)
        return color_bundle

    worker._model.cache_clear()
    monkeypatch.setattr(worker._model(), "_load", slowly)
    model = tmp_path / "model"
    model.mkdir()
    for name in ("spec.json", "weights.safetensors"):
        (model / name).touch()
    region = PredictRegionRequest(input=project, model=model, entry="1", device="cpu", use_tissue_mask=False)
    whole = PredictRequest(inputs=(project,), model=model, out=tmp_path / "out", device="cpu", use_tissue_mask=False)

    for _ in range(2):
        carried_out("predict_region", region)
        carried_out("predict", whole)
        carried_out("evaluate", EvaluateRequest(project=project, model=model, device="cpu"))

    assert loaded == [model]
