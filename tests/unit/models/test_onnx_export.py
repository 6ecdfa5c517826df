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
from qpbridge.models.spec import ModelClass, Provenance


def _bundle(variant: str, pixels: str = "intensity") -> Bundle:
    dmmn = family("dmmn")
    classes = [ModelClass(name=name, color_rgb=(0, 0, 0)) for name in "abc"]
    config = dmmn.config_type(variant=variant, width=2, patch_px=64, norm="batch", pixels=pixels, extra_outputs=1)
    spec = dmmn.spec(config, classes)
    provenance = Provenance(
        created="", versions=versions(), seed=0, recipe=Recipe(), project="",
        training_entries=(), validation_entries=(), annotated_area_um2={},
    )  # fmt: skip
    torch.manual_seed(0)
    network = build(spec)
    network({view.name: torch.rand(4, 3, 64, 64) for view in spec.views})  # moves the running statistics
    return Bundle(spec=spec, network=network.eval(), provenance=provenance, digest="d1")


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "pixels"), [("m3", "density"), ("segnet", "intensity")])
@torch.no_grad()
def test_the_onnx_file_gives_the_network_s_output_for_any_batch(tmp_path: Path, variant: str, pixels: str) -> None:
    bundle = _bundle(variant, pixels)

    export_onnx(bundle, tmp_path / "m.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_inputs()] == [view.name for view in bundle.spec.views]
    for batch in (1, 3):
        x = {view.name: torch.rand(batch, 3, 64, 64) for view in bundle.spec.views}
        for values in x.values():
            values[:, :, :9], values[:, :, -9:] = 0, 1  # black and white, where logarithms end
        found = session.run(["logits", "unlabelled"], {name: values.numpy() for name, values in x.items()})
        for name, values in zip(("logits", "unlabelled"), found, strict=True):
            np.testing.assert_allclose(values, bundle.network(x)[name].numpy(), rtol=1e-3, atol=1e-4)
    metadata = {item.key: item.value for item in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert metadata["qpbridge.digest"] == "d1"
    assert [item["name"] for item in json.loads(metadata["qpbridge.spec"])["classes"]] == ["a", "b", "c"]


def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))

    with pytest.raises(PackageMissingError, match=r"needs onnxscript.*install qpbridge\[onnx\]"):
        export_onnx(_bundle("unet"), tmp_path / "m.onnx")

    assert not (tmp_path / "m.onnx").exists()
