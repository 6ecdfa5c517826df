import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from qpbridge.errors import PackageMissingError
from qpbridge.models.bundle import Bundle, versions
from qpbridge.models.onnx_export import export_onnx
from qpbridge.models.recipe import Recipe
from qpbridge.models.registry import build, family
from qpbridge.models.spec import ModelClass, ModelSpec, Provenance

SMALL: dict[str, dict[str, object]] = {
    "dmmn": {"width": 2, "patch_px": 64, "norm": "batch", "extra_outputs": 1},
    "multiscale": {"backbone": "light", "width": 2, "patch_px": 64, "norm": "batch"},
    "foveation": {"segmenter": "unet", "width": 2, "patch_px": 32, "fields_px": (32, 64)},
    "weak_tissue": {"classifier": "light", "segmenter": "light", "width": 4, "patch_px": 32},
}
"""Settings that make the networks of each family small."""


def _bundle(variant: str, **settings: object) -> Bundle:
    name, _, short = variant.partition("-")
    chosen = family(name)
    classes = [ModelClass(name=name, color_rgb=(0, 0, 0)) for name in "abc"]
    spec = chosen.spec(chosen.config_type(**{**SMALL[name], "variant": short, **settings}), classes)
    provenance = Provenance(
        created="", versions=versions(), seed=0, recipe=Recipe(), project="",
        training_entries=(), validation_entries=(), annotated_area_um2={},
    )  # fmt: skip
    torch.manual_seed(0)
    network = build(spec)
    network(_views(spec, batch=4))  # moves the running statistics
    return Bundle(spec=spec, network=network.eval(), provenance=provenance, digest="d1")


def _views(spec: ModelSpec, batch: int) -> dict[str, torch.Tensor]:
    sizes = {view.name: view.fov.size_px for view in spec.views}
    return {name: torch.rand(batch, 3, size_px, size_px) for name, size_px in sizes.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "settings"),
    [
        ("dmmn-m3", {"pixels": "density"}),
        ("dmmn-segnet", {}),
        ("multiscale-msy_mm_i_mm", {"upsampling": "centers", "pixels": "density"}),
        ("multiscale-msyi", {"merge": "published"}),
        ("foveation-mean", {"pixels": "density"}),
        ("foveation-argmax", {}),
        ("foveation-random", {}),
        ("weak_tissue-multi_layer", {"pixels": "density"}),
    ],
)
@torch.no_grad()
def test_the_onnx_file_gives_the_network_s_output_for_any_batch(
    tmp_path: Path, variant: str, settings: dict[str, object]
) -> None:
    bundle = _bundle(variant, **settings)

    export_onnx(bundle, tmp_path / "m.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_inputs()] == [view.name for view in bundle.spec.views]
    heads = [head.name for head in bundle.spec.heads]
    for batch in (1, 3):
        x = _views(bundle.spec, batch)
        for values in x.values():
            values[:, :, :9], values[:, :, -9:] = 0, 1  # black and white, where logarithms end
        found = session.run(heads, {name: values.numpy() for name, values in x.items()})
        for name, values in zip(heads, found, strict=True):
            np.testing.assert_allclose(values, bundle.network(x)[name].numpy(), rtol=1e-3, atol=1e-4)
    metadata = {item.key: item.value for item in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert metadata["qpbridge.digest"] == "d1"
    assert [item["name"] for item in json.loads(metadata["qpbridge.spec"])["classes"]] == ["a", "b", "c"]


def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))

    with pytest.raises(PackageMissingError, match=r"needs onnxscript.*install qpbridge\[onnx\]"):
        export_onnx(_bundle("dmmn-unet"), tmp_path / "m.onnx")

    assert not (tmp_path / "m.onnx").exists()
