"""Draw the pictures of labels.md: annotations at the left, and what ``read_labels`` makes of them at the right.

Run from the root of the repository: ``uv run python docs/label_pictures.py [FOLDER]``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import shapely
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from shapely import Point, Polygon, box

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import Region
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.vector.labels import LabelRule, Subject, read_labels
from qpbridge.vector.raster import rasterize

WIDTH_PX, HEIGHT_PX = 400, 300
WHOLE: Final = Region(x_px=0, y_px=0, width_px=WIDTH_PX, height_px=HEIGHT_PX)
CLASSES: Final = ("Tumor", "Stroma", "Background")
COLORS: Final = {
    "Tumor": (200, 60, 60),
    "Stroma": (90, 160, 90),
    "Background": (235, 225, 170),
    "(none)": (235, 225, 170),
    "Ignore*": (120, 120, 120),
}
UNKNOWN_RGB: Final = (255, 255, 255)
_OUTLINE_RGB: Final = (60, 60, 140)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture of labels.md."""

    name: str
    objects: Sequence[PathObject]
    rule: LabelRule


def drawn(name: str | None, shape: Polygon, kind: ObjectKind = ObjectKind.ANNOTATION, **fields: Any) -> PathObject:
    """Return an object of a class, as a user would draw it."""
    path_class = None if name is None else PathClass(name, COLORS.get(name, _OUTLINE_RGB))
    return PathObject(id=f"{name}", kind=kind, geometry=shape, path_class=path_class, **fields)


