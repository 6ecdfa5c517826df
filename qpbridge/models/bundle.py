"""A trained model as a folder: weights, spec, card and curves. Nothing in it is ever unpickled."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qpbridge import __version__, files
from qpbridge.errors import BundleNotFoundError, DamagedBundleError
from qpbridge.models.card import model_card
from qpbridge.models.registry import CONFIG_TYPES, build, family
from qpbridge.models.spec import Manifest, ModelSpec, Provenance, manifest_from_json

WEIGHTS = "weights.safetensors"
SPEC = "spec.json"
CARD = "README.md"
CURVES = "curves.csv"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """A trained model.

    Parameters
    ----------
    spec : ModelSpec
        What it is.
    network : nn.Module
        On the CPU, in evaluation mode.
    provenance : Provenance
        Where it comes from.
    digest : str
        SHA-256 of the weights' file, hexadecimal; names the model in results.
    """

    spec: ModelSpec
    network: nn.Module
    provenance: Provenance
    digest: str


def versions() -> dict[str, str]:
    """Return the versions that a provenance tells."""
    return {"qpbridge": __version__, "torch": str(torch.__version__)}


def save_bundle(
    folder: Path,
    spec: ModelSpec,
    network: nn.Module,
    provenance: Provenance,
    curves: Sequence[Mapping[str, object]] = (),
    attachments: Mapping[str, bytes] | None = None,
) -> str:
    """Write a bundle; an existing one of that name is replaced once the new one is complete.

    Parameters
    ----------
    folder : Path
        Of the bundle.
    spec, network, provenance
        As in ``Bundle``; the network may be on any device.
    curves : sequence of mapping
        One row for each epoch, by column name.
    attachments : mapping of str to bytes, optional
        More files by name, e.g. ``report.html``.

    Returns
    -------
    str
        The digest.

    Raises
    ------
    DiskFullError
        If there is no space; a bundle that was there is then as before.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with files.atomic_folder(folder) as draft:
        save_file(weights, draft / WEIGHTS)
        digest = files.sha256(draft / WEIGHTS)
        manifest = Manifest(weights_sha256=digest, model=spec, provenance=provenance)
        (draft / SPEC).write_bytes(manifest.to_json())
        (draft / CARD).write_text(model_card(spec, provenance, digest), encoding="utf-8")
        (draft / CURVES).write_text(_csv(curves), encoding="utf-8", newline="")
        for name, content in (attachments or {}).items():
            (draft / name).write_bytes(content)
    return digest


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle.

    Parameters
    ----------
    folder : Path
        Of the bundle.

    Raises
    ------
    BundleNotFoundError
        If there is none.
    DamagedBundleError
        If a part is missing, the weights are not those of the spec, or the spec is not of this qpbridge.
    """
    spec_path, weights_path = folder / SPEC, folder / WEIGHTS
    if not spec_path.is_file():
        raise BundleNotFoundError(f"no model bundle at {folder}: it has no {SPEC}; `qpbridge train` makes bundles")
    manifest = manifest_from_json(spec_path.read_bytes(), CONFIG_TYPES, spec_path)
    _check_spec(manifest.model, spec_path)
    if not weights_path.is_file():
        raise DamagedBundleError(f"{folder} has no {WEIGHTS}; take another copy of the bundle")
    found = files.sha256(weights_path)
    if found != manifest.weights_sha256:
        raise DamagedBundleError(
            f"{weights_path} is not the file that {SPEC} names: expected SHA-256 {manifest.weights_sha256}, "
            f"found {found}; take another copy of the bundle"
        )
    network = _network(manifest.model, weights_path)
    return Bundle(spec=manifest.model, network=network, provenance=manifest.provenance, digest=found)


def _check_spec(spec: ModelSpec, path: Path) -> None:
    expected = family(spec.family).spec(spec.config, spec.classes)
    for name in ("variant", "views", "heads"):
        wanted, found = getattr(expected, name), getattr(spec, name)
        if wanted != found:
            raise DamagedBundleError(
                f"{path} contradicts itself: its configuration makes {name} {wanted}, but it states {found}; "
                "take another copy of the bundle"
            )


def _network(spec: ModelSpec, path: Path) -> nn.Module:
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise DamagedBundleError(f"{path} is no safetensors file: {error}; take another copy of the bundle") from error
    with torch.device("meta"):
        network = build(spec)
    expected, found = _layout(network.state_dict()), _layout(weights)
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        name = wrong[0]
        raise DamagedBundleError(
            f"{path} does not fit {SPEC}: {len(wrong)} tensors differ, the first is '{name}': expected "
            f"{expected.get(name, 'none')}, found {found.get(name, 'none')}; take another copy of the bundle"
        )
    # In a file tensors begin anywhere; kernels round otherwise where memory is not aligned as torch's own.
    network.load_state_dict({name: value.clone() for name, value in weights.items()}, assign=True)
    return network.eval()


def _layout(weights: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}" for name, value in weights.items()}


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
