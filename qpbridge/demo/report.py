"""The demonstration's page: slide, annotations, prediction, truth, curves and scores in one HTML file."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, RgbImage
from qpbridge.core.geometry import Region
from qpbridge.demo.judging import CLASS_NAMES
from qpbridge.demo.making import DemoCase
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.evaluation.scoring import Shapes
from qpbridge.slides.opening import open_slide
from qpbridge.slides.slide import Slide
from qpbridge.slides.synthetic import CLASSES
from qpbridge.training.curves import curves_svg
from qpbridge.training.report import STYLE, table
from qpbridge.vector.labels import label_shapes
from qpbridge.vector.raster import rasterize

PICTURE_PX = 900
DETAIL_UM = 600.0
OPACITY = 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What the page shows.

    Parameters
    ----------
    slide : Path
        The slide's file.
    case : DemoCase
        Its truth and annotations.
    predicted : sequence of (geometry, int)
        Shapes with positions in ``CLASS_NAMES``, level-0 px.
    matrix : ConfusionMatrix
        Against the truth.
    curves : Path
        ``curves.csv`` of the bundle.
    facts : dict of str
        What to tell first, by label.
    commands : sequence of str
        How to do the same by hand.
    """

    slide: Path
    case: DemoCase
    predicted: Shapes
    matrix: ConfusionMatrix
    curves: Path
    facts: dict[str, str]
    commands: Sequence[str]


def demo_page(results: Results) -> bytes:
    """Return the page as self-contained HTML."""
    matrix = results.matrix
    scores = [
        [name, f"{iou:.3f}", f"{recall:.3f}", f"{precision:.3f}"]
        for name, iou, recall, precision in zip(
            matrix.class_names, matrix.iou, matrix.recall, matrix.precision, strict=True
        )
    ]
    scores.append(["mean", f"{matrix.mean_iou:.3f}", f"{matrix.mean_recall:.3f}", f"{matrix.mean_precision:.3f}"])
    with open_slide(results.slide) as slide:
        whole = Region(x_px=0, y_px=0, width_px=slide.width_px, height_px=slide.height_px)
        pictures = [*_pictures(slide, whole, results), *_pictures(slide, _detail(results), results)]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>qpbridge demo</title><style>{STYLE}{_STYLE}</style>",
        "<h1>qpbridge demo</h1>",
        table(["", ""], [[label, value] for label, value in results.facts.items()]),
        f"<p class=key>{_key()}</p>",
        *pictures,
        "<h2>Scores against the truth, where nothing was annotated</h2>",
        table(["class", "IoU", "recall", "precision"], scores),
        "<h2>Training</h2>",
        curves_svg(_rows(results.curves)),
        "<h2>The same by hand</h2>",
        f"<pre>{html.escape(chr(10).join(results.commands))}</pre></html>",
    ]
    return "\n".join(parts).encode()


_STYLE = (
    "figure{display:inline-block;margin:.5rem .5rem .5rem 0;width:calc(50% - 1rem)}figure img{width:100%}"
    "figcaption{color:#555}.key span{display:inline-block;margin-right:1rem}.key i{display:inline-block;width:1em;"
    "height:1em;margin-right:.4em;vertical-align:-.1em;border:1px solid #888}pre{background:#f4f4f4;padding:1rem;"
    "overflow:auto}"
)


def _pictures(slide: Slide, region: Region, results: Results) -> list[str]:
    scale = min(1.0, PICTURE_PX / max(region.width_px, region.height_px))
    width, height = round(region.width_px * scale), round(region.height_px * scale)
    pixels = slide.read(region, width, height)
    annotated = rasterize(label_shapes(results.case.annotations, CLASS_NAMES).shapes, region, width, height)
    predicted = rasterize(results.predicted, region, width, height)
    truth = results.case.slide.labels(region, width, height)
    size_um = region.width_px * results.case.slide.spec.mpp
    return [
        f"<h2>{size_um / 1000:.1f} mm across</h2>",
        _figure(pixels, "slide"),
        _figure(_tinted(pixels, annotated), "annotations"),
        _figure(_tinted(pixels, predicted), "prediction"),
        _figure(_tinted(pixels, truth), "truth"),
    ]


def _detail(results: Results) -> Region:
    """Return a square around the border of the context class, where one has to look twice."""
    slide = results.case.slide
    size_px = min(DETAIL_UM / slide.spec.mpp, slide.width_px, slide.height_px)
    cells = 64
    labels = slide.labels(slide.bounds, cells, cells)
    rows, columns = np.nonzero(labels == CLASS_NAMES.index("Benign"))
    middle = len(rows) // 2
    x, y = (columns[middle], rows[middle]) if len(rows) else (cells // 2, cells // 2)
    left = np.clip((x + 0.5) / cells * slide.width_px - size_px / 2, 0, slide.width_px - size_px)
    top = np.clip((y + 0.5) / cells * slide.height_px - size_px / 2, 0, slide.height_px - size_px)
    return Region(x_px=float(left), y_px=float(top), width_px=size_px, height_px=size_px)


def _tinted(pixels: RgbImage, labels: LabelMap) -> RgbImage:
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(CLASSES)] = [item.color_rgb for item in CLASSES]
    tint = cv2.addWeighted(pixels, 1 - OPACITY, colors[labels], OPACITY, 0)
    return np.where((labels == IGNORE_INDEX)[..., None], pixels, tint)


def _figure(pixels: RgbImage, caption: str) -> str:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    source = base64.b64encode(encoded.tobytes()).decode()
    picture = f'<img alt="{caption}" src="data:image/jpeg;base64,{source}">'
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _key() -> str:
    return "".join(
        f'<span><i style="background:rgb{item.color_rgb}"></i>{html.escape(item.name)}</span>' for item in CLASSES
    )


def _rows(curves: Path) -> list[dict[str, float]]:
    text = curves.read_text(encoding="utf-8")
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(io.StringIO(text))]
