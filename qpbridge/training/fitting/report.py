"""The page that a bundle carries about its training: self-contained HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.training.fitting.curves import curves_svg

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .75rem;border-bottom:1px solid #ddd;"
    "text-align:right}td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}"
)


def training_report(
    title: str,
    facts: dict[str, str],
    rows: Sequence[dict[str, float]],
    matrix: ConfusionMatrix,
    colors: Mapping[str, tuple[int, int, int]],
) -> bytes:
    """Return the report of one training.

    Parameters
    ----------
    title : str
        Heading.
    facts : dict of str
        What to tell first, by label.
    rows : sequence of dict
        Of ``curves_rows``.
    matrix : ConfusionMatrix
        Of the chosen epoch on the validation pixels.
    colors : mapping of str to (int, int, int)
        Of the classes, as QuPath shows them.
    """
    scores = [
        [name, f"{iou:.3f}", f"{recall:.3f}", f"{precision:.3f}", f"{pixels:,}"]
        for name, iou, recall, precision, pixels in zip(
            matrix.class_names, matrix.iou, matrix.recall, matrix.precision, matrix.true_px, strict=True
        )
    ]
    confusion = [
        [name, *(f"{count:,}" for count in counts)]
        for name, counts in zip(matrix.class_names, matrix.counts, strict=True)
    ]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>",
        f"<h1>{html.escape(title)}</h1>",
        table([], [[label, value] for label, value in facts.items()]),
        "<h2>Curves</h2>",
        curves_svg(rows, colors),
        f"<h2>Validation pixels, mean IoU {matrix.mean_iou:.3f}</h2>",
        table(["class", "IoU", "recall", "precision", "labelled px"], scores),
        "<h2>Confusion (rows: annotated, columns: predicted)</h2>",
        table(["", *matrix.class_names, "none"], confusion),
        "</html>",
    ]
    return "\n".join(parts).encode()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table of text cells; without a head where the header is empty."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    first = f"<tr>{head}</tr>" if header else ""
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{first}{body}</table>"
