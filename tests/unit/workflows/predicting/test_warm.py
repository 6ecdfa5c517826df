import os
from pathlib import Path

import pytest

from qpbridge.errors import BundleNotFoundError
from qpbridge.models.bundle import Bundle
from qpbridge.workflows.predicting.warm import WarmModel


class Loader:
    """Notes what is loaded; gives a new object each time."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.loaded: list[str] = []

    def __call__(self, folder: Path) -> Bundle:
        self.loaded.append(folder.name)
        if not folder.exists():
            raise BundleNotFoundError(f"no model bundle at {folder}")
        return Bundle(
            spec=self.bundle.spec, network=self.bundle.network, provenance=self.bundle.provenance, digest=folder.name
        )


@pytest.fixture
def loader(color_bundle: Bundle) -> Loader:
    return Loader(color_bundle)


def bundle_at(folder: Path) -> Path:
    folder.mkdir()
    for name in ("spec.json", "weights.safetensors"):
        (folder / name).write_text(name)
    return folder


def test_a_model_is_loaded_once(tmp_path: Path, loader: Loader) -> None:
    model, warm = bundle_at(tmp_path / "a"), WarmModel(loader)
    (tmp_path / "link").symlink_to(model)

    first, second, linked = warm.load(model), warm.load(model), warm.load(tmp_path / "link")

    assert first is second is linked
    assert loader.loaded == ["a"]


def test_only_the_last_model_is_kept(tmp_path: Path, loader: Loader) -> None:
    first, second = bundle_at(tmp_path / "a"), bundle_at(tmp_path / "b")
    warm = WarmModel(loader)

    assert [warm.load(model).digest for model in (first, second, first)] == ["a", "b", "a"]
    assert loader.loaded == ["a", "b", "a"]


@pytest.mark.parametrize("name", ["spec.json", "weights.safetensors"])
def test_a_model_that_changed_is_loaded_again(tmp_path: Path, loader: Loader, name: str) -> None:
    model, warm = bundle_at(tmp_path / "a"), WarmModel(loader)
    warm.load(model)

    os.utime(model / name, ns=(1, 1))
    warm.load(model)
    (tmp_path / "new").write_text("other content")
    (tmp_path / "new").replace(model / name)
    warm.load(model)

    assert loader.loaded == ["a", "a", "a"]


def test_a_model_that_is_gone_is_not_kept(tmp_path: Path, loader: Loader) -> None:
    model, warm = bundle_at(tmp_path / "a"), WarmModel(loader)
    warm.load(model)
    model.rename(tmp_path / "b")

    with pytest.raises(BundleNotFoundError):
        warm.load(model)
