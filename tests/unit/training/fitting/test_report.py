import base64
import re
from html.parser import HTMLParser

import numpy as np

from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.training.fitting.report import Picture, training_report

ROWS = [
    {"epoch": e, "training_loss": 1 / e, "validation_loss": 2 / e, "mean_iou": 0.1 * e, "iou A": 0.1 * e}
    for e in (1.0, 2.0)
]
COLORS = {"A": (200, 0, 0)}


class Cells(HTMLParser):
    """Texts of all table cells, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self._is_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self._is_cell = True
        self.links += [value or "" for key, value in attrs if key in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        self._is_cell &= tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self._is_cell:
            self.rows[-1][-1] += data


def page(names: tuple[str, ...] = ("Tumor", "Stroma")) -> str:
    matrix = ConfusionMatrix(names, np.array([[300, 100, 0], [50, 1550, 0]]))
    return training_report("Training on <case>", {"network": "dmmn-m3", "seed": "1 & 2"}, ROWS, matrix, COLORS).decode()


def test_the_page_tells_facts_scores_and_confusion() -> None:
    cells = Cells()
    cells.feed(page())

    assert ["network", "dmmn-m3"] in cells.rows
    assert ["seed", "1 & 2"] in cells.rows
    assert ["Tumor", "0.667", "0.750", "0.857", "400"] in cells.rows
    assert ["Stroma", "0.912", "0.969", "0.939", "1,600"] in cells.rows
    assert ["Stroma", "50", "1,550", "0"] in cells.rows
    assert "mean IoU 0.789" in page()


def test_names_cannot_break_the_page() -> None:
    text = page(("<script>alert(1)</script>", "a & b"))

    cells = Cells()
    cells.feed(text)
    assert "<script" not in text
    assert ["", "<script>alert(1)</script>", "a & b", "none"] in cells.rows
    assert "<title>Training on &lt;case&gt;</title>" in text


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = page()
    cells = Cells()
    cells.feed(text)

    assert text.count("<svg") == 1
    assert all(link.startswith("#") for link in cells.links)
    assert not re.search(r"@import|url\((?!#)", text)


def test_the_worst_tiles_are_shown_with_their_colors() -> None:
    matrix = ConfusionMatrix(("A", "B"), np.array([[10, 0, 0], [0, 0, 0]]))
    shown = [Picture(caption="a & b.svs", parts={"picture": b"JPEG1", "annotation": b"JPEG2", "prediction": b"JPEG3"})]

    text, plain = (training_report("t", {}, ROWS, matrix, COLORS, one).decode() for one in (shown, []))

    cells = Cells()
    cells.feed(text)
    assert [base64.b64decode(link.split(",")[1]) for link in cells.links if "," in link] == [
        b"JPEG1",
        b"JPEG2",
        b"JPEG3",
    ]
    assert "a &amp; b.svs" in text
    assert "background:rgb(200, 0, 0)" in text
    assert "Worst" not in plain


def test_a_class_without_pixels_has_no_score() -> None:
    matrix = ConfusionMatrix(("A", "B"), np.array([[10, 0, 0], [0, 0, 0]]))

    cells = Cells()
    cells.feed(training_report("t", {}, ROWS, matrix, COLORS).decode())

    assert ["B", "nan", "nan", "nan", "0"] in cells.rows
