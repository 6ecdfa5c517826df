"""The next round of review: a training that goes on from a model, and what it changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from torch import Tensor

from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError
from qpbridge.models.bundle import Bundle, load_bundle
from qpbridge.models.registry import build, configure, family
from qpbridge.models.spec import ModelSpec
from qpbridge.training.fitting.curves import EpochRecord
from qpbridge.training.fitting.transfer import transfer
from qpbridge.workflows.learning.material import Plan
from qpbridge.workflows.requests import TrainRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassProgression:
    """What a round changed for one class.

    Parameters
    ----------
    name : str
        Of the class.
    area_before_um2 : float or None
        Annotated area that the model before learnt from, µm²; None for a class that is new.
    area_um2 : float
        Annotated area now, µm².
    iou_before, iou : float or None
        On the validation pixels of now, of the model before and the new one; None where undefined.
    """

    name: str
    area_before_um2: float | None
    area_um2: float
    iou_before: float | None
    iou: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progression:
    """What a round changed.

    Parameters
    ----------
    base : str
        Digest of the model before.
    classes : tuple of ClassProgression
        In the order of the outputs.
    """

    base: str
    classes: tuple[ClassProgression, ...]


def plan_of(request: TrainRequest, base: Bundle | None) -> Plan:
    """Return what a request asks for; what it leaves open is as in the model that it goes on from.

    Raises
    ------
    UnknownNameError
        If family, preset or a key do not exist.
    InvalidValueError
        If a key does not take its value, or the model is of another family.
    """
    if base is not None and request.family not in (None, base.spec.family):
        raise InvalidValueError(
            f"a model of family '{base.spec.family}' cannot be the beginning of one of '{request.family}':"
            " leave --family out, or train without --from"
        )
    name = base.spec.family if base is not None else request.family
    assert name is not None
    beginning = None if base is None or request.preset is not None else (base.spec.config, base.provenance.recipe)
    config, recipe = configure(name, request.preset, request.settings, beginning)
    return Plan(request=request, family=family(name), config=config, recipe=recipe)


def load_base(path: Path | None) -> Bundle | None:
    """Return the model to go on from, if there is one.

    Raises
    ------
    BundleNotFoundError, DamagedBundleError
        If it cannot be read.
    """
    return None if path is None else load_bundle(path)


def beginning_of(spec: ModelSpec, base: Bundle, progress: Progress) -> dict[str, Tensor]:
    """Return the weights that a training begins with; classes go by their names."""
    taken = transfer(build(spec), spec, base.network.state_dict(), base.spec)
    if taken.drawn_anew:
        progress.warn(
            f"{len(taken.drawn_anew)} of {len(taken.weights)} tensors do not fit the settings of now and begin anew,"
            f" first '{taken.drawn_anew[0]}'"
        )
    return taken.weights


def progression(
    base: Bundle, names: tuple[str, ...], areas_um2: Mapping[str, float], before: EpochRecord, after: EpochRecord
) -> Progression:
    """Return what a round changed.

    Parameters
    ----------
    base : Bundle
        The model before.
    names : tuple of str
        Classes in the order of the outputs.
    areas_um2 : mapping of str to float
        Annotated area by class, µm².
    before, after : EpochRecord
        The base's weights and the new ones on the validation pixels.
    """
    scores = zip(names, before.class_iou, after.class_iou, strict=True)
    return Progression(
        base=base.digest,
        classes=tuple(
            ClassProgression(
                name=name,
                area_before_um2=base.provenance.annotated_area_um2.get(name),
                area_um2=areas_um2.get(name, 0.0),
                iou_before=None if math.isnan(iou_before) else iou_before,
                iou=None if math.isnan(iou) else iou,
            )
            for name, iou_before, iou in scores
        ),
    )


def identity_of(plan: Plan, spec: ModelSpec) -> str:
    """Return a text that differs where a training does, but for its patches."""
    recipe = {item.name: getattr(plan.recipe, item.name) for item in fields(plan.recipe)}
    return repr((spec, sorted(recipe.items(), key=str), plan.request.seed))
