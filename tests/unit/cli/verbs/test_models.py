import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qpbridge.cli.verbs.models import app
from qpbridge.files import sha256
from qpbridge.models.bundle import save_bundle
from qpbridge.models.registry import FAMILIES, build, configure, family
from qpbridge.models.spec import ModelClass, Provenance

PARAMETERS = {
    "dmmn-segnet": 18_881_543,
    "dmmn-unet": 34_550_663,
    "dmmn-s2": 34_554_119,
    "dmmn-ms": 30_647_207,
    "dmmn-m2s": 25_947_047,
    "dmmn-m3": 27_071_303,
}
"""Ho et al. 2021, as counted in shared/models.md."""


def test_the_listing_counts_as_published() -> None:
    result = CliRunner().invoke(app, ["list", "--json"])

    records = json.loads(result.stdout)
    assert {one["variant"]: one["parameters"] for one in records if one["family"] == "dmmn"} == PARAMETERS
    assert {one["family"] for one in records} == {item.name for item in FAMILIES}
    assert records[0].keys() == {"family", "variant", "parameters", "views", "heads"}


def test_the_listing_is_readable_too() -> None:
    shown = CliRunner().invoke(app, ["list"]).stdout

    assert "dmmn-m3" in shown
    assert "27,071,303" in shown


def test_a_family_shows_each_setting_with_its_value_in_every_preset() -> None:
    document = json.loads(CliRunner().invoke(app, ["show", "dmmn", "--json"]).stdout)

    settings = {one["key"]: one for one in document["settings"]}
    assert document["presets"] == ["paper", "small"]
    assert settings["learning_rate"]["paper"] == 5e-5
    assert settings["epochs"]["paper"] == 20
    assert settings["variant"]["small"] in document["variants"]


def test_an_unknown_family_is_bad_usage_and_lists_the_known_ones() -> None:
    result = CliRunner().invoke(app, ["show", "unet9"])

    assert result.exit_code == 2
    assert "unknown family 'unet9'; there are: dmmn" in result.stderr


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    config, recipe = configure("dmmn", "small", {})
    classes = [ModelClass(name="Tumor", color_rgb=(200, 0, 0)), ModelClass(name="Stroma", color_rgb=(0, 200, 0))]
    spec = family("dmmn").spec(config, classes)
    provenance = Provenance(
        created="2026-11-20T12:00:00+00:00",
        versions={"qpbridge": "0.1.0"},
        seed=7,
        recipe=recipe,
        project="skin",
        training_entries=("a.svs",),
        validation_entries=(),
        annotated_area_um2={"Tumor": 1.0},
    )
    save_bundle(tmp_path / "model", spec, build(spec), provenance)
    return tmp_path / "model"


def test_a_bundle_shows_what_it_is_and_where_it_comes_from(bundle: Path) -> None:
    document = json.loads(CliRunner().invoke(app, ["show", str(bundle), "--json"]).stdout)

    assert document["digest"] == sha256(bundle / "weights.safetensors")
    assert [one["name"] for one in document["classes"]] == ["Tumor", "Stroma"]
    assert (document["seed"], document["project"]) == (7, "skin")


def test_a_bundle_is_exported_to_the_file_asked_for(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "qpbridge.workflows.export_model.export_onnx", lambda loaded, out: out.write_text(loaded.digest)
    )

    result = CliRunner().invoke(app, ["export", str(bundle), "--out", str(bundle / "m.onnx"), "--json"])

    digest = (bundle / "m.onnx").read_text()
    assert json.loads(result.stdout) == {
        "bundle": str(bundle),
        "digest": digest,
        "onnx": str(bundle / "m.onnx"),
        "bytes": 64,
    }


@pytest.mark.parametrize("verb", [["show"], ["export", "--out", "m.onnx"]])
def test_a_folder_without_a_model_is_told(verb: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*verb, str(tmp_path)])

    assert result.exit_code == 1
    assert "[BUNDLE_NOT_FOUND]" in result.stderr
