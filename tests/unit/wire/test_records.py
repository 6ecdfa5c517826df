from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from qpbridge.core.geometry import PixelCalibration
from qpbridge.errors import InvalidValueError
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.evaluation.instances import InstanceScores
from qpbridge.v1 import job_pb2, model_pb2, objects_pb2, project_pb2, reports_pb2
from qpbridge.wire.records import enum_number, enum_text, pack, unpack
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.evaluate import EntryScore, EvaluationReport
from qpbridge.workflows.evaluating.scores import NucleiScore
from qpbridge.workflows.export import ExportedEntry, ExportReport
from qpbridge.workflows.inspecting.records import (
    ClassReport,
    EntryReport,
    ImageReport,
    InspectReport,
    MissingFolder,
    OrphanedData,
    TrainingClass,
    TrainingPreview,
    Trouble,
)
from qpbridge.workflows.predict import ClassSummary, PredictReport, SlideResult
from qpbridge.workflows.predicting.undo import UndoneSlide, UndoReport
from qpbridge.workflows.train import TrainReport

FAILURES = (Failure(entry="entry 3 'c'", reason="SLIDE_NOT_FOUND", message="gone: look for it"),)
MATRIX = ConfusionMatrix(["Tumor", "Stroma"], np.array([[3, 1, 2], [0, 0, 0]], np.int64))

TRAINED = TrainReport(
    bundle=Path("/models/skin"),
    digest="ab12",
    classes=("Tumor", "Stroma"),
    training_entries=("a.svs",),
    validation_entries=("b.svs",),
    training_patches=2**40,
    validation_patches=3,
    best_epoch=4,
    epochs=9,
    mean_iou=float("nan"),
    class_iou={"Tumor": 0.5, "Stroma": None},
    device="cuda:0",
    duration_s=12.5,
    failures=FAILURES,
)
PREDICTED = PredictReport(
    out=Path("/out"),
    job_id="7",
    results=(
        SlideResult(
            key="1",
            name="a.svs",
            file=Path("/out/1-a.geojson"),
            slide_path=Path("/slides/a.svs"),
            fingerprint="f0",
            mpp_x=0.25,
            mpp_y=0.26,
            mpp_source="project",
            objects=7,
            added=5,
            replaced=4,
            kept=2,
            dropped=3,
            classes=(ClassSummary(name="Background", count=2, area_mm2=1.5, share_of_tissue=None),),
            duration_s=0.1,
            warnings=("look at it",),
        ),
    ),
    failures=FAILURES,
)
UNDONE = UndoReport(
    out=Path("/out"),
    job_id="7",
    slides=(UndoneSlide(stem="1-a", removed=5, restored=4, kept=2, dropped=1),),
    failures=FAILURES,
)
EVALUATED = EvaluationReport(
    pooled=MATRIX,
    entries=(EntryScore(key="1", name="a", matrix=MATRIX, pixel_area_mm2=0.1, slide_mm2=5.0, was_trained_on=True),),
    failures=FAILURES,
    unlabelled=("z.svs",),
)
NUCLEI = NucleiScore(
    scores=InstanceScores(true_objects=3, predicted_objects=2, matched=1, matched_iou=0.75, joint_px=3, either_px=4),
    verdicts={"merged": 0, "split": 1, "found": 1, "missed": 1, "made_up": 0},
    pictures=(Path("/out/a-0-0.png"),),
)
OF_NUCLEI = replace(EVALUATED, entries=(replace(EVALUATED.entries[0], nuclei=NUCLEI),))
EXPORTED = ExportReport(
    out=Path("/out"),
    entries=(
        ExportedEntry(id="1", name="a", objects=3, geojson=Path("/out/a.geojson"), label_map=Path("/out/a.png")),
        ExportedEntry(id="2", name="b", objects=0),
    ),
    failures=FAILURES,
)
SEEN = ImageReport(
    slide=Path("/slides/a.svs"),
    width_px=10,
    height_px=20,
    calibration=PixelCalibration(mpp_x=0.5, mpp_y=0.25),
    calibration_source="file",
)
INSPECTED = InspectReport(
    project=Path("/p/project.qpproj"),
    qupath_version="0.6.0",
    entries=(
        EntryReport(
            id="1",
            name="a",
            image=SEEN,
            has_data=True,
            kinds={"annotation": 3, "tmaCore": 2**33},
            locked=2,
            complete_mm2=0.0,
            metadata={"tissues": "Tumor"},
            tags=("reviewed", "fold 1"),
            notes=("found by its name",),
            classes=(
                ClassReport(
                    name="Tumor", is_ignored=False, objects=3, annotations=2, area_mm2=0.5, tags=4, is_region=True
                ),
                ClassReport(name=None, is_ignored=True, objects=1, annotations=0, area_mm2=None),
            ),
            troubles=(Trouble(what="crosses itself", count=2, examples=("one", "two")),),
            problems=FAILURES,
        ),
        EntryReport(id="2", name="b", image=ImageReport()),
    ),
    similar_classes=(("Tumor", "tumor"), ("a", "A", "a ")),
    training=TrainingPreview(
        classes=(TrainingClass(name="Tumor", entries=1, annotations=2, area_mm2=0.5, patches=7),),
        entries=("1",),
        obstacle="too few classes",
        patches=9,
        patch_px=256,
        patch_mpp=0.5,
        nuclei=11,
        complete_mm2=0.25,
    ),
    ignored_classes=("Ignore*",),
    missing=(MissingFolder(folder="I:/slides", slides=434),),
    orphans=(OrphanedData(folder=Path("/p/data/7"), bytes=2**40),),
)


def as_json(values: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(values, enc_hook=str))


