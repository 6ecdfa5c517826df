from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from qpbridge.core.objects import PathClass
from qpbridge.qupath.paquo_backend.inside import reading, saving
from qpbridge.qupath.paquo_backend.records import Change
from qpbridge.qupath.qpdata import read_qpdata


@pytest.mark.qupath
def test_a_change_works_on_the_copy_and_gives_classes_the_colors_that_they_are_told(qupath, data_dir, tmp_path):
    made = data_dir / "made"
    project = tmp_path / "project.qpproj"
    text = (made / "qp-0.5.1" / "project" / "project.qpproj").read_text("utf-8")
    project.write_text(text.replace("file:/data/histology/made", f"file:{made}"), "utf-8")
    copy = tmp_path / "copy"
    reading.stage(project, copy)
    data = copy / "data" / "1" / "data.qpdata"
    data.parent.mkdir()
    shutil.copyfile(made / "qp-0.5.1" / "project" / "data" / "1" / "data.qpdata", data)
    before = read_qpdata(data.read_bytes())
    gone = before.objects[-1].id
    task = Change(
        folder=str(copy),
        project="/elsewhere/project.qpproj",
        entry="1",
        removed=[gone],
        added=None,
        colors={"Tumor": 0x010203 - 2**24},
        out=str(tmp_path / "out.qpdata"),
    )

    summary = qupath.ask(saving.change, task)

    after = read_qpdata(Path(task.out).read_bytes())
    assert {item.id for item in after.objects} == {item.id for item in before.objects} - {gone}
    assert PathClass("Tumor", (1, 2, 3)) in {item.path_class for item in after.objects}
    assert after.properties["PROJECT_ENTRY_ID"] == "/elsewhere/project.qpproj::1"
    assert summary is not None
    assert '"nObjects"' in summary
