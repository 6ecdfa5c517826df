"""Models, read without torch."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import BundleNotFoundError, DamagedBundleError, PathRefusedError
from qpbridge.service.catalog import Catalog
from qpbridge.service.places import AllowedPlaces
from qpbridge.workflows.entries.roots import reading_only_in

MODEL = {
    "family": "dmmn",
    "variant": "unet",
    "config": {"variant": "unet", "patch_px": 256, "mpp": 0.5, "width": 8},
    "classes": [
        {"name": "Tumor", "color_rgb": [200, 0, 0], "is_written": True},
        {"name": "Background", "color_rgb": [255, 255, 255], "is_written": False},
    ],
    "views": [{"name": "x1", "fov": {"size_px": 256, "mpp": 0.5}}],
    "heads": [{"name": "logits", "channels": 2}],
}
PROVENANCE = {
    "created": "2026-11-20T12:00:00+00:00",
    "versions": {"torch": "2.12"},
    "seed": 3,
    "recipe": {},
    "project": "skin",
    "training_entries": ["a"],
    "validation_entries": [],
    "annotated_area_um2": {"Tumor": 5.0},
    "metrics": [{"split": "validation", "values": {"mean IoU": 0.5, "Dice": None}}],
    "parent_digest": None,
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write the spec of a model."""

    def spec(name: str, folder: Path = tmp_path / "state" / "models", **changes: Any) -> Path:
        document = {"schema_version": 1, "weights_sha256": "f00d", "model": MODEL, "provenance": PROVENANCE, **changes}
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "spec.json").write_text(json.dumps(document))
        return folder / name

    return spec


def test_a_model_says_what_it_is_and_where_it_comes_from(places: AllowedPlaces, write: Callable[..., Path]) -> None:
    folder = write("tissue")

    model = Catalog(places).model("tissue")

    assert (model.name, model.path, model.digest, model.family) == ("tissue", str(folder), "f00d", "dmmn")
    assert [(one.name, one.color_rgb.red, one.is_written) for one in model.classes] == [
        ("Tumor", 200, True),
        ("Background", 255, False),
    ]
    assert (model.views[0].size_px, model.heads[0].channels, model.config["width"]) == (256, 2, "8")
    assert model.provenance.training_entries == ["a"]
    assert model.provenance.annotated_area_um2 == {"Tumor": 5.0}
    metrics = {one.name: one.HasField("value") for one in model.provenance.metrics[0].values}
    assert metrics == {"mean IoU": True, "Dice": False}


def test_models_are_listed_by_name_and_what_cannot_be_read_is_told(
    places: AllowedPlaces, write: Callable[..., Path]
) -> None:
    for name in ("b", "A", ".draft"):
        write(name)
    write("damaged", model={"family": "dmmn"})
    write("newer", schema_version=2)
    (places.model_folders[0] / "no model").mkdir()
    (places.model_folders[0] / "text").mkdir()
    (places.model_folders[0] / "text" / "spec.json").write_bytes(b"\xff" * 5_000_000)
    (places.model_folders[0] / "away").symlink_to("/")
    (places.model_folders[0] / "loop").symlink_to("loop")

    models, failures = Catalog(places).listing()

    assert [model.name for model in models] == ["A", "b"]
    assert {failure.entry: failure.reason for failure in failures} == dict.fromkeys(
        ["damaged", "newer", "text"], "DAMAGED_BUNDLE"
    )


def test_a_model_in_a_root_is_named_by_its_path_and_one_elsewhere_refused(
    places: AllowedPlaces, write: Callable[..., Path], root: Path, tmp_path: Path
) -> None:
    folder = write("own", root)
    write("secret", tmp_path / "elsewhere")
    (places.model_folders[0] / "link").symlink_to(tmp_path / "elsewhere" / "secret")
    catalog = Catalog(places)

    assert catalog.model(str(folder)).name == str(folder)
    assert [failure.reason for failure in catalog.listing()[1]] == ["PATH_REFUSED"]
    with pytest.raises(PathRefusedError):
        catalog.model(str(tmp_path / "elsewhere" / "secret"))
    with pytest.raises(BundleNotFoundError, match=r"has no spec\.json"):
        catalog.model(str(root))


def test_a_model_is_read_again_only_when_it_has_changed(places: AllowedPlaces, write: Callable[..., Path]) -> None:
    write("tissue")
    catalog = Catalog(places)
    first = catalog.model("tissue")

    assert catalog.model("tissue") is first
    write("tissue", weights_sha256="beef00")
    assert catalog.model("tissue").digest == "beef00"
    (places.model_folders[0] / "tissue" / "spec.json").write_text("{}")
    with pytest.raises(DamagedBundleError, match="no model spec"):
        catalog.model("tissue")


def test_models_are_read_without_torch() -> None:
    program = "import sys, qpbridge.service.catalog; print('torch' in sys.modules)"

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "False"


def test_a_spec_that_is_a_link_leads_nowhere_else(
    places: AllowedPlaces, write: Callable[..., Path], tmp_path: Path
) -> None:
    outside, inside = write("secret", folder=tmp_path / "elsewhere"), write("tissue")
    (inside / "spec.json").unlink()
    (inside / "spec.json").symlink_to(outside / "spec.json")
    catalog = Catalog(places)

    with reading_only_in((*places.roots, *places.model_folders)):
        with pytest.raises(PathRefusedError, match=r"spec\.json is a link out of the folders"):
            catalog.model("tissue")
        models, failures = catalog.listing()

    assert (list(models), [one.reason for one in failures]) == ([], ["PATH_REFUSED"])
