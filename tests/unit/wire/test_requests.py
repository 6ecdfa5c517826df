from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest

from qpbridge.core.geometry import Region
from qpbridge.errors import InvalidValueError
from qpbridge.v1 import evaluation_pb2, objects_pb2, prediction_pb2, project_pb2, training_pb2
from qpbridge.wire.requests import MESSAGES, kind_of, message_of, request_of
from qpbridge.workflows.kinds import KINDS
from qpbridge.workflows.requests import (
    EvaluateRequest,
    ExportModelRequest,
    ExportRequest,
    InspectRequest,
    PredictRegionRequest,
    PredictRequest,
    TrainRequest,
    UndoRequest,
)


class PlacesAsNamed:
    """Takes every path as it stands."""

    def read(self, path: str) -> Path:
        return Path(path)

    def write(self, path: str) -> Path:
        return Path(path)

    def new_project(self, path: str) -> Path:
        return Path(path)

    def model(self, name: str) -> Path:
        return Path(name)

    def new_model(self, name: str) -> Path:
        return Path(name)

    def results(self, inputs: Sequence[Path], model: Path) -> Path:
        return inputs[0].parent / model.name

    def path_rule(self, rule: str) -> str:
        return rule


LIVE: dict[str, Any] = {"annotations": {"a": '{"type": "µ"}', "b": "[]"}, "annotations_mode": "add"}
PREDICTING: dict[str, Any] = {
    "mpp": 0.5,
    "device": "cuda:1",
    "path_map": ("C:/=/mnt/c",),
    "min_area_um2": 0.0,
    "smooth_um": 1.5,
    "cell_um": 2.5,
    "use_tissue_mask": False,
    "margin_px": 0,
    "seed": 2**40,
    "blend": True,
    "tta": "d4",
    "uncertainty": True,
    "suggest": 5,
    "within": ("Tumor", "Stroma"),
}
READING: dict[str, Any] = {"region_class": "Done*"}
ONLY: dict[str, Any] = {"entries": ("1", "b.svs"), "path_map": ("C:/=/mnt/c",), "mpp": 0.25, "backend": "native"}

FULL: dict[str, Any] = {
    "train": TrainRequest(
        project=Path("/p/project.qpproj"),
        out=Path("/models/m"),
        family="dmmn",
        base=Path("older"),
        resume=True,
        tensorboard=True,
        preset="small",
        classes=("Tumor", "Stroma"),
        validation=("c",),
        settings={"epochs": "3"},
        device="cpu",
        seed=7,
        complete=True,
        **ONLY,
        **LIVE,
        **READING,
    ),
    "predict": PredictRequest(
        inputs=(Path("/p"),),
        model=Path("m"),
        out=Path("/out"),
        entries=("1",),
        gzip=True,
        resume=True,
        probabilities=True,
        backend="paquo",
        write_back=True,
        project_out=Path("/made"),
        **PREDICTING,
        **LIVE,
    ),
    "predict_region": PredictRegionRequest(
        input=Path("/p/project.qpproj"),
        model=Path("m"),
        region=Region(x_px=-1.5, y_px=0, width_px=10, height_px=2**33),
        entry="a.svs",
        **PREDICTING,
        **LIVE,
    ),
    "evaluate": EvaluateRequest(
        project=Path("/p"),
        model=Path("m"),
        device="mps",
        out=Path("/out/scores.json"),
        **ONLY,
        **LIVE,
        complete=True,
        pictures=Path("/pictures"),
        **READING,
    ),
    "export": ExportRequest(
        project=Path("/p"), out=Path("/out"), gzip=True, annotations_only=True, label_maps=True, **ONLY, **READING
    ),
    "inspect": InspectRequest(project=Path("/p"), **ONLY, **READING),
    "export_model": ExportModelRequest(model=Path("m"), out=Path("/out/m.onnx")),
    "undo": UndoRequest(job_id="7", out=Path("/out")),
}
UNUSED = {("evaluate", "predictions")}
"""Excluded by another field of the same request."""

MINIMAL = [
    TrainRequest(project=Path("/p"), out=Path("m"), family="dmmn"),
    PredictRequest(inputs=(Path("/p"),), model=Path("m"), out=Path("/out")),
    PredictRequest(inputs=(Path("/a.svs"), Path("/b.svs")), model=Path("m"), out=Path("/out")),
    PredictRegionRequest(
        input=Path("/a.svs"), model=Path("m"), region=Region(x_px=0, y_px=0, width_px=1.0, height_px=1.0)
    ),
    PredictRegionRequest(input=Path("/p"), model=Path("m"), region=Region(x_px=0, y_px=0, width_px=1.0, height_px=1.0)),
    PredictRegionRequest(input=Path("/p"), model=Path("m")),
    EvaluateRequest(project=Path("/p"), predictions=Path("/out")),
    ExportRequest(project=Path("/p"), out=Path("/out")),
    InspectRequest(project=Path("/p")),
    UndoRequest(job_id="7"),
]


