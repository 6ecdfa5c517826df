import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from qpbridge import files
from qpbridge.errors import BundleNotFoundError, DamagedBundleError
from qpbridge.models.bundle import load_bundle, save_bundle, versions
from qpbridge.models.recipe import Recipe
from qpbridge.models.registry import build, family
from qpbridge.models.spec import ModelClass, ModelSpec, Provenance

DMMN = family("dmmn")
CLASSES = [ModelClass(name=name, color_rgb=(0, 0, 0)) for name in ("Tumor", "Stroma")]
SPEC = DMMN.spec(DMMN.config_type(variant="unet", width=2, patch_px=64, norm="batch"), CLASSES)
PROVENANCE = Provenance(
    created="2026-11-20T12:00:00+00:00",
    versions=versions(),
    seed=1,
    recipe=Recipe(),
    project="skin",
    training_entries=("a.tif",),
    validation_entries=(),
    annotated_area_um2={"Tumor": 5.0, "Stroma": 2.0},
)


def _assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    # torch's own comparison imports its compiler, which takes seconds.
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)


def _save(folder: Path, spec: ModelSpec = SPEC) -> str:
    torch.manual_seed(0)
    return save_bundle(folder, spec, build(spec), PROVENANCE)


def _rewrite_spec(folder: Path, *path: str, value: object) -> None:
    raw = json.loads((folder / "spec.json").read_text())
    inner = raw
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (folder / "spec.json").write_text(json.dumps(raw))


def test_a_bundle_comes_back_as_it_was(tmp_path: Path) -> None:
    network = build(SPEC).to(memory_format=torch.channels_last)
    network(dict.fromkeys(["x1"], torch.rand(4, 3, 64, 64)))

    digest = save_bundle(tmp_path / "m", SPEC, network, PROVENANCE)
    bundle = load_bundle(tmp_path / "m")

    assert (bundle.spec, bundle.provenance, bundle.digest) == (SPEC, PROVENANCE, digest)
    assert digest == files.sha256(tmp_path / "m" / "weights.safetensors")
    x = {"x1": torch.rand(1, 3, 64, 64)}
    assert not bundle.network.training
    _assert_close(bundle.network(x)["logits"], network.eval()(x)["logits"])
    assert all(weights.requires_grad for weights in bundle.network.parameters())


def test_equal_weights_have_equal_digests(tmp_path: Path) -> None:
    assert _save(tmp_path / "a") == _save(tmp_path / "b")


def test_card_curves_and_attachments_lie_in_the_folder(tmp_path: Path) -> None:
    curves = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "mean IoU": 0.7}]

    save_bundle(tmp_path / "m", SPEC, build(SPEC), PROVENANCE, curves, {"report.html": b"<html>"})

    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "README.md", "curves.csv", "report.html", "spec.json", "weights.safetensors",
    ]  # fmt: skip
    assert (tmp_path / "m" / "curves.csv").read_text().splitlines() == ["epoch,loss,mean IoU", "1,0.5,", "2,0.25,0.7"]
    assert (tmp_path / "m" / "README.md").read_text().startswith("# dmmn-unet: Tumor, Stroma")
    assert (tmp_path / "m" / "report.html").read_bytes() == b"<html>"


def test_a_failed_write_leaves_the_bundle_that_was_there(tmp_path: Path) -> None:
    digest = _save(tmp_path / "m")

    with pytest.raises(TypeError):
        save_bundle(tmp_path / "m", SPEC, build(SPEC), PROVENANCE, attachments={"report.html": None})  # type: ignore[dict-item]

    assert load_bundle(tmp_path / "m").digest == digest
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    _save(tmp_path / "m")
    before = torch.get_rng_state()

    load_bundle(tmp_path / "m")

    assert torch.equal(torch.get_rng_state(), before)


def test_a_folder_without_spec_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match=r"no model bundle at .*has no spec\.json"):
        load_bundle(tmp_path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    _save(tmp_path / "m")
    (tmp_path / "m" / "weights.safetensors").unlink()

    with pytest.raises(DamagedBundleError, match=r"has no weights\.safetensors"):
        load_bundle(tmp_path / "m")


def test_changed_weights_are_refused_with_both_digests(tmp_path: Path) -> None:
    expected = _save(tmp_path / "m")
    path = tmp_path / "m" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(DamagedBundleError, match=f"expected SHA-256 {expected}, found {files.sha256(path)}"):
        load_bundle(tmp_path / "m")


def _replace_weights(folder: Path, content: bytes | dict[str, torch.Tensor]) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(content) if isinstance(content, bytes) else save_file(content, path)
    _rewrite_spec(folder, "weights_sha256", value=files.sha256(path))


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("head.1.bias", torch.zeros(5), r"'head.1.bias': expected float32\[2\], found float32\[5\]"),
        ("head.1.bias", torch.zeros(2, dtype=torch.float64), r"expected float32\[2\], found float64\[2\]"),
        ("head.1.bias", None, r"expected float32\[2\], found none"),
        ("extra", torch.zeros(1), r"'extra': expected none, found float32\[1\]"),
    ],
)
def test_weights_of_another_network_are_refused(
    tmp_path: Path, name: str, tensor: torch.Tensor | None, message: str
) -> None:
    _save(tmp_path / "m")
    weights = load_file(tmp_path / "m" / "weights.safetensors")
    weights.pop(name, None)
    _replace_weights(tmp_path / "m", weights if tensor is None else weights | {name: tensor})

    with pytest.raises(DamagedBundleError, match=f"1 tensors differ.*{message}"):
        load_bundle(tmp_path / "m")


def test_a_pickle_in_place_of_weights_is_refused_unread(tmp_path: Path) -> None:
    _save(tmp_path / "m")
    torch.save({"a": torch.zeros(1)}, tmp_path / "pickle")
    _replace_weights(tmp_path / "m", (tmp_path / "pickle").read_bytes())

    with pytest.raises(DamagedBundleError, match="no safetensors file"):
        load_bundle(tmp_path / "m")


@pytest.mark.parametrize("key", ["variant", "views", "heads"])
def test_a_spec_that_contradicts_its_configuration_is_refused(tmp_path: Path, key: str) -> None:
    _save(tmp_path / "m")
    _rewrite_spec(tmp_path / "m", "model", key, value="m3" if key == "variant" else [])

    with pytest.raises(DamagedBundleError, match=f"its configuration makes {key}"):
        load_bundle(tmp_path / "m")