@pytest.mark.parametrize(
    ("kind", "report"),
    [
        (reports_pb2.TrainReport, TRAINED),
        (reports_pb2.PredictReport, PREDICTED),
        (reports_pb2.UndoReport, UNDONE),
        (reports_pb2.EvaluateReport, EVALUATED),
        (reports_pb2.EvaluateReport, OF_NUCLEI),
        (reports_pb2.ExportReport, EXPORTED),
        (reports_pb2.InspectReport, INSPECTED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_report_comes_out_of_its_message_as_the_same_json(kind: Any, report: Any) -> None:
    values = as_json(report.to_dict())

    message = kind.FromString(pack(kind, values).SerializeToString())

    assert unpack(message) == values


def test_scores_stand_in_a_message_of_their_own() -> None:
    message = pack(reports_pb2.EvaluateReport, as_json(EVALUATED.to_dict()))

    assert message.scores.classes[0].name == "Tumor"
    assert message.scores.classes[0].true_px == 6
    assert message.scores.confusion.rows[0].counts == [3, 1, 2]
    assert not message.scores.classes[1].HasField("recall")
    assert message.entries[0].scores.labelled_px == 6


def test_a_model_comes_out_as_it_went_in_with_its_settings_as_text() -> None:
    model = {
        "name": "skin",
        "path": "/models/skin",
        "digest": "ab",
        "family": "dmmn",
        "variant": "m3",
        "classes": [{"name": "Tumor", "color_rgb": [200, 0, 1], "is_written": True}],
        "views": [{"name": "20x", "fov": {"size_px": 256, "mpp": 0.5}}, {"name": "10x", "size_px": 256, "mpp": 1.0}],
        "heads": [{"name": "regions", "channels": 3}],
        "config": {"variant": "m3", "patch_px": 256, "is_wide": True},
        "staining": {"method": "macenko", "rows": [[0.6, 0.7, 0.4], [0.1, 0.9, 0.3], [1.5, 1.25]]},
        "provenance": {
            "created": "2026-11-21T03:04:05+00:00",
            "versions": {"torch": "2.12"},
            "seed": 1,
            "recipe": {"rate": 0.001},
            "project": "skin",
            "training_entries": ["a"],
            "validation_entries": [],
            "annotated_area_um2": {"Tumor": 12.5},
            "metrics": [{"split": "validation", "values": {"mean IoU": 0.5, "IoU Stroma": None}}],
            "parent_digest": None,
        },
    }

    message = pack(model_pb2.Model, model)

    provenance = {**model["provenance"], "recipe": {"rate": "0.001"}}
    assert unpack(message) == {
        **model,
        "views": [{"name": "20x", "size_px": 256, "mpp": 0.5}, {"name": "10x", "size_px": 256, "mpp": 1.0}],
        "config": {"variant": "m3", "patch_px": "256", "is_wide": "true"},
        "provenance": provenance,
    }


def test_times_of_another_zone_are_the_same_moment() -> None:
    provenance = pack(model_pb2.Provenance, {"created": "1969-12-31T23:59:59.750000-01:00"})

    assert provenance.created.seconds == 3599
    assert provenance.created.nanos == 750_000_000
    assert unpack(provenance)["created"] == "1970-01-01T00:59:59.750000+00:00"


def test_what_is_absent_is_none_and_what_a_message_does_not_have_is_left_out() -> None:
    entry = pack(project_pb2.Entry, {"id": "1", "description": None, "size": 3})

    assert unpack(entry) == {
        "id": "1",
        "name": "",
        "description": None,
        "metadata": {},
        "tags": [],
        "has_data": False,
    }


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"done": "seven"}, "done"),
        ({"total": 2**63}, "total"),
        ({"stage": "\udcff"}, "stage"),
        ({"numbers": {"loss": "low"}}, "numbers"),
        ({"numbers": [1]}, "numbers"),
    ],
)
def test_a_value_that_a_field_does_not_take_is_refused_by_the_name_of_the_field(
    values: dict[str, Any], place: str
) -> None:
    with pytest.raises(InvalidValueError, match=place):
        pack(job_pb2.JobProgress, values)


def test_a_long_value_is_refused_in_a_short_message() -> None:
    with pytest.raises(InvalidValueError) as refusal:
        pack(job_pb2.JobProgress, {"done": "x" * 10_000})

    assert len(str(refusal.value)) < 300


def test_enumerations_have_the_names_that_records_use() -> None:
    states = job_pb2.JobState.DESCRIPTOR

    assert enum_text(states, job_pb2.JOB_STATE_PARTLY_DONE) == "partly_done"
    assert enum_number(states, "partly_done") == job_pb2.JOB_STATE_PARTLY_DONE
    assert enum_text(states, 0) is None
    with pytest.raises(InvalidValueError, match=r"one of queued, running, .*, not 'lost'"):
        enum_number(states, "lost")


def test_a_value_of_an_enumeration_that_only_the_other_side_knows_is_refused() -> None:
    message = job_pb2.Job.FromString(job_pb2.Job(state=77).SerializeToString())  # type: ignore[arg-type]

    with pytest.raises(InvalidValueError, match="JobState has no value 77 here"):
        unpack(message)


def test_bytes_that_are_no_text_and_names_given_twice_are_refused() -> None:
    mangled = objects_pb2.EntryAnnotations(entry="a", geojson=b"\xff\xfe")
    scores = reports_pb2.Confusion(rows=[{"name": "Tumor"}, {"name": "Tumor"}])

    with pytest.raises(InvalidValueError, match="geojson is no UTF-8 text"):
        unpack(mangled)
    with pytest.raises(InvalidValueError, match="rows names something twice among 'Tumor'"):
        unpack(scores)