def blob(x_px: float, y_px: float, radius_px: float, stretch: float = 1.4) -> Polygon:
    """Return a rounded shape."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radii = radius_px * (1 + 0.12 * np.sin(3 * angles) + 0.08 * np.cos(5 * angles))
    return Polygon(np.column_stack([x_px + stretch * radii * np.cos(angles), y_px + radii * np.sin(angles)]))


TISSUE: Final = LabelRule(class_names=CLASSES, unlabelled=2)
NUCLEI: Final = LabelRule(class_names=("(none)", "Tumor", "Stroma"), unlabelled=0, subject=Subject.NUCLEI)

PICTURES: Final = (
    Picture(
        name="partial",
        objects=[drawn("Tumor", blob(130, 120, 60)), drawn("Stroma", blob(300, 210, 45))],
        rule=TISSUE,
    ),
    Picture(
        name="region",
        objects=[
            drawn("Region*", box(40, 40, 270, 260)),
            drawn("Tumor", blob(120, 110, 45)),
            drawn("Stroma", blob(280, 165, 50)),
            drawn("Ignore*", blob(110, 210, 25)),
        ],
        rule=TISSUE,
    ),
    Picture(
        name="overlap",
        objects=[
            drawn("Stroma", blob(200, 150, 110)),
            drawn("Tumor", blob(190, 160, 70)),
            drawn("Ignore*", blob(150, 175, 24)),
            drawn("Stroma", blob(235, 170, 24)),
        ],
        rule=TISSUE,
    ),
    Picture(
        name="nuclei",
        objects=[
            drawn("Region*", box(40, 40, 260, 260)),
            *[
                drawn(name, Point(x, y).buffer(18), ObjectKind.DETECTION)
                for name, x, y in (("Tumor", 80, 90), ("Tumor", 135, 120), ("Stroma", 200, 200), ("Ignore*", 100, 200))
            ],
            drawn("Tumor", Point(215, 95).buffer(34), ObjectKind.CELL, nucleus=Point(215, 95).buffer(17)),
            drawn("Tumor", Point(330, 150).buffer(20), ObjectKind.DETECTION),
        ],
        rule=NUCLEI,
    ),
    Picture(
        name="tags",
        objects=[
            drawn("Region*: Tumor: Stroma", box(30, 50, 190, 250)),
            drawn("Region*", box(215, 50, 375, 250), metadata={"tissues": "Stroma"}),
        ],
        rule=TISSUE,
    ),
)


def draw(picture: Picture, folder: Path) -> Path:
    """Write a picture as PNG and return where."""
    figure = Figure(figsize=(7.2, 2.98), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axes, title in ((left, "drawn in QuPath"), (right, "labels")):
        axes.set(xlim=(0, WIDTH_PX), ylim=(HEIGHT_PX, 0), xticks=[], yticks=[], aspect="equal")
        axes.set_title(title, fontsize=9)
    left.set_facecolor((0.96, 0.93, 0.95))
    # As QuPath lists them below one another: large ones first.
    for item in sorted(picture.objects, key=lambda one: -one.geometry.area):
        _add_outline(left, item.geometry, item)
        if item.nucleus is not None:
            _add_outline(left, item.nucleus, item)
    _add_names(left, picture.objects)
    _show_labels(right, picture)
    path = folder / f"{picture.name}.png"
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path


def _add_outline(axes: Any, shape: Polygon, item: PathObject) -> None:
    color = _unit(item.path_class.color_rgb if item.path_class else _OUTLINE_RGB)
    vertices = shapely.get_coordinates(shape.exterior)
    axes.add_patch(PathPatch(Outline(vertices), facecolor=(*color, 0.25), edgecolor=color, linewidth=1.5))


def _add_names(axes: Any, objects: Sequence[PathObject]) -> None:
    for item in objects:
        if item.kind is not ObjectKind.ANNOTATION or item.path_class is None:
            continue
        note = "".join(f"\n{key} = {value}" for key, value in item.metadata.items())
        min_x, min_y, _, _ = item.geometry.bounds
        is_frame = item.path_class.name.startswith("Region*")
        place = (min_x, min_y - 6) if is_frame else (item.geometry.centroid.x, min_y + 13)
        align = {"ha": "left", "va": "bottom"} if is_frame else {"ha": "center", "va": "top"}
        axes.text(*place, item.path_class.name + note, fontsize=7, **align)


def _show_labels(axes: Any, picture: Picture) -> None:
    labels = read_labels(picture.objects, picture.rule, bounds=WHOLE)
    label_map = rasterize(labels.shapes, WHOLE, WIDTH_PX, HEIGHT_PX)
    palette = np.full((IGNORE_INDEX + 1, 3), UNKNOWN_RGB, np.uint8)
    names = picture.rule.class_names
    palette[: len(names)] = [COLORS[name] for name in names]
    axes.imshow(palette[label_map], extent=(0, WIDTH_PX, HEIGHT_PX, 0), interpolation="nearest")
    unknown = np.where(label_map == IGNORE_INDEX, 1.0, np.nan)
    grid = (np.arange(WIDTH_PX) + 0.5, np.arange(HEIGHT_PX) + 0.5)
    axes.contourf(*grid, np.nan_to_num(unknown), levels=[0.5, 1.5], colors="none", hatches=["////"])
    for area in labels.tagged:
        told = {True: "occurs", False: "absent", None: "?"}
        lines = [f"{name}: {told[is_there]}" for name, is_there in zip(names, area.presence, strict=True)]
        min_x, min_y, max_x, max_y = area.geometry.bounds
        axes.add_patch(PathPatch(Outline(shapely.get_coordinates(area.geometry.exterior)), fill=False, linewidth=1.5))
        middle = ((min_x + max_x) / 2, (min_y + max_y) / 2)
        axes.text(
            *middle, "\n".join(lines), fontsize=7, ha="center", va="center", bbox={"facecolor": "white", "pad": 3}
        )
    shown = [names[label] for label in np.unique(label_map) if label != IGNORE_INDEX]
    handles = [axes.scatter([], [], marker="s", color=[_unit(COLORS[name])], label=name) for name in shown]
    if handles:
        axes.legend(handles=handles, fontsize=6, loc="lower right", framealpha=1)


def _unit(rgb: tuple[int, int, int]) -> tuple[float, float, float]:
    return rgb[0] / 255, rgb[1] / 255, rgb[2] / 255


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "labels"
    target.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"hatch.color": "0.75"}):
        for one in PICTURES:
            print(draw(one, target))  # noqa: T201
