"""Which classes a model is to tell apart, from what a project holds and what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qpbridge.core.objects import BACKGROUND_CLASS, PathClass, PathObject
from qpbridge.errors import NoAnnotationError, TooFewClassesError
from qpbridge.models.spec import ModelClass
from qpbridge.vector.labels import class_label, is_region, labels_pixels

UNLABELLED_CLASS = ModelClass(name="(unlabelled)", color_rgb=(200, 200, 200), is_written=False)
"""Extra class of what is not annotated inside ``Region*`` where a project has no "Background"; never written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChoice:
    """Classes of a model.

    Parameters
    ----------
    classes : tuple of ModelClass
        Position is the label.
    background : int or None
        Label of unannotated pixels inside ``Region*``; None where the project has no such areas.
    """

    classes: tuple[ModelClass, ...]
    background: int | None

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in order."""
        return tuple(item.name for item in self.classes)


def choose_classes(
    objects: Sequence[PathObject], project_classes: Sequence[PathClass], requested: Sequence[str] | None
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

    Raises
    ------
    NoAnnotationError
        If a requested class, or all of them, have no annotation.
    TooFewClassesError
        If fewer than two classes are left.
    """
    used = {item.path_class.name: item.path_class for item in objects if item.path_class and labels_pixels(item)}
    annotated = [used[name] for name in sorted(used) if not used[name].is_ignored]
    known = {item.name: item for item in (*annotated, *project_classes)}
    names = _in_project_order(annotated, project_classes) if requested is None else list(dict.fromkeys(requested))
    has_regions = any(is_region(item) for item in used.values())
    implied = [BACKGROUND_CLASS] if has_regions and BACKGROUND_CLASS in known else []
    _check_annotated(names, annotated, implied)
    names += [name for name in implied if name not in names]
    classes = [ModelClass(name=name, color_rgb=_color(name, known)) for name in names]
    if has_regions and BACKGROUND_CLASS not in names:
        classes.append(UNLABELLED_CLASS)
    if len(classes) < 2:
        only = f"only '{classes[0].name}'" if classes else "none"
        raise TooFewClassesError(
            f"two classes or more are needed to tell apart, but there is {only}:"
            " annotate another class in QuPath, or mark a completely annotated area as 'Region*', and save"
        )
    background = next(
        (i for i, item in enumerate(classes) if item.name in {BACKGROUND_CLASS, UNLABELLED_CLASS.name}), None
    )
    return ClassChoice(classes=tuple(classes), background=background if has_regions else None)


def _in_project_order(annotated: Sequence[PathClass], project_classes: Sequence[PathClass]) -> list[str]:
    names = [item.name for item in annotated]
    listed = [item.name for item in project_classes if item.name in names]
    return listed + [name for name in names if name not in listed]


def _check_annotated(names: Sequence[str], annotated: Sequence[PathClass], implied: Sequence[str]) -> None:
    there = ", ".join(f"'{item.name}'" for item in annotated) or "none"
    shown = {name for name in names if any(class_label(item, [name]) is not None for item in annotated)}
    missing = [name for name in names if name not in shown and name not in implied]
    if missing:
        raise NoAnnotationError(
            f"no annotation with an area of class {', '.join(map(repr, missing))}; annotated are: {there}."
            " Annotate it in QuPath and save the project, or leave it out of --classes"
        )
    if not names:
        raise NoAnnotationError("the project has no classified annotation: draw some in QuPath, set classes, and save")


def _color(name: str, known: dict[str, PathClass]) -> tuple[int, int, int]:
    # A base class that only occurs as derived ones takes the color of the first of them.
    derived = (item for item in known.values() if item.name.startswith(f"{name}: "))
    return known[name].color_rgb if name in known else next(derived).color_rgb
