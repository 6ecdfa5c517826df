"""Which classes a model is to tell apart, from what a project holds and what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qpbridge.core.naming import class_label, tag_label, tag_name
from qpbridge.core.objects import REGION_CLASS, ObjectKind, PathClass, PathObject
from qpbridge.errors import NoAnnotationError, TooFewClassesError
from qpbridge.models.spec import ModelClass
from qpbridge.vector.labels import (
    UNLABELLED,
    LabelRule,
    Subject,
    is_learnt,
    label_rule,
    labels_pixels,
)

UNLABELLED_CLASS = ModelClass(name=UNLABELLED, color_rgb=(200, 200, 200), is_written=False)
"""Extra class of what is not annotated inside ``Region*`` where a project has no "Background"; never written."""


NUCLEUS_CLASS = ModelClass(name="Nucleus", color_rgb=(90, 60, 160))
"""Of nuclei that have no class."""

UNKNOWN_RGB = (128, 128, 128)
"""Of a class that the project does not list."""

_NUCLEUS_KINDS = frozenset({ObjectKind.CELL, ObjectKind.DETECTION})


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
    subject : Subject
        What they are classes of.
    nucleus : int or None
        Label of nuclei without a class.
    learns_tags : bool
        Whether tags of areas are learned from, and not labelled pixels.
    is_absence_asserted : bool
        Whether a class that tags do not name is absent; otherwise nothing is known of it.
    """

    classes: tuple[ModelClass, ...]
    background: int | None
    region_class: str = REGION_CLASS
    subject: Subject = Subject.TISSUE
    nucleus: int | None = None
    learns_tags: bool = False
    is_absence_asserted: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in order."""
        return tuple(item.name for item in self.classes)

    def only(self, labels: Sequence[int]) -> ClassChoice:
        """Return the choice of fewer classes, by their labels in increasing order."""
        new = {label: position for position, label in enumerate(labels)}
        return replace(
            self,
            classes=tuple(self.classes[label] for label in labels),
            background=None if self.background is None else new.get(self.background),
            nucleus=None if self.nucleus is None else new.get(self.nucleus),
        )

    @property
    def rule(self) -> LabelRule:
        """How annotations become labels of these classes."""
        return LabelRule(
            class_names=self.names,
            unlabelled=self.background,
            region_class=self.region_class,
            subject=self.subject,
            nucleus=self.nucleus,
            is_absence_asserted=self.is_absence_asserted,
        )


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


def choose_nucleus_classes(
    objects: Sequence[PathObject],
    project_classes: Sequence[PathClass],
    requested: Sequence[str] | None,
    region_class: str = REGION_CLASS,
) -> ClassChoice:
    """Choose the classes of nuclei to train; the last class is what is no nucleus, and is never written.

    Parameters
    ----------
    objects : sequence of PathObject
        Of all slides; detections and cells are nuclei, or else annotations.
    project_classes, requested, region_class
        As for ``choose_classes``. Nuclei without a class are of class "Nucleus".

    Raises
    ------
    NoAnnotationError
        If there are no nuclei, or none of a requested class.
    """
    nuclei = [item for item in objects if item.kind in _NUCLEUS_KINDS] or [
        item for item in objects if labels_pixels(item)
    ]
    used = {item.path_class.name: item.path_class for item in nuclei if item.path_class is not None}
    learnt = {name: one for name, one in used.items() if is_learnt(one, region_class)}
    if not nuclei or (not learnt and all(item.path_class is not None for item in nuclei)):
        raise NoAnnotationError(
            "the project has no nuclei to learn from: outline some in QuPath, as detections, cells or classified"
            f" annotations, inside annotations of class '{region_class}' that mark where all are outlined"
        )
    listed = [item.name for item in project_classes if item.name in learnt]
    names = list(dict.fromkeys(requested or [*listed, *sorted(learnt)]))
    if requested:
        _check_annotated(names, list(learnt.values()))
    if any(item.path_class is None for item in nuclei) and not requested:
        names.append(NUCLEUS_CLASS.name)
    known = {item.name: item for item in (*learnt.values(), *project_classes)}
    classes = [
        NUCLEUS_CLASS if name == NUCLEUS_CLASS.name and name not in known else _model_class(name, known)
        for name in names
    ]
    return ClassChoice(
        classes=(*classes, UNLABELLED_CLASS),
        background=len(classes),
        region_class=region_class,
        subject=Subject.NUCLEI,
        nucleus=names.index(NUCLEUS_CLASS.name) if NUCLEUS_CLASS.name in names else None,
    )


def choose_tagged_classes(
    tags: Sequence[str],
    project_classes: Sequence[PathClass],
    requested: Sequence[str] | None,
    region_class: str = REGION_CLASS,
) -> ClassChoice:
    """Choose the classes to train from tags.

    Parameters
    ----------
    tags : sequence of str
        All that there are.
    project_classes, requested, region_class
        As for ``choose_classes``. A tag that differs from a class only by case or blanks names that class.

    Raises
    ------
    NoAnnotationError
        If nothing is tagged, or nothing with a requested class.
    TooFewClassesError
        If fewer than two classes are left.
    """
    listed = [item.name for item in project_classes]
    names: dict[str, None] = {}
    for tag in tags:
        label = tag_label(tag, listed)
        name = tag_name(tag) if label is None else listed[label]
        if not PathClass(name, UNKNOWN_RGB).is_ignored:
            names[name] = None
    if not names:
        raise NoAnnotationError(
            f"the project has no tags to learn from: name the tissues of areas in QuPath, as '{region_class}: Tumor:"
            " Stroma' or by metadata 'tissues = Tumor, Stroma', and save; or take them from class polygons with --set"
            " supervision=polygons"
        )
    in_order = [name for name in listed if name in names] + sorted(name for name in names if name not in listed)
    chosen = list(dict.fromkeys(requested or in_order))
    if missing := [name for name in chosen if all(tag_label(tag, [name]) is None for tag in names)]:
        raise NoAnnotationError(
            f"no area is tagged with {', '.join(map(repr, missing))}; tagged are: {', '.join(map(repr, in_order))}."
            " Tag areas with it in QuPath and save the project, or leave it out of --classes"
        )
    if len(chosen) < 2:
        raise TooFewClassesError(
            f"two classes or more are needed to tell apart, but areas are only tagged with '{chosen[0]}': tag another"
            " class in QuPath, and save"
        )
    known = {name: PathClass(name, UNKNOWN_RGB) for name in chosen} | {item.name: item for item in project_classes}
    classes = tuple(_model_class(name, known) for name in chosen)
    return ClassChoice(classes=classes, background=None, region_class=region_class, learns_tags=True)


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
