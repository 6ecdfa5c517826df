"""A model that tells classes apart by color, one that finds dark spots, and pictures and projects for both."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shapely import Polygon, box
from torch import Tensor, nn

from qpbridge.core.geometry import FieldOfView, PixelCalibration, View
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.models import bundle as bundles
from qpbridge.models.bundle import Bundle
from qpbridge.models.families.dmmn import DmmnConfig
from qpbridge.models.families.use_net import UseNetConfig
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import Head, ModelClass, ModelSpec, Provenance
from qpbridge.qupath.writing import NewEntry, create_project

COLORS = {"Tumor": (200, 30, 30), "Stroma": (30, 200, 30), "Background": (255, 255, 255)}


class ColorNetwork(nn.Module):
    """Red is Tumor, green is Stroma, white is Background."""

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        red, green, blue = views["x20"].unbind(1)
        return {"logits": torch.stack([red - green, green - red, 2 * blue - 1], dim=1)}


@pytest.fixture
def color_bundle(monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The model that every path of a bundle leads to."""
    spec = ModelSpec(
        family="dmmn",
        variant="unet",
        config=DmmnConfig(variant="unet"),
        classes=tuple(ModelClass(name=name, color_rgb=color) for name, color in COLORS.items()),
        views=(View(name="x20", fov=FieldOfView(size_px=64, mpp=0.5)),),
        heads=(Head(name="logits", channels=3),),
    )
    provenance = Provenance(
        created="2026-11-20T12:00:00+00:00",
        versions={},
        seed=0,
        recipe=Recipe(),
        project="colors",
        training_entries=("learned.png",),
        validation_entries=(),
        annotated_area_um2={},
    )
    bundle = Bundle(spec=spec, network=ColorNetwork(), provenance=provenance, digest="f00d" * 16)
    monkeypatch.setattr(bundles, "load_bundle", lambda _: bundle)
    for workflow in ("predict", "predicting.region"):
        monkeypatch.setattr(f"qpbridge.workflows.{workflow}.load_bundle", lambda _: bundle)
    return bundle


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """Write a picture of 400 x 300 px: white, with rectangles (left, top, right, bottom) of some classes."""

    def write(name: str, **areas: tuple[int, int, int, int]) -> Path:
        pixels = np.full((300, 400, 3), 255, np.uint8)
        for class_name, (left, top, right, bottom) in areas.items():
            pixels[top:bottom, left:right] = COLORS[class_name]
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def make_project(tmp_path: Path, draw: Callable[..., Path]) -> Callable[..., Path]:
    """Make a project of pictures, left half Tumor and right half Stroma, with the annotations given by image name."""

    def make(annotations: Mapping[str, Sequence[PathObject]], mpp: float | None = 0.5, folder: str = "project") -> Path:
        calibration = None if mpp is None else PixelCalibration.square(mpp)
        entries = [
            NewEntry(
                slide_path=draw(f"slides/{name}", Tumor=(0, 0, 200, 300), Stroma=(200, 0, 400, 300)),
                name=name,
                width_px=400,
                height_px=300,
                downsamples=(1.0,),
                calibration=calibration,
                objects=objects,
            )
            for name, objects in annotations.items()
        ]
        create_project(tmp_path / folder, entries, [PathClass(name, color) for name, color in COLORS.items()])
        return tmp_path / folder

    return make


@pytest.fixture
def annotate() -> Callable[..., PathObject]:
    """Return an annotation of a class over a rectangle (left, top, right, bottom), level-0 px."""

    def make(class_name: str, left: float, top: float, right: float, bottom: float) -> PathObject:
        path_class = PathClass(class_name, COLORS.get(class_name, (90, 90, 90)))
        outline = box(left, top, right, bottom)
        return PathObject(id=str(uuid.uuid4()), kind=ObjectKind.ANNOTATION, geometry=outline, path_class=path_class)

    return make


MPP = 0.25
SPOTS = [box(40, 40, 60, 60), box(100, 40, 124, 60), box(40, 120, 58, 144)]
"""Level-0 px, of 200 x 200."""


class SpotNetwork(nn.Module):
    """What is dark is nucleus and marker, and all of it is tumor."""

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        dark = 20 * (0.5 - views["x1"].mean(dim=1, keepdim=True))
        return {"mask": dark, "marker": dark, "classes": torch.cat([dark, -dark], dim=1)}


@pytest.fixture
def spot_bundle(monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The model that every path of a bundle leads to."""
    names = {"Tumor": True, "Stroma": True, "(unlabelled)": False}
    spec = ModelSpec(
        family="use_net",
        variant="unet",
        config=UseNetConfig(variant="unet", patch_px=64),
        classes=tuple(ModelClass(name=name, color_rgb=(9, 9, 9), is_written=shown) for name, shown in names.items()),
        views=(View(name="x1", fov=FieldOfView(size_px=64, mpp=MPP)),),
        heads=(Head(name="mask", channels=1), Head(name="marker", channels=1), Head(name="classes", channels=2)),
    )
    provenance = Provenance(
        created="2026-11-29T12:00:00+00:00",
        versions={},
        seed=0,
        recipe=Recipe(),
        project="spots",
        training_entries=("spots.png",),
        validation_entries=(),
        annotated_area_um2={},
    )
    bundle = Bundle(spec=spec, network=SpotNetwork(), provenance=provenance, digest="beef" * 16)
    monkeypatch.setattr(bundles, "load_bundle", lambda _: bundle)
    monkeypatch.setattr("qpbridge.workflows.predict.load_bundle", lambda _: bundle)
    return bundle


@pytest.fixture
def spot_project(tmp_path: Path) -> Callable[..., Path]:
    """Make a project of one slide with dark spots, and the objects given."""

    def make(objects: Sequence[PathObject]) -> Path:
        pixels = np.full((200, 200, 3), (230, 190, 220), np.uint8)
        for spot in SPOTS:
            left, top, right, bottom = map(int, spot.bounds)
            pixels[top:bottom, left:right] = (70, 40, 110)
        Image.fromarray(pixels).save(tmp_path / "spots.png")
        entry = NewEntry(
            slide_path=tmp_path / "spots.png",
            name="spots.png",
            width_px=200,
            height_px=200,
            downsamples=(1.0,),
            calibration=PixelCalibration.square(MPP),
            objects=objects,
        )
        create_project(tmp_path / "project", [entry], [])
        return tmp_path / "project"

    return make


def nucleus(outline: Polygon, class_name: str | None = "Tumor", kind: ObjectKind = ObjectKind.DETECTION) -> PathObject:
    """Return an object with an outline."""
    path_class = None if class_name is None else PathClass(class_name, (9, 9, 9))
    return PathObject(id=str(uuid.uuid4()), kind=kind, geometry=outline, path_class=path_class)


@pytest.fixture
def make_nucleus() -> Callable[..., PathObject]:
    """Return what makes objects of outlines."""
    return nucleus
