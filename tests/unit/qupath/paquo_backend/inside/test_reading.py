from __future__ import annotations

from pathlib import Path

import pytest

from qpbridge.qupath.paquo_backend.inside import reading
from qpbridge.qupath.paquo_backend.records import JavaFailure


def test_only_what_qupath_reads_of_a_project_is_copied_for_it(data_dir, tmp_path):
    project = data_dir / "made" / "qp-0.6.0" / "project" / "project.qpproj"

    copy = reading.stage(project, tmp_path)

    assert copy.read_bytes() == project.read_bytes()
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"project.qpproj", "classifiers/classes.json"}


@pytest.mark.qupath
def test_a_file_that_is_no_image_data_is_refused(qupath, data_dir, tmp_path):
    project = data_dir / "made" / "qp-0.6.0" / "project" / "project.qpproj"
    odd = tmp_path / "data.qpdata"
    odd.write_bytes(b"PK\x03\x04")

    with pytest.raises(JavaFailure, match=r"QuPath cannot read it: "):
        qupath.ask(reading.read_data, str(project), str(odd))


@pytest.mark.qupath
def test_classes_that_are_no_part_of_qupath_are_never_made(qupath, data_dir, tmp_path):
    project = data_dir / "made" / "qp-0.6.0" / "project"
    data = (project / "data" / "4" / "data.qpdata").read_bytes()
    foreign = b"qupath.lib.plugins.workflow.Workflow"
    assert foreign in data
    harmful = tmp_path / "data.qpdata"
    harmful.write_bytes(data.replace(foreign, b"org.locationtech.jts.geom.Coordinate"))

    with pytest.raises(JavaFailure, match=r"REJECTED"):
        qupath.ask(reading.read_data, str(project / "project.qpproj"), str(harmful))
    assert Path(harmful).is_file()
