import json
from pathlib import Path

from qpbridge.workflows.inspecting.records import EntryReport, ImageReport, InspectReport, TrainingPreview


def test_a_report_is_json_but_for_its_paths() -> None:
    entry = EntryReport(id="1", name="a.svs", image=ImageReport(slide=Path("/a.svs")), kinds={"cell": 2})
    training = TrainingPreview(classes=(), entries=("1",), obstacle=None)
    report = InspectReport(
        project=Path("/p"), qupath_version="0.7.0", entries=(entry,), similar_classes=(), training=training
    )

    values = json.loads(json.dumps(report.to_dict(), default=str))

    assert entry.label == "entry 1 'a.svs'"
    assert values["entries"][0]["kinds"] == {"cell": 2}
    assert values["entries"][0]["image"]["slide"] == "/a.svs"
