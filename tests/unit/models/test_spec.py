import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import DamagedBundleError, InvalidValueError
from qpbridge.models.recipe import Recipe
from qpbridge.models.registry import CONFIG_TYPES, family
from qpbridge.models.spec import Manifest, ModelClass, ModelSpec, Provenance, SplitMetrics, manifest_from_json
from qpbridge.slides.stains.staining import Staining

CLASSES = (ModelClass(name="Tumor", color_rgb=(200, 0, 0)), ModelClass(name="Glass", color_rgb=(1, 2, 3)))
WHERE = Path("model/spec.json")


def _manifest() -> Manifest:
    dmmn = family("dmmn")
    provenance = Provenance(
        created="2026-11-20T12:00:00+00:00",
        versions={"qpbridge": "0.1.0"},
        seed=3,
        recipe=Recipe(epochs=2),
        project="skin",
        training_entries=("a.tif",),
        validation_entries=("b.tif",),
        annotated_area_um2={"Tumor": 12.5},
        metrics=(SplitMetrics(split="validation", values={"mean IoU": 0.5, "IoU Glass": None}),),
        parent_digest="ab",
    )
    spec = dmmn.spec(dmmn.config_type(width=4, norm="batch", patch_px=64), CLASSES)
    return Manifest(weights_sha256="00", model=spec, provenance=provenance)


@pytest.mark.parametrize("staining", [None, Staining(method="macenko", rows=((0.6, 0.7, 0.3), (1.0, 2.5)))])
def test_a_manifest_comes_back_from_json_as_it_was(staining: Staining | None) -> None:
    manifest = _manifest()
    manifest = dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, staining=staining))

    assert manifest_from_json(manifest.to_json(), CONFIG_TYPES, WHERE) == manifest


def test_a_metric_that_is_no_number_becomes_none() -> None:
    metrics = (SplitMetrics(split="test", values={"mean IoU": math.nan}),)
    manifest = _manifest()
    manifest = dataclasses.replace(manifest, provenance=dataclasses.replace(manifest.provenance, metrics=metrics))

    read = manifest_from_json(manifest.to_json(), CONFIG_TYPES, WHERE)

    assert read.provenance.metrics[0].values == {"mean IoU": None}


def _set(*path: str | int, value: object) -> Callable[[Any], None]:
    def change(raw: Any) -> None:
        for key in path[:-1]:
            raw = raw[key]
        raw[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("schema_version", value=2), "schema_version 2, this qpbridge reads 1"),
        (_set("model", "family", value="vgg"), "family 'vgg', this qpbridge has dmmn"),
        (_set("model", "heads", 0, "channels", value="two"), r"`\$.model.heads\[0\].channels`"),
        (_set("model", "config", "width", value="wide"), r"`\$.model.config.width`"),
        (_set("model", "config", "width", value=0), r"`\$.model.config.width`"),
        (_set("model", "config", "patch_px", value=100), "patch_px=100"),
        (_set("model", "config", "depth", value=4), r"unknown fields: \$.model.config.depth"),
        (_set("model", "classes", 1, "alpha", value=4), r"unknown fields: \$.model.classes\[1\].alpha"),
        (_set("comment", value="hi"), r"unknown fields: \$.comment"),
        (_set("model", "views", 0, "fov", "mpp", value=-1), "-1"),
        (_set("provenance", "recipe", "epochs", value=0), r"epochs"),
        (_set("provenance", "seed", value=None), r"`\$.provenance.seed`"),
        (_set("model", "classes", value=[]), "two or more classes"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_with_the_place(change: Callable[[Any], None], message: str) -> None:
    raw = json.loads(_manifest().to_json())
    change(raw)

    with pytest.raises(DamagedBundleError, match=message) as caught:
        manifest_from_json(json.dumps(raw).encode(), CONFIG_TYPES, WHERE)
    assert str(WHERE) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"schema_version": 1}', b"\xff\xfe", b"[" * 100_000])
def test_content_that_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedBundleError, match=WHERE.name):
        manifest_from_json(content, CONFIG_TYPES, WHERE)


def test_a_field_that_an_older_writer_lacked_takes_its_default() -> None:
    raw = json.loads(_manifest().to_json())
    del raw["model"]["config"]["extra_outputs"]

    assert manifest_from_json(json.dumps(raw).encode(), CONFIG_TYPES, WHERE) == _manifest()


@pytest.mark.parametrize("classes", [(), CLASSES[:1], (CLASSES[0], CLASSES[0])])
def test_a_model_needs_two_classes_of_different_names(classes: tuple[ModelClass, ...]) -> None:
    spec = _manifest().model

    with pytest.raises(InvalidValueError, match="two or more classes"):
        ModelSpec(family="dmmn", variant="m3", config=spec.config, classes=classes, views=spec.views, heads=spec.heads)
