"""The demonstration's page: slides, annotations, predictions, curves and scores in one HTML file."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, RgbImage
from qpbridge.core.geometry import Region
from qpbridge.core.objects import PathClass
from qpbridge.evaluation.scoring import Shapes
from qpbridge.slides.slide import Slide
from qpbridge.training.fitting.curves import curves_svg
from qpbridge.training.fitting.report import STYLE, table
from qpbridge.vector.raster import rasterize

PICTURE_PX: Final = 900
DETAIL_UM: Final = 600.0
OPACITY: Final = 0.45

Labels: TypeAlias = Callable[[Region, int, int], LabelMap]
"""Gives the labels of a region in so many columns and rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One slide of the page.

    Parameters
    ----------
    name : str
        Of the image.
    open : callable
        Opens it, in the coordinates that QuPath shows.
    mpp : float
        Size of a level-0 pixel, µm.
    annotated, predicted : sequence of (geometry, int)
        Shapes with positions in the page's classes, level-0 px.
    truth : callable or None
        What there is, where that is known.
    detail : (float, float) or None
        Where one has to look twice, level-0 px.
    """

    name: str
    open: Callable[[], AbstractContextManager[Slide]]
    mpp: float
    annotated: Shapes
    predicted: Shapes
    truth: Labels | None = None
    detail: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the page shows.

    Parameters
    ----------
    slides : sequence of Shown
        The slides.
    classes : sequence of PathClass
        Position is the label.
    scores : sequence of sequence of str
        Rows of a table, its heads first.
    judged_by : str
        What the scores compare with.
    curves : Path
        ``curves.csv`` of the bundle.
    facts : dict of str
        What to tell first, by label.
    commands : sequence of str
        How to do the same by hand.
    """

    slides: Sequence[Shown]
    classes: Sequence[PathClass]
    scores: Sequence[Sequence[str]]
    judged_by: str
    curves: Path
    facts: dict[str, str]
    commands: Sequence[str]

    def to_html(self) -> bytes:
        """Return the page, which needs no other file."""
        head, *rows = self.scores
        parts = [
            "<!doctype html><html lang=en><meta charset=utf-8><title>qpbridge demo</title>"
            f"<style>{STYLE}{_STYLE}</style>",
            "<h1>qpbridge demo</h1>",
            table([], [[label, value] for label, value in self.facts.items()]),
            f"<p class=key>{self._key()}</p>",
            *(part for shown in self.slides for part in self._pictures(shown)),
            f"<h2>Scores against {html.escape(self.judged_by)}</h2>",
            table(list(head), [list(row) for row in rows]),
            "<h2>Training</h2>",
            curves_svg(_rows(self.curves), {item.name: item.color_rgb for item in self.classes}),
            "<h2>The same by hand</h2>",
            "<p>In a clone of the repository, with <code>uv run</code> in front of each line.</p>",
            f"<pre>{html.escape(chr(10).join(self.commands))}</pre></html>",
        ]
        return "\n".join(parts).encode()

    def _key(self) -> str:
        return "".join(
            f'<span><i style="background:rgb{item.color_rgb}"></i>{html.escape(item.name)}</span>'
            for item in self.classes
        )

    def _pictures(self, shown: Shown) -> Iterator[str]:
        with shown.open() as slide:
            whole = Region(x_px=0, y_px=0, width_px=slide.width_px, height_px=slide.height_px)
            for region in (whole, _detail(whole, shown)):
                yield f"<h2>{html.escape(shown.name)}, {region.width_px * shown.mpp / 1000:.1f} mm across</h2>"
                yield from self._figures(slide, region, shown)

    def _figures(self, slide: Slide, region: Region, shown: Shown) -> Iterator[str]:
        scale = min(1.0, PICTURE_PX / max(region.width_px, region.height_px))
        size = max(1, round(region.width_px * scale)), max(1, round(region.height_px * scale))
        pixels = slide.read(region, *size)
        yield _figure(pixels, "slide")
        yield _figure(self._tinted(pixels, rasterize(shown.annotated, region, *size)), "annotations")
        yield _figure(self._tinted(pixels, rasterize(shown.predicted, region, *size)), "prediction")
        if shown.truth is not None:
            yield _figure(self._tinted(pixels, shown.truth(region, *size)), "truth")

    def _tinted(self, pixels: RgbImage, labels: LabelMap) -> RgbImage:
        colors: npt.NDArray[np.uint8] = np.zeros((256, 3), np.uint8)
        colors[: len(self.classes)] = [item.color_rgb for item in self.classes]
        tint = cv2.addWeighted(pixels, 1 - OPACITY, colors[labels], OPACITY, 0)
        return np.where((labels == IGNORE_INDEX)[..., None], pixels, tint)


_STYLE: Final = (
    "figure{display:inline-block;margin:.5rem .5rem .5rem 0;width:calc(50% - 1rem)}figure img{width:100%}"
    "figcaption{color:#555}.key span{display:inline-block;margin-right:1rem}.key i{display:inline-block;width:1em;"
    "height:1em;margin-right:.4em;vertical-align:-.1em;border:1px solid #888}pre{background:#f4f4f4;padding:1rem;"
    "overflow:auto}"
)


def _detail(whole: Region, shown: Shown) -> Region:
    """Return a square around where one has to look twice, or else around the middle."""
    size_px = min(DETAIL_UM / shown.mpp, whole.width_px, whole.height_px)
    x_px, y_px = shown.detail or (whole.width_px / 2, whole.height_px / 2)
    left, top = np.clip((x_px, y_px), size_px / 2, np.array([whole.width_px, whole.height_px]) - size_px / 2)
    return Region(x_px=float(left) - size_px / 2, y_px=float(top) - size_px / 2, width_px=size_px, height_px=size_px)


def _figure(pixels: RgbImage, caption: str) -> str:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    source = base64.b64encode(encoded.tobytes()).decode()
    picture = f'<img alt="{caption}" src="data:image/jpeg;base64,{source}">'
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _rows(curves: Path) -> list[dict[str, float]]:
    text = curves.read_text(encoding="utf-8")
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(io.StringIO(text))]
