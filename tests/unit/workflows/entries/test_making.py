from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from qpbridge.core.objects import PathObject
from qpbridge.errors import SlideNotFoundError
from qpbridge.qupath.project import open_project
from qpbridge.qupath.writing import create_project
from qpbridge.workflows.entries.making import entry_of_file


def test_an_entry_has_what_the_file_tells(tmp_path: Path, annotate: Callable[..., PathObject]) -> None:
    Image.new("RGB", (40, 30), "white").save(tmp_path / "a.tif", resolution=20000.0, resolution_unit=3)
    drawn = annotate("Tumor", 1, 1, 9, 9)

    entry = entry_of_file(tmp_path / "a.tif", [drawn])
    create_project(tmp_path / "project", [entry], [])

    (read,) = open_project(tmp_path / "project").entries
    assert (read.name, entry.width_px, entry.height_px, entry.downsamples) == ("a.tif", 40, 30, (1.0,))
    assert entry.calibration is not None
    assert entry.calibration.mpp_x == pytest.approx(0.5)
    assert [item.id for item in entry.objects] == [drawn.id]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SlideNotFoundError):
        entry_of_file(tmp_path / "none.tif")
