"""Answers about models and families."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import BundleNotFoundError
from qpbridge.service.catalog import Catalog
from qpbridge.service.configuration import Limits
from qpbridge.service.places import AllowedPlaces
from qpbridge.service.servicers.caller import Caller
from qpbridge.service.servicers.intake import Intake
from qpbridge.service.servicers.models import ModelServicer
from qpbridge.v1 import job_pb2, model_pb2

SPEC = {
    "schema_version": 1,
    "weights_sha256": "f00d",
    "model": {
        "family": "dmmn",
        "variant": "unet",
        "config": {"variant": "unet"},
        "classes": [{"name": name, "color_rgb": [1, 2, 3]} for name in "AB"],
        "views": [],
        "heads": [],
    },
    "provenance": {
        "created": "2026-11-20T12:00:00+00:00",
        "versions": {},
        "seed": 0,
        "recipe": {},
        "project": "skin",
        "training_entries": [],
        "validation_entries": [],
        "annotated_area_um2": {},
    },
}


class KnownFamilies:
    async def listing(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "title": f"{name} et al.",
                "presets": ["paper"],
                "settings": [{"key": "k", "values": {"paper": 3}}],
            }
            for name in ("dmmn", "other")
        ]


@pytest.fixture
def servicer(board: Any, places: AllowedPlaces, tmp_path: Path) -> ModelServicer:
    for name in ("a", "b", "c"):
        (places.model_folders[0] / name).mkdir()
        (places.model_folders[0] / name / "spec.json").write_text(json.dumps(SPEC if name != "b" else {}))
    return ModelServicer(Intake(board, places, Limits(), ["cpu"], tmp_path), Catalog(places), KnownFamilies())


def test_models_come_in_pages_and_failures_once(
    servicer: ModelServicer, caller: Caller, finish: Callable[..., Any]
) -> None:
    first = finish(servicer.list_models(model_pb2.ListModelsRequest(page_size=1), caller))
    second = finish(
        servicer.list_models(model_pb2.ListModelsRequest(page_size=1, page_token=first.next_page_token), caller)
    )

    assert [model.name for model in (*first.models, *second.models)] == ["a", "c"]
    assert [failure.entry for failure in first.failures] == ["b"]
    assert (list(second.failures), second.next_page_token) == ([], "")


def test_one_model_is_returned_by_its_name(servicer: ModelServicer, caller: Caller, finish: Callable[..., Any]) -> None:
    assert finish(servicer.get_model(model_pb2.GetModelRequest(model="a"), caller)).model.digest == "f00d"
    with pytest.raises(BundleNotFoundError):
        finish(servicer.get_model(model_pb2.GetModelRequest(model="z"), caller))


def test_families_tell_their_settings_as_text(
    servicer: ModelServicer, caller: Caller, finish: Callable[..., Any]
) -> None:
    answer = finish(servicer.list_families(model_pb2.ListFamiliesRequest(page_size=1), caller))

    assert [family.title for family in answer.families] == ["dmmn et al."]
    assert answer.families[0].settings[0].values == {"paper": "3"}
    assert answer.next_page_token


def test_a_model_is_exported_by_a_job(
    servicer: ModelServicer, board: Any, root: Path, caller: Caller, finish: Callable[..., Any]
) -> None:
    asked = model_pb2.ExportModelRequest(model="a", out=str(root / "a.onnx"))

    job = finish(servicer.export_model(asked, caller)).job

    assert (job.kind, job.device) == (job_pb2.JOB_KIND_EXPORT_MODEL, "files")
    assert board.jobs[job.id].request["out"] == str(root / "a.onnx")
