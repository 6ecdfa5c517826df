from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from qpbridge.core.backend import Backend
from qpbridge.errors import DamagedDataError, DamagedProjectError, ProjectNotFoundError
from qpbridge.qupath.paquo_backend.project import PaquoReader, open_by_paquo
from qpbridge.qupath.paquo_backend.records import EntryContent, JavaFailure, ProjectContent
from qpbridge.qupath.project import open_project

PAQUO = Backend(name="paquo", detail="QuPath 0.5.1")


class Answers:
    """In the place of QuPath's process: answers as told."""

    def __init__(self, answer):
        self.answer = answer

    def ask(self, *_):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    ask_for_image = ask


def test_what_qupath_says_becomes_a_project(data_dir):
    folder = data_dir / "made" / "qp-0.6.0" / "project"
    builder = '{"builderType": "uri", "uri": "file:/x/a.tif", "metadata": {"width": 9, "height": 8, "isRGB": true}}'
    entry = EntryContent("1", "", None, {"k": "v"}, None, builder)

    project = open_by_paquo(folder, Answers(ProjectContent("0.6.0", "file:/u", [("Tumor", -1)], [entry])), PAQUO)
    (read,) = project.entries

    assert project.backend == PAQUO
    assert (project.version, project.uri, project.path) == ("0.6.0", "file:/u", folder / "project.qpproj")
    assert project.classes[0].color_rgb == (255, 255, 255)
    assert (read.name, read.server.width_px, read.data_folder) == ("Image 1", 9, folder / "data" / "1")
    assert read.tags == ("reviewed", "fold 1")  # this QuPath knows none


def test_what_qupath_cannot_open_is_told(data_dir, tmp_path):
    folder = data_dir / "made" / "qp-0.6.0" / "project"

    with pytest.raises(DamagedProjectError, match=r"project.qpproj: too odd; try --backend native"):
        open_by_paquo(folder, Answers(JavaFailure("too odd")), PAQUO)
    with pytest.raises(ProjectNotFoundError):
        open_by_paquo(tmp_path, Answers(None), PAQUO)


def test_what_qupath_cannot_read_is_told_and_entries_without_data_are_not_asked_for(data_dir, tmp_path):
    folder = Path(shutil.copytree(data_dir / "made" / "qp-0.6.0" / "project", tmp_path / "p"))
    project = open_project(folder)
    reader = PaquoReader(project.path, Answers(JavaFailure("cut off")), PAQUO)

    with pytest.raises(DamagedDataError, match=r"entry 1 'slide_a.tif': .*data.qpdata: cut off"):
        reader.read_data(project.entry("1"))
    assert reader.read_data(project.entry("3")).objects == ()
