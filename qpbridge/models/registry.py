"""The families there are, and how names and text become configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

import torch
from torch import nn

from qpbridge.errors import UnknownNameError
from qpbridge.models.families.dmmn import DMMN
from qpbridge.models.families.foveation import FOVEATION
from qpbridge.models.families.multiscale import MULTISCALE
from qpbridge.models.families.use_net import USE_NET
from qpbridge.models.families.weak_tissue import WEAK_TISSUE
from qpbridge.models.family import PAPER, Family
from qpbridge.models.recipe import Recipe, Settings, parse_value, type_hints
from qpbridge.models.spec import FamilyConfig, ModelSpec

SettingsT = TypeVar("SettingsT", bound=Settings)

FAMILIES: tuple[Family[Any], ...] = (DMMN, MULTISCALE, USE_NET, FOVEATION, WEAK_TISSUE)
"""All families. ``Any``: each has a configuration type of its own."""

CONFIG_TYPES: Mapping[str, type[FamilyConfig]] = {item.name: item.config_type for item in FAMILIES}
"""Configuration type by family name."""


def family(name: str) -> Family[Any]:
    """Return a family by its name.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    for item in FAMILIES:
        if item.name == name:
            return item
    raise UnknownNameError("family", name, [item.name for item in FAMILIES])


def configure(
    family_name: str,
    preset: str | None,
    settings: Mapping[str, str],
    beginning: tuple[FamilyConfig, Recipe] | None = None,
) -> tuple[FamilyConfig, Recipe]:
    """Return the configuration and recipe that a preset and some ``key=value`` settings ask for.

    Parameters
    ----------
    family_name : str
        Name in the registry.
    preset : str or None
        Named overrides of the family; None for the paper's values.
    settings : mapping of str to str
        Values as text by the name of a field of the configuration or of the recipe; they win over the preset.
    beginning : tuple of FamilyConfig and Recipe, optional
        What holds where nothing else is said; the paper's where None.

    Raises
    ------
    UnknownNameError
        If family, preset or key do not exist.
    InvalidValueError
        If a key does not take its value.
    """
    chosen = family(family_name)
    if preset is not None and preset not in chosen.presets:
        raise UnknownNameError("preset", preset, list(chosen.presets), f"family '{family_name}'")
    values = dict(chosen.presets[preset]) if preset is not None else {}
    hints = type_hints(chosen.config_type) | type_hints(Recipe)
    for key, text in settings.items():
        if key not in hints:
            raise UnknownNameError("key", key, sorted(hints), f"the settings of family '{family_name}'")
        value = text.removeprefix(f"{family_name}-") if key == "variant" else text
        values[key] = parse_value(key, value, hints[key])
    in_recipe = {item.name for item in fields(Recipe)}
    config, recipe = beginning or (chosen.config_type(), chosen.recipe)
    return (
        _with(config, {key: value for key, value in values.items() if key not in in_recipe}),
        _with(recipe, {key: value for key, value in values.items() if key in in_recipe}),
    )


def _with(settings: SettingsT, changes: Mapping[str, object]) -> SettingsT:
    values = {item.name: getattr(settings, item.name) for item in fields(settings)}
    return type(settings)(**{**values, **changes})


def build(spec: ModelSpec) -> nn.Module:
    """Return a new network for a spec, its weights drawn from torch's generator."""
    return family(spec.family).build(spec.config, len(spec.classes))


def listing(families: Iterable[Family[Any]] = FAMILIES) -> list[dict[str, object]]:
    """Return all variants as published: names, parameters, inputs and outputs, ready for JSON.

    Networks are built without memory for their weights.
    """
    return [_listed(item, variant) for item in families for variant in item.variants]


def described(item: Family[Any]) -> dict[str, Any]:
    """Return a family with its architectures, its presets, and the value of each setting in each of them.

    Returns
    -------
    dict
        Values of ``qpbridge.v1.Family``.
    """
    presets = {preset: configure(item.name, preset, {}) for preset in item.presets}
    values = {preset: asdict(config) | asdict(recipe) for preset, (config, recipe) in presets.items()}
    keys = dict.fromkeys(key for one in values.values() for key in one)
    return {
        "name": item.name,
        "title": item.title,
        "variants": listing([item]),
        "presets": list(item.presets),
        "settings": [{"key": key, "values": {preset: one[key] for preset, one in values.items()}} for key in keys],
    }


def _listed(item: Family[Any], variant: str) -> dict[str, object]:
    config = item.config_type(**{**item.presets[PAPER], "variant": variant})
    with torch.device("meta"):
        network = item.build(config, item.paper_classes)
    return {
        "family": item.name,
        "variant": f"{item.name}-{variant}",
        "parameters": sum(weights.numel() for weights in network.parameters()),
        "views": [{"name": v.name, "size_px": v.fov.size_px, "mpp": v.fov.mpp} for v in item.views(config)],
        "heads": [{"name": h.name, "channels": h.channels} for h in item.heads(config, item.paper_classes)],
    }
