"""Draw the pictures of qupath.md: what is drawn, what a small network finds, and what a second round leaves.

Run from the root of the repository: ``uv run python docs/qupath_pictures.py [FOLDER]``; takes some minutes on a CPU.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import shapely
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.qupath.geojson import read_objects, write_objects
from qpbridge.qupath.writing import create_project
from qpbridge.slides.opening import open_slide
from qpbridge.slides.synthetic import CLASSES, SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import partial_annotations
from qpbridge.workflows.entries.making import entry_of_slide
from qpbridge.workflows.predict import predict
from qpbridge.workflows.requests import PredictRequest, TrainRequest
from qpbridge.workflows.train import train

EDGE_PX: Final = 1536
MPP: Final = 1.0
SETTINGS: Final = {"epochs": "40", "samples_per_epoch": "128"}
_SHIFT_PX: Final = 60


def main(target: Path) -> None:
    """Make a slide, annotate, train, predict, edit and predict again; draw each step."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pixels, drawn = _made(folder)
        _draw(target / "annotate.png", pixels, drawn)
        project, model, out = folder / "project", folder / "model", folder / "out"
        asked = TrainRequest(project=project, out=model, family="dmmn", preset="small", settings=SETTINGS)
        train(asked, SilentProgress())
        found = _predicted(project, model, out)
        _draw(target / "predict.png", pixels, found)

        tumors = [item for item in found if item.path_class and item.path_class.name == "Tumor"]
        edited = max(tumors, key=lambda item: item.geometry.area)
        moved = dataclasses.replace(edited, geometry=edited.geometry.buffer(_SHIFT_PX).simplify(8), is_locked=True)
        results = next(out.glob("*.geojson"))
        write_objects(results, [moved if item is edited else item for item in read_objects(results).objects])
        _draw(target / "review.png", pixels, _predicted(project, model, out), moved.id)


def _made(folder: Path) -> tuple[Any, Sequence[PathObject]]:
    spec = SyntheticSpec(width_px=EDGE_PX, height_px=EDGE_PX, mpp=MPP, seed=7, has_context_class=False)
    slide, path = make_slide(spec), folder / "slide.tif"
    write_slide(path, slide)
    drawn = partial_annotations(slide, share=0.08)
    with open_slide(path) as opened:
        entry = entry_of_slide(opened, drawn)
        pixels = opened.read(opened.region, EDGE_PX // 2, EDGE_PX // 2)
    create_project(folder / "project", [entry], CLASSES)
    return pixels, drawn


def _predicted(project: Path, model: Path, out: Path) -> Sequence[PathObject]:
    predict(PredictRequest(inputs=(project,), model=model, out=out), SilentProgress())
    return read_objects(next(out.glob("*.geojson"))).objects


def _draw(path: Path, pixels: Any, objects: Sequence[PathObject], locked: str | None = None) -> None:
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(pixels, extent=(0, EDGE_PX, EDGE_PX, 0))
    axes.set(xlim=(0, EDGE_PX), ylim=(EDGE_PX, 0), xticks=[], yticks=[])
    for item in sorted(objects, key=lambda one: -one.geometry.area):
        color = [value / 255 for value in item.path_class.color_rgb] if item.path_class else [0, 0, 0]
        width = 4.0 if item.id == locked else 1.4
        axes.add_patch(PathPatch(_outline(item.geometry), facecolor=(*color, 0.3), edgecolor=color, linewidth=width))
    names = {item.path_class.name: item.path_class.color_rgb for item in objects if item.path_class}
    handles = [
        axes.scatter([], [], marker="s", color=[[value / 255 for value in rgb]], label=name)
        for name, rgb in names.items()
    ]
    axes.legend(handles=handles, fontsize=7, loc="lower right", framealpha=1)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _outline(shape: Any) -> Outline:
    # Holes run the other way round, or they would be filled.
    rings = [
        ring for part in shapely.get_parts(shapely.orient_polygons(shape)) for ring in (part.exterior, *part.interiors)
    ]
    return Outline.make_compound_path(*(Outline(shapely.get_coordinates(ring), closed=True) for ring in rings))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "qupath")
