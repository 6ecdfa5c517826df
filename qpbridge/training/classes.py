"""Which classes a model is to tell apart, from what a project holds and what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qpbridge.core.objects import REGION_CLASS, PathClass, PathObject
from qpbridge.errors import NoAnnotationError, TooFewClassesError
from qpbridge.models.spec import ModelClass
from qpbridge.vector.labels import UNLABELLED, LabelRule, class_label, is_learnt, label_rule, labels_pixels

UNLABELLED_CLASS = ModelClass(name=UNLABELLED, color_rgb=(200, 200, 200), is_written=False)
"""Extra class of what is not annotated inside ``Region*`` where a project has no "Background"; never written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChoice:
    """Classes of a model.

    Parameters
    ----------
    classes : tuple of ModelClass
        Position is the label.
    background : int or None
        Label of unannotated pixels inside complete areas; None where the project has no such areas.
    region_class : str
        Class of annotations that mark areas as complete.
    """

    classes: tuple[ModelClass, ...]
    background: int | None
    region_class: str = REGION_CLASS

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in order."""
        return tuple(item.name for item in self.classes)

    @property
    def rule(self) -> LabelRule:
        """How annotations become labels of these classes."""
        return LabelRule(class_names=self.names, unlabelled=self.background, region_class=self.region_class)


def choose_classes(
    objects: Sequence[PathObject],
    project_classes: Sequence[PathClass],
    requested: Sequence[str] | None,
    region_class: str = REGION_CLASS,
) -> ClassChoice:
    """Choose the classes to train.

    Parameters
    ----------
    objects : sequence of PathObject
        Of all slides.
    project_classes : sequence of PathClass
        As listed in the project: their order and colors win.
    requested : sequence of str or None
        Names asked for; every annotated class that QuPath does not ignore where None.
    region_class : str
        Class of annotations that mark areas as complete.

    Raises
    ------
    NoAnnotationError
        If a requested class, or all of them, have no annotation.
    TooFewClassesError
        If fewer than two classes are left.
    """
    rule = label_rule(objects, project_classes, requested, region_class)
    used = {item.path_class.name: item.path_class for item in objects if item.path_class and labels_pixels(item)}
    annotated = [used[name] for name in sorted(used) if is_learnt(used[name], region_class)]
    known = {item.name: item for item in (*annotated, *project_classes)}
    rest = None if rule.unlabelled is None else rule.class_names[rule.unlabelled]
    _check_annotated([name for name in rule.class_names if name != rest], annotated)
    classes = [_model_class(name, known) for name in rule.class_names]
    if len(classes) < 2:
        only = f"only '{classes[0].name}'" if classes else "none"
        raise TooFewClassesError(
            f"two classes or more are needed to tell apart, but there is {only}:"
            f" annotate another class in QuPath, or mark a completely annotated area as '{region_class}', and save"
        )
    return ClassChoice(classes=tuple(classes), background=rule.unlabelled, region_class=region_class)


def _check_annotated(names: Sequence[str], annotated: Sequence[PathClass]) -> None:
    there = ", ".join(f"'{item.name}'" for item in annotated) or "none"
    missing = [name for name in names if all(class_label(item, [name]) is None for item in annotated)]
    if missing:
        raise NoAnnotationError(
            f"no annotation with an area of class {', '.join(map(repr, missing))}; annotated are: {there}."
            " Annotate it in QuPath and save the project, or leave it out of --classes"
        )
    if not names and not annotated:
        raise NoAnnotationError("the project has no classified annotation: draw some in QuPath, set classes, and save")


def _model_class(name: str, known: dict[str, PathClass]) -> ModelClass:
    if name == UNLABELLED and name not in known:
        return UNLABELLED_CLASS
    # A base class that only occurs as derived ones takes the color of the first of them.
    derived = (item for item in known.values() if item.name.startswith(f"{name}: "))
    return ModelClass(name=name, color_rgb=(known.get(name) or next(derived)).color_rgb)
