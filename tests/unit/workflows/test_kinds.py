import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qpbridge.core.geometry import Region
from qpbridge.errors import InvalidRequestError, InvalidValueError, UnknownNameError
from qpbridge.workflows.kinds import KINDS, Request, from_json, title_of, to_json
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

FULL: dict[str, Request] = {
    "train": TrainRequest(
        project=Path("/p"),
        out=Path("/out"),
        family="dmmn",
        classes=("A", "B"),
        settings={"epochs": "3"},
        annotations={"1": '{"type":"FeatureCollection","features":[]}'},
        annotations_mode="add",
    ),
    "predict": PredictRequest(inputs=(Path("/p"),), model=Path("/m"), out=Path("/o"), entries=("1",), resume=True),
    "predict_region": PredictRegionRequest(
        input=Path("/p"), model=Path("/m"), region=Region(x_px=1, y_px=2, width_px=30.5, height_px=4), margin_px=3
    ),
    "evaluate": EvaluateRequest(project=Path("/p"), predictions=Path("/o"), path_map=("a=b",)),
    "export": ExportRequest(project=Path("/p"), out=Path("/o"), mpp=0.5, label_maps=True),
    "inspect": InspectRequest(project=Path("/p")),
    "export_model": ExportModelRequest(model=Path("/m"), out=Path("/o.onnx")),
    "undo": UndoRequest(job_id="7", out=Path("/o")),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_request_survives_its_way_as_json(kind: str) -> None:
    values = to_json(FULL[kind])

    assert from_json(kind, json.loads(json.dumps(values))) == FULL[kind]
    assert values == json.loads(json.dumps(values))


def test_what_is_left_out_has_its_default() -> None:
    assert from_json("inspect", {"project": "/p"}) == InspectRequest(project=Path("/p"))


@pytest.mark.parametrize(
    ("kind", "values", "error", "message"),
    [
        ("dance", {}, UnknownNameError, "unknown kind of work 'dance'; there are: train, predict, "),
        ("inspect", {"project": "/p", "x": 1}, UnknownNameError, "unknown field 'x' in a request to inspect"),
        ("inspect", {}, InvalidValueError, "missing required field `project`"),
        ("inspect", {"project": 3}, InvalidValueError, "expected the text of a path, got int"),
        ("export", {"project": "/p", "out": "/o", "mpp": "fine"}, InvalidValueError, "Expected `float | null`"),
        ("train", {**to_json(FULL["train"]), "annotations_mode": "mix"}, InvalidValueError, "Invalid enum value 'mix'"),
        (
            "predict_region",
            {"input": "/p", "model": "/m", "region": {"x_px": 0, "y_px": 0, "width_px": 0, "height_px": 1}},
            InvalidRequestError,
            "a region must have an area",
        ),
    ],
)
def test_a_request_that_cannot_be_read_says_why(
    kind: str, values: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        from_json(kind, values)


def test_requests_load_no_heavy_library() -> None:
    program = "import sys, qpbridge.workflows.kinds; print(*sys.modules)"

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not {"numpy", "torch", "shapely"} & set(answer.stdout.split())


@pytest.mark.parametrize(
    ("request_", "title"),
    [
        (TrainRequest(project=Path("/a/skin/project.qpproj"), out=Path("m"), family="f"), "skin"),
        (PredictRequest(inputs=(Path("/a/b.svs"),), model=Path("/m/t"), out=Path("/o")), "b.svs, model t"),
        (
            PredictRequest(inputs=(Path("/a/b.svs"), Path("/c"), Path("/d")), model=Path("/m/t"), out=Path("/o")),
            "b.svs, and 2 more, model t",
        ),
        (InspectRequest(project=Path("/a/own.qpproj")), "own.qpproj"),
        (ExportModelRequest(model=Path("/m/t"), out=Path("/o.onnx")), "model t"),
    ],
)
def test_titles_say_what_is_worked_on(request_: Request, title: str) -> None:
    assert title_of(request_) == title
