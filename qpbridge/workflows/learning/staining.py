"""Training slides given one staining, which the model then expects of every slide."""

from __future__ import annotations

from dataclasses import replace

from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError
from qpbridge.models.bundle import Bundle
from qpbridge.slides.stains.normalizing import most_typical, normalizer
from qpbridge.slides.stains.staining import Staining
from qpbridge.workflows.entries.gathering import OpenedSlide
from qpbridge.workflows.entries.staining import staining_of
from qpbridge.workflows.learning.material import Material, Plan


def normalized(material: Material, plan: Plan, base: Bundle | None, progress: Progress) -> Material:
    """Return the material in the stains of one slide, and that staining in the model's spec, where the recipe asks.

    The slide is the one of those learnt from that is most like the others; a training that goes on from a model keeps
    that model's staining.

    Parameters
    ----------
    material : Material
        As scanned.
    plan : Plan
        Its recipe names the method.
    base : Bundle or None
        Model to go on from.
    progress : Progress
        Hears of slides whose stains cannot be told.

    Raises
    ------
    InvalidValueError
        If the stains of no slide can be told.
    """
    method = plan.recipe.stain_normalization
    if method == "none":
        return material
    found = [
        staining_of(one.slide.slide, one.slide.calibration, method, one.source.label, progress)
        for one in material.opened
    ]
    kept = None if base is None else base.spec.staining
    target = kept if kept is not None and kept.method == method else _target(material, found)
    return replace(
        material,
        opened=[_changed(one, own, target) for one, own in zip(material.opened, found, strict=True)],
        spec=replace(material.spec, staining=target),
    )


def _target(material: Material, found: list[Staining | None]) -> Staining:
    learnt = sorted({patch.slide for patch in material.training.patches})
    known = [staining for position in learnt if (staining := found[position]) is not None]
    if not known:
        raise InvalidValueError(
            "stain_normalization does not work here: no slide to learn from has enough tissue to tell its stains;"
            " leave it out, or take --set stain_normalization=none"
        )
    return most_typical(known)


def _changed(one: OpenedSlide, own: Staining | None, target: Staining) -> OpenedSlide:
    if own is None:
        return one
    slide = one.slide.slide.changed(normalizer(own, target))
    return replace(one, slide=replace(one.slide, slide=slide))
