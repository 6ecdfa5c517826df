"""The label rules: what the annotations of an image say about its pixels, and its tags about areas. Level-0 px."""

from __future__ import annotations

import enum
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import Region
from qpbridge.core.naming import class_label, tag_label, tag_meaning, tag_name
from qpbridge.core.objects import BACKGROUND_CLASS, NO_MAPPING, REGION_CLASS, ObjectKind, PathClass, PathObject
from qpbridge.vector.instances.drawn import Painted, without_tissue
from qpbridge.vector.raster import mend
from qpbridge.vector.raters import agreed, rater_of

UNLABELLED: Final = "(unlabelled)"
"""Extra class of what nobody annotated in a complete area where a project has no "Background"; never written back."""

TISSUES_KEY: Final = "tissues"
"""Key of an annotation's or entry's metadata that names what occurs: ``tissues = Tumor, Stroma``."""

_NO_COLOR: Final = (0, 0, 0)
_POLYGONAL: Final = frozenset({"Polygon", "MultiPolygon"})
_TAGGED_KINDS: Final = frozenset({ObjectKind.ANNOTATION, ObjectKind.TILE})
_SEPARATORS: Final = re.compile(r"[,;]")


class Subject(enum.Enum):
    """What labels tell apart."""

    TISSUE = "tissue"
    """Annotations of a class label what they cover."""
    NUCLEI = "nuclei"
    """Nuclei of cells, detections, and annotations of a wanted class label what they cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """How annotations become labels.

    Parameters
    ----------
    class_names : sequence of str
        Position in it is the label. A derived class without an own place belongs to its nearest base class.
    unlabelled : int or None
        Label of what nobody annotated inside a completely annotated area; None leaves it unknown.
    region_class : str
        Class of annotations that mark areas as completely annotated.
    subject : Subject
        Tissue or nuclei.
    nucleus : int or None
        Label of cells and detections without a class of their own among the names; None leaves them unknown.
    is_absence_asserted : bool
        Whether a tissue that tags do not name is absent; otherwise nothing is known of it.
    """

    class_names: Sequence[str]
    unlabelled: int | None = None
    region_class: str = REGION_CLASS
    subject: Subject = Subject.TISSUE
    nucleus: int | None = None
    is_absence_asserted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedArea:
    """An area of which only is known which classes occur in it.

    Parameters
    ----------
    geometry : shapely geometry
        The area.
    presence : tuple of bool or None
        Of each class of the rule: True where it occurs, False where it does not, None where that is unknown.
    strangers : tuple of str
        Tags that are none of the classes.
    """

    geometry: BaseGeometry
    presence: tuple[bool | None, ...]
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLabels:
    """What is known of an image.

    Parameters
    ----------
    shapes : tuple of (geometry, int)
        In painter's order: later shapes lie on top. Labels are class indices or ``IGNORE_INDEX``; pixels without a
        shape are unknown.
    tagged : tuple of TaggedArea
        Weak labels.
    mended : int
        Self-crossing annotations that had to be repaired.
    outside : int
        Annotations wholly outside the image, left out.
    """

    shapes: tuple[tuple[BaseGeometry, int], ...] = ()
    tagged: tuple[TaggedArea, ...] = ()
    mended: int = 0
    outside: int = 0


def read_labels(
    objects: Iterable[PathObject],
    rule: LabelRule,
    *,
    bounds: Region | None = None,
    metadata: Mapping[str, str] = NO_MAPPING,
    tags: Sequence[str] = (),
) -> ImageLabels:
    """Return what the objects and notes of one image say about it: the whole rule, for every part of qpbridge.

    - What nobody annotated is unknown, never background.
    - Annotations of the region class mark areas as complete: what is not annotated inside is ``rule.unlabelled``.
    - Annotations of classes that QuPath ignores ("Ignore*", names that end with "*") or that are not among the
      names make what they cover unknown.
    - Where annotations overlap, the smaller lies on top; complete areas lie below all, and of two of the same size
      the one with the larger id lies on top.
    - Tags say which classes occur in an area, not where: derived classes of the region class
      ("Region*: Tumor: Stroma"), ``tissues = Tumor, Stroma`` in the metadata of an annotation or tile object that is
      unclassified or of the region class, and the same in the metadata of the entry, or tags of the entry that are
      class names, for the whole image. "no Stroma" says that it does not occur. A tagged area labels no pixel.
    - Where annotations name two raters or more, tissue is what STAPLE makes of their labels (``agreed``).
    - For nuclei, only cells with a nucleus, detections, and annotations of a class among the names label pixels; tile
      objects without tags mark complete areas, too. An annotation around several other nuclei is tissue and says
      nothing about them.

    Parameters
    ----------
    objects : iterable of PathObject
        Of one image; only those with an area on the first plane count.
    rule : LabelRule
        Classes, and how they are to be read.
    bounds : Region or None
        The image; what lies wholly outside is counted and left out. Tags of the image need it.
    metadata, tags
        Of the project entry.
    """
    frame = None if bounds is None else shapely.box(bounds.x_px, bounds.y_px, bounds.right_px, bounds.bottom_px)
    counts: Counter[str] = Counter()
    painted: list[Painted] = []
    tagged: list[TaggedArea] = []
    for item in objects:
        names = tags_of(item, rule.region_class)
        label = None if names is not None else _label(item, rule)
        if names is None and label is None:
            continue
        geometry, changed = mend(_outline(item, rule))
        counts["mended"] += changed
        if geometry.is_empty or (frame is not None and not geometry.intersects(frame)):
            counts["outside"] += not geometry.is_empty
        elif label is None:
            tagged.append(_tagged_area(geometry, names or (), rule))
        else:
            rater = rater_of(item) if rule.subject is Subject.TISSUE else None
            entry = Painted(not _is_complete(item, rule), -geometry.area, item.id, geometry, label, rater, item.kind)
            painted.append(entry)
    if rule.subject is Subject.NUCLEI:
        painted = without_tissue(painted)
    painted.sort(key=lambda entry: entry[:3])
    of_image = image_tags(metadata, tags, rule.class_names)
    if of_image is not None and frame is not None:
        tagged.insert(0, _tagged_area(frame, of_image, rule))
    shapes = agreed([(entry.geometry, entry.label, entry.rater) for entry in painted])
    return ImageLabels(shapes=shapes, tagged=tuple(tagged), mended=counts["mended"], outside=counts["outside"])


def label_rule(
    objects: Iterable[PathObject],
    project_classes: Sequence[PathClass],
    requested: Sequence[str] | None = None,
    region_class: str = REGION_CLASS,
) -> LabelRule:
    """Return the rule by which a project labels tissue: which classes, and what the rest of complete areas is.

    Parameters
    ----------
    objects : iterable of PathObject
        Of all images.
    project_classes : sequence of PathClass
        As listed in the project: their order comes first.
    requested : sequence of str or None
        Class names asked for; every annotated class that is not ignored where None.
    region_class : str
        See ``LabelRule``.

    Returns
    -------
    LabelRule
        Where there are complete areas, "Background" of the project is among the names, or else ``UNLABELLED``.
    """
    drawn: dict[str, PathClass] = {}
    has_regions = False
    for item in objects:
        if labels_pixels(item) and item.path_class is not None:
            has_regions |= is_region(item.path_class, region_class) and tags_of(item, region_class) is None
            if is_learnt(item.path_class, region_class):
                drawn[item.path_class.name] = item.path_class
    listed = [item.name for item in project_classes]
    in_order = [name for name in listed if name in drawn] + sorted(name for name in drawn if name not in listed)
    names = list(dict.fromkeys(in_order if requested is None else requested))
    if not has_regions:
        return LabelRule(class_names=tuple(names), region_class=region_class)
    rest = BACKGROUND_CLASS if BACKGROUND_CLASS in {*listed, *drawn} else UNLABELLED
    if rest not in names:
        names.append(rest)
    return LabelRule(class_names=tuple(names), unlabelled=names.index(rest), region_class=region_class)


def visible_areas_px(shapes: Sequence[tuple[BaseGeometry, int]], bounds: Region | None = None) -> Mapping[int, float]:
    """Return the area of each label that is not covered by a later shape, level-0 px²; what is unknown has none.

    Parameters
    ----------
    shapes : sequence of (geometry, int)
        As in ``ImageLabels``.
    bounds : Region or None
        The image; what lies outside does not count.
    """
    geometries = np.array([geometry for geometry, _ in shapes], dtype=object)
    if bounds is not None:
        geometries = shapely.intersection(
            geometries, shapely.box(bounds.x_px, bounds.y_px, bounds.right_px, bounds.bottom_px)
        )
    tree = shapely.STRtree(geometries)
    areas: defaultdict[int, float] = defaultdict(float)
    for position, (_, label) in enumerate(shapes):
        if label == IGNORE_INDEX:
            continue
        near = tree.query(geometries[position], predicate="intersects")
        covered = shapely.union_all(geometries[near[near > position]])
        areas[label] += float(shapely.difference(geometries[position], covered).area)
    return dict(areas)


def annotated_area_px(objects: Iterable[PathObject], region_class: str = REGION_CLASS) -> Mapping[str, float]:
    """Return the annotated area of every class that is not ignored, level-0 px², overlaps counted once a class.

    Parameters
    ----------
    objects : iterable of PathObject
        Of one image.
    region_class : str
        Marks complete areas, which belong to no class.
    """
    by_class: dict[str, list[BaseGeometry]] = {}
    for item in objects:
        if not labels_pixels(item) or item.path_class is None:
            continue
        if is_learnt(item.path_class, region_class):
            by_class.setdefault(item.path_class.name, []).append(mend(item.geometry)[0])
    return {name: float(shapely.union_all(geometries).area) for name, geometries in by_class.items()}


def labels_pixels(item: PathObject) -> bool:
    """Whether an object says which tissue pixels are: a classified annotation with an area, on the first plane."""
    return item.kind is ObjectKind.ANNOTATION and item.path_class is not None and _is_area(item)


def is_region(path_class: PathClass, region_class: str = REGION_CLASS) -> bool:
    """Whether annotations of this class, or of one that it is derived from, mark areas as completely annotated."""
    parts = region_class.split(": ")
    return list(path_class.parts[: len(parts)]) == parts


def is_learnt(path_class: PathClass, region_class: str = REGION_CLASS) -> bool:
    """Whether a class is one to learn: neither ignored by QuPath nor a mark of complete areas."""
    return not path_class.is_ignored and not is_region(path_class, region_class)


def tags_of(item: PathObject, region_class: str = REGION_CLASS) -> tuple[str, ...] | None:
    """Return what occurs in an annotation or tile object according to its tags; None where it has no tags."""
    if item.kind not in _TAGGED_KINDS or not _is_area(item):
        return None
    derived: tuple[str, ...] = ()
    if item.path_class is not None:
        if not is_region(item.path_class, region_class):
            return None
        derived = item.path_class.parts[len(region_class.split(": ")) :]
    stated = _stated_tissues(item.metadata)
    return derived or None if stated is None else tuple(dict.fromkeys((*derived, *stated)))


def image_tags(metadata: Mapping[str, str], tags: Sequence[str], class_names: Sequence[str]) -> tuple[str, ...] | None:
    """Return what occurs in a whole image according to its entry; None where the entry does not say.

    Parameters
    ----------
    metadata, tags
        Of the entry. Of the tags, those count that are names of classes: entries are tagged for other reasons, too.
    class_names : sequence of str
        Classes that a tag may name.
    """
    stated = _stated_tissues(metadata)
    named = [tag for tag in tags if tag_label(tag, class_names) is not None]
    return None if stated is None and not named else tuple(dict.fromkeys((*(stated or ()), *named)))


def _label(item: PathObject, rule: LabelRule) -> int | None:
    """Return the label of what an object covers, None where it says nothing about pixels."""
    if not _is_area(item):
        return None
    if _is_complete(item, rule):
        return IGNORE_INDEX if rule.unlabelled is None else rule.unlabelled
    own = None if item.path_class is None else class_label(item.path_class, rule.class_names)
    return _SUBJECT_LABELS[rule.subject](item, own, rule)


def _tissue_label(item: PathObject, own: int | None, _: LabelRule) -> int | None:
    label = IGNORE_INDEX if own is None else own
    return label if labels_pixels(item) else None


def _nucleus_label(item: PathObject, own: int | None, rule: LabelRule) -> int | None:
    is_ignored = item.path_class is not None and item.path_class.is_ignored
    if item.kind is ObjectKind.ANNOTATION:
        # Tissue that is annotated beside nuclei says nothing about them.
        return IGNORE_INDEX if is_ignored else own
    if item.kind not in {ObjectKind.CELL, ObjectKind.DETECTION}:
        return None
    label = rule.nucleus if own is None else own
    is_unsure = is_ignored or label is None or (item.kind is ObjectKind.CELL and item.nucleus is None)
    return IGNORE_INDEX if is_unsure else label


_SUBJECT_LABELS: Final[Mapping[Subject, Callable[[PathObject, int | None, LabelRule], int | None]]] = {
    Subject.TISSUE: _tissue_label,
    Subject.NUCLEI: _nucleus_label,
}


def _is_complete(item: PathObject, rule: LabelRule) -> bool:
    if rule.subject is Subject.NUCLEI and item.kind is ObjectKind.TILE:
        return True
    is_marking = item.path_class is not None and is_region(item.path_class, rule.region_class)
    return is_marking and item.kind is ObjectKind.ANNOTATION


def _outline(item: PathObject, rule: LabelRule) -> BaseGeometry:
    has_nucleus = rule.subject is Subject.NUCLEI and item.kind is ObjectKind.CELL and item.nucleus is not None
    return item.nucleus if has_nucleus and item.nucleus is not None else item.geometry


def _is_area(item: PathObject) -> bool:
    is_first = item.plane.z == 0 and item.plane.t == 0
    # What a prediction suggests to look at would hide what people draw across its border.
    is_suggested = item.path_class is not None and item.path_class.is_suggestion
    return is_first and item.geometry.geom_type in _POLYGONAL and not is_suggested


def _stated_tissues(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    stated = [value for key, value in metadata.items() if key.strip().casefold() == TISSUES_KEY]
    if not stated:
        return None
    return tuple(name.strip() for value in stated for name in _SEPARATORS.split(value) if name.strip())


def _tagged_area(geometry: BaseGeometry, tags: Sequence[str], rule: LabelRule) -> TaggedArea:
    meanings = {tag: tag_meaning(tag, rule.class_names) for tag in tags}
    absent = False if rule.is_absence_asserted else None
    # Nobody tags glass: of the rest of complete areas nothing is known unless it is named.
    silent = {i: None if i == rule.unlabelled else absent for i in range(len(rule.class_names))}
    # Where a tag and another one deny each other, the class occurs.
    stated = {label: occurs for label, occurs in sorted(meanings.values(), key=lambda one: one[1]) if label is not None}
    presence = tuple((silent | stated).values())
    strangers = tuple(tag for tag, (label, _) in meanings.items() if label is None and not _is_ignored(tag_name(tag)))
    return TaggedArea(geometry=geometry, presence=presence, strangers=strangers)


def _is_ignored(tag: str) -> bool:
    return PathClass(tag, _NO_COLOR).is_ignored
