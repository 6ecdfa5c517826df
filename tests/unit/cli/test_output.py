import json
from pathlib import Path

import numpy as np
import pytest

from qpbridge.cli.output import Told, cell, print_document, print_json


def test_json_is_one_document_of_plain_values(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"path": Path("/a/b"), "count": np.int64(3), "iou": float("nan"), "name": "Épiderme"})

    out = capsys.readouterr().out
    assert json.loads(out) == {"path": "/a/b", "count": 3, "iou": None, "name": "Épiderme"}
    assert "Épiderme" in out


def test_a_document_is_shown_as_fields_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    document = {
        "out": Path("/results"),
        "mean_iou": 0.912345,
        "failures": [],
        "entries": [{"id": "1", "objects": 12}, {"id": "2", "objects": 3, "note": "[bold]"}],
        "classes": {"Tumor": {"iou": 0.5}, "Stroma": {"iou": None}},
    }

    print_document(document)

    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["out", "/results"] for line in lines)
    assert any(line.split() == ["mean", "iou", "0.9123"] for line in lines)
    assert any(line.split() == ["id", "objects", "note"] for line in lines)
    assert any(line.split() == ["2", "3", "[bold]"] for line in lines)
    assert any(line.split() == ["Tumor", "0.5"] for line in lines)
    assert any(line.split() == ["Stroma", "-"] for line in lines)
    assert "failures" not in "".join(lines)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (True, "yes"), (1.23456, "1.235"), (7, "7"), (("a", 2.0), "a, 2"), ({"x": 1}, "x 1")],
)
def test_cells_are_short(value: object, text: str) -> None:
    assert cell(value) == text


def test_of_several_long_messages_only_the_first_is_told_to_its_end() -> None:
    told = Told()
    messages = ["short", "first\nwhere\nhow", "second\nwhere\nhow", "short too"]

    assert [told.tell(message) for message in messages] == ["short", "first\nwhere\nhow", "second", "short too"]
    assert not told.is_news("second\nwhere\nhow")
    assert told.is_news("third")
