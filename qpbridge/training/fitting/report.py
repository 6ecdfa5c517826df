"""The page that a bundle carries about its training: self-contained HTML."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.training.fitting.curves import curves_svg

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .75rem;border-bottom:1px solid #ddd;"
    "text-align:right}td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}"
    "figure{margin:1.5rem 0}figure img{width:32%;margin-right:1%}"
    ".swatch{display:inline-block;width:.9em;height:.9em;margin:0 .4em 0 1em;vertical-align:-.1em}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Pictures side by side.

    Parameters
    ----------
    caption : str
        Below them.
    parts : mapping of str to bytes
        JPEG files by what they show.
    """

    caption: str
    parts: Mapping[str, bytes] = field(default_factory=dict)


def training_report(
    title: str,
    facts: dict[str, str],
    rows: Sequence[dict[str, float]],
    matrix: ConfusionMatrix,
    colors: Mapping[str, tuple[int, int, int]],
    worst: Sequence[Picture] = (),
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
    worst : sequence of Picture
        Patches with the most pixels wrong.
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
        *_worst(worst, colors),
        "</html>",
    ]
    return "\n".join(parts).encode()


def _worst(worst: Sequence[Picture], colors: Mapping[str, tuple[int, int, int]]) -> list[str]:
    if not worst:
        return []
    legend = "".join(
        f'<span class=swatch style="background:rgb{rgb}"></span>{html.escape(name)}' for name, rgb in colors.items()
    )
    return ["<h2>Worst tiles: picture, annotation, prediction</h2>", f"<p>{legend}</p>", *map(_figure, worst)]


def _figure(picture: Picture) -> str:
    images = "".join(
        f'<img alt="{html.escape(name)}" src="data:image/jpeg;base64,{base64.b64encode(content).decode()}">'
        for name, content in picture.parts.items()
    )
    return f"<figure>{images}<figcaption>{html.escape(picture.caption)}</figcaption></figure>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table of text cells; without a head where the header is empty."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    first = f"<tr>{head}</tr>" if header else ""
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{first}{body}</table>"
