"""What a model is: family, configuration, classes, inputs, outputs; and how that is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qpbridge.core.geometry import View
from qpbridge.errors import InvalidValueError
from qpbridge.models.recipe import Count, CountOrZero, Positive, Recipe, Settings

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
    """

    family: str
    variant: str
    config: FamilyConfig
    classes: tuple[ModelClass, ...]
    views: tuple[View, ...]
    heads: tuple[Head, ...]

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
