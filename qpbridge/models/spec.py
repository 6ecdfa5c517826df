"""What a model is: family, configuration, classes, inputs, outputs; and how that is written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from qpbridge.core.geometry import View
from qpbridge.errors import DamagedBundleError, InvalidValueError
from qpbridge.models.recipe import Count, CountOrZero, Positive, Recipe, Settings
from qpbridge.slides.stains.staining import Staining

SCHEMA_VERSION = 1
"""Of ``spec.json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyConfig(Settings):
    """What every family's configuration has."""

    variant: str
    """Architecture within the family."""

    patch_px: Count = 256
    """Edge of every view in training, px."""

    mpp: Positive = 0.5
    """Pixel size of the finest view, µm/px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelClass:
    """A class that a model tells apart; its position among the classes is its label.

    Parameters
    ----------
    name : str
        As in QuPath.
    color_rgb : tuple of int
        Red, green, blue, 0 to 255.
    is_written : bool
        Whether predictions of it are given back as objects.
    """

    name: str
    color_rgb: tuple[int, int, int]
    is_written: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One named output of a network and its channels."""

    name: str
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Everything needed to build a network and to read its output.

    Parameters
    ----------
    family, variant : str
        Names in the registry.
    config : FamilyConfig
        Of the family's own type.
    classes : tuple of ModelClass
        In the order of the output channels.
    views : tuple of View
        Inputs, the finest first.
    heads : tuple of Head
        Outputs.
    staining : Staining or None
        What every slide is made to look like before the network sees it; None where it sees slides as they are.
    """

    family: str
    variant: str
    config: FamilyConfig
    classes: tuple[ModelClass, ...]
    views: tuple[View, ...]
    heads: tuple[Head, ...]
    staining: Staining | None = None

    def __post_init__(self) -> None:
        names = [item.name for item in self.classes]
        if len(names) < 2 or len(set(names)) < len(names):
            raise InvalidValueError(f"a model needs two or more classes of different names, not {names}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitMetrics:
    """Metrics on one part of the data.

    Parameters
    ----------
    split : str
        Which part, e.g. ``"validation"``.
    values : mapping of str to float or None
        By name, e.g. ``"mean IoU"``; None where a metric is not defined.
    """

    split: str
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a model comes from.

    Parameters
    ----------
    created : str
        Time of writing, ISO 8601 with its zone.
    versions : mapping of str to str
        Of qpbridge and torch.
    seed : int
        Of all random choices.
    recipe : Recipe
        Settings of the training.
    project : str
        Name of the QuPath project.
    training_entries, validation_entries : tuple of str
        Names of the images; one image serves both where an area of it was held back.
    annotated_area_um2 : mapping of str to float
        Annotated area used in training by class name, µm².
    metrics : tuple of SplitMetrics
        Of the weights in the bundle.
    parent_digest : str or None
        Digest of the bundle that training went on from.
    """

    created: str
    versions: Mapping[str, str]
    seed: CountOrZero
    recipe: Recipe
    project: str
    training_entries: tuple[str, ...]
    validation_entries: tuple[str, ...]
    annotated_area_um2: Mapping[str, float]
    metrics: tuple[SplitMetrics, ...] = ()
    parent_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Content of a bundle's ``spec.json``.

    Parameters
    ----------
    schema_version : int
        Of this layout.
    weights_sha256 : str
        SHA-256 of the weights' file, hexadecimal.
    model : ModelSpec
        What the model is.
    provenance : Provenance
        Where it comes from.
    """

    schema_version: int = SCHEMA_VERSION
    weights_sha256: str
    model: ModelSpec
    provenance: Provenance

    def to_json(self) -> bytes:
        """Return it as indented JSON; metrics that are not a number become null."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def manifest_from_json(content: bytes, config_types: Mapping[str, type[FamilyConfig]], where: Path) -> Manifest:
    """Read a manifest strictly: each field of its type, and none that is not known.

    Parameters
    ----------
    content : bytes
        JSON.
    config_types : mapping of str to type
        Type of the configuration by family.
    where : Path
        Origin, for messages.

    Raises
    ------
    DamagedBundleError
        If it is no manifest of this schema; the message names the place in the JSON.
    """
    try:
        preview = msgspec.json.decode(content, type=_Preview)
        version, name = preview.schema_version, preview.model.family
        _refuse(version != SCHEMA_VERSION, where, f"has schema_version {version}, this qpbridge reads {SCHEMA_VERSION}")
        _refuse(name not in config_types, where, f"names family '{name}', this qpbridge has {', '.join(config_types)}")
        manifest = msgspec.json.decode(content, type=Manifest)
        config = _convert_config(preview.model.config, config_types[name])
    except (msgspec.MsgspecError, InvalidValueError, RecursionError) as error:
        raise DamagedBundleError(f"{where} is no model spec: {error}; take another copy of the bundle") from error
    manifest = replace(manifest, model=replace(manifest.model, config=config))
    unknown = list(_unknown_paths(msgspec.json.decode(content), msgspec.to_builtins(manifest)))
    _refuse(bool(unknown), where, f"has unknown fields: {', '.join(unknown)}")
    return manifest


class _PreviewModel(msgspec.Struct):
    family: str
    config: dict[str, object]


class _Preview(msgspec.Struct):
    schema_version: int
    model: _PreviewModel


def _convert_config(config: dict[str, object], config_type: type[FamilyConfig]) -> FamilyConfig:
    try:
        return msgspec.convert(config, config_type)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(str(error).replace("`$", "`$.model.config")) from error


def _refuse(is_wrong: bool, where: Path, what: str) -> None:
    if is_wrong:
        raise DamagedBundleError(f"{where} {what}; use the version of qpbridge that wrote the bundle, or another copy")


def _unknown_paths(raw: object, known: object, path: str = "$") -> Iterator[str]:
    # Dataclasses, unlike msgspec's structs, let unknown fields pass.
    if isinstance(raw, dict) and isinstance(known, dict):
        for key, value in raw.items():
            if key in known:
                yield from _unknown_paths(value, known[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(raw, list) and isinstance(known, list | tuple):
        for index, (value, twin) in enumerate(zip(raw, known, strict=True)):
            yield from _unknown_paths(value, twin, f"{path}[{index}]")