class Moved:
    """Puts everything elsewhere, by who was asked."""

    def read(self, path: str) -> Path:
        return Path(f"/read{path}")

    def write(self, path: str) -> Path:
        return Path(f"/write{path}")

    def new_project(self, path: str) -> Path:
        return Path(f"/new_project{path}")

    def model(self, name: str) -> Path:
        return Path("/model") / name

    def new_model(self, name: str) -> Path:
        return Path(f"/new_model{name}")

    def results(self, inputs: Sequence[Path], model: Path) -> Path:
        return Path(f"/results/{len(inputs)}{model}")

    def path_rule(self, rule: str) -> str:
        return rule.replace("=", "=/rule")


def sent(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_request_travels(kind: str) -> None:
    request = FULL[kind]
    same = [item.name for item in fields(request) if getattr(request, item.name) == default_of(item)]

    assert [name for name in same if (kind, name) not in UNUSED] == [], "give it another value than its default here"
    assert request_of(sent(message_of(request)), PlacesAsNamed()) == request
    assert kind_of(message_of(request)) == kind


def default_of(item: Any) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


@pytest.mark.parametrize("request_", MINIMAL)
def test_what_is_left_out_has_the_default_of_the_workflow(request_: Any) -> None:
    assert request_of(sent(message_of(request_)), PlacesAsNamed()) == request_


def test_every_kind_of_work_has_a_message() -> None:
    assert KINDS.keys() <= MESSAGES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_no_path_of_a_request_gets_by_unseen(kind: str) -> None:
    request = FULL[kind]
    moved = request_of(message_of(request), Moved())

    for item in fields(request):
        before, after = getattr(request, item.name), getattr(moved, item.name)
        if item.name == "path_map":
            assert after == ("C:/=/rule/mnt/c",)
        elif "Path" in str(item.type) and before is not None:
            assert after != before
        else:
            assert after == before


def test_each_place_is_asked_for_what_it_knows() -> None:
    trained = request_of(message_of(FULL["train"]), Moved())
    judged = request_of(evaluation_pb2.EvaluateRequest(project="/p", predictions="/d"), Moved())
    exported = request_of(message_of(FULL["export"]), Moved())

    assert (trained.project, trained.out) == (Path("/read/p/project.qpproj"), Path("/new_model/models/m"))
    assert trained.base == Path("/model/older")
    assert (judged.project, judged.predictions) == (Path("/read/p"), Path("/read/d"))
    assert exported.out == Path("/write/out")
    predicted = request_of(message_of(FULL["predict"]), Moved())
    assert (predicted.out, predicted.project_out) == (Path("/write/out"), Path("/new_project/made"))


def test_predictions_without_a_folder_go_where_the_server_says() -> None:
    slides = prediction_pb2.SlidesSource(paths=["/a.svs", "/b.svs"])

    request = request_of(prediction_pb2.PredictRequest(slides=slides, model="m"), Moved())

    assert request.out == Path("/results/2/model/m")
    assert request.inputs == (Path("/read/a.svs"), Path("/read/b.svs"))


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (training_pb2.TrainRequest(project="/p", out="m"), "family"),
        (training_pb2.TrainRequest(family="dmmn", out="m"), "project"),
        (prediction_pb2.PredictRequest(model="m"), "inputs"),
        (prediction_pb2.PredictRequest(model="m", project=prediction_pb2.ProjectSource(entries=["1"])), "inputs"),
        (prediction_pb2.PredictRegionRequest(slide="/a.svs"), "model"),
        (project_pb2.ExportProjectRequest(project="/p"), "out"),
    ],
)
def test_what_is_missing_is_named(message: Any, what: str) -> None:
    with pytest.raises(InvalidValueError, match=what):
        request_of(message, PlacesAsNamed())


def test_annotations_of_one_entry_given_twice_are_refused() -> None:
    twice = [objects_pb2.EntryAnnotations(entry="a", geojson=b"[]")] * 2
    message = training_pb2.TrainRequest(project="/p", out="m", family="dmmn", annotations=twice)

    with pytest.raises(InvalidValueError, match="annotations names something twice among 'a'"):
        request_of(message, PlacesAsNamed())


@pytest.mark.parametrize("name", ["entries", "classes"])
def test_a_list_of_nothing_is_not_sent_since_it_would_ask_for_everything(name: str) -> None:
    with pytest.raises(InvalidValueError, match=f"{name} is an empty list"):
        message_of(replace(FULL["train"], **{name: ()}))


def test_entries_of_several_slides_are_refused() -> None:
    request = PredictRequest(inputs=(Path("a.svs"), Path("b.svs")), model=Path("m"), out=Path("o"), entries=("1",))

    with pytest.raises(InvalidValueError, match="entries 1 belong to a project"):
        message_of(request)


@pytest.mark.parametrize(
    ("path", "source"),
    [("/p", "project"), ("/p/x.qpproj", "project"), ("/s/a.svs", "slides"), ("/s/a.ome.tiff", "slides")],
)
def test_one_input_is_a_project_or_a_slide_by_its_name(path: str, source: str) -> None:
    message = message_of(PredictRequest(inputs=(Path(path),), model=Path("m"), out=Path("o")))

    assert message.WhichOneof("source") == source


def test_a_folder_is_a_project_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "study.v2"
    folder.mkdir()

    message = message_of(PredictRequest(inputs=(folder,), model=Path("m"), out=Path("o")))

    assert message.WhichOneof("source") == "project"
