from collections.abc import Sequence

import pytest
from shapely import MultiPolygon, Point, box
from shapely.geometry import LineString
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.errors import NoAnnotationError, TooFewClassesError
from qpbridge.training.classes import (
    UNKNOWN_RGB,
    UNLABELLED_CLASS,
    ClassChoice,
    choose_classes,
    choose_nucleus_classes,
    choose_tagged_classes,
)
from qpbridge.vector.labels import LabelRule, Subject

RED, GREEN, BLUE, GRAY = (200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90)
PROJECT_CLASSES = (PathClass("Tumor", RED), PathClass("Stroma", GREEN), PathClass("Background", GRAY))


def annotation(
    name: str | None,
    geometry: BaseGeometry | None = None,
    kind: ObjectKind = ObjectKind.ANNOTATION,
    z: int = 0,
    color: tuple[int, int, int] = BLUE,
) -> PathObject:
    path_class = None if name is None else PathClass(name, color)
    shape = box(0, 0, 10, 10) if geometry is None else geometry
    return PathObject(id="1", kind=kind, geometry=shape, path_class=path_class, plane=Plane(z=z))


def chosen(
    *names: str | None, requested: Sequence[str] | None = None, known: Sequence[PathClass] = PROJECT_CLASSES
) -> ClassChoice:
    return choose_classes([annotation(name) for name in names], known, requested)


def test_classes_come_in_the_order_and_colors_of_the_project() -> None:
    choice = chosen("Necrosis", "Stroma", "Fat", "Tumor", "Stroma")

    assert [(item.name, item.color_rgb) for item in choice.classes] == [
        ("Tumor", RED),
        ("Stroma", GREEN),
        ("Fat", BLUE),
        ("Necrosis", BLUE),
    ]
    assert choice.names == ("Tumor", "Stroma", "Fat", "Necrosis")
    assert all(item.is_written for item in choice.classes)
    assert choice.background is None


def test_a_request_sets_the_order() -> None:
    choice = chosen("Tumor", "Stroma", "Fat", requested=["Fat", "Tumor", "Fat"])

    assert choice.names == ("Fat", "Tumor")


def test_classes_that_qupath_ignores_are_not_learnt() -> None:
    choice = chosen("Tumor", "Stroma", "Ignore*", "ignore me", "Artefact*", "Ignore*: Fold", None)

    assert choice.names == ("Tumor", "Stroma")


@pytest.mark.parametrize(
    "useless",
    [
        annotation("Fat", Point(1, 1)),
        annotation("Fat", LineString([(0, 0), (9, 9)])),
        annotation("Fat", z=1),
        annotation("Fat", kind=ObjectKind.DETECTION),
        annotation("Region*", Point(1, 1)),
        annotation("Region*", kind=ObjectKind.DETECTION),
    ],
)
def test_what_labels_no_pixel_makes_no_class(useless: PathObject) -> None:
    choice = choose_classes([annotation("Tumor"), annotation("Stroma"), useless], PROJECT_CLASSES, None)

    assert choice.names == ("Tumor", "Stroma")
    assert choice.background is None


def test_a_class_of_many_parts_counts() -> None:
    parts = MultiPolygon([box(0, 0, 1, 1), box(3, 3, 4, 4)])

    choice = choose_classes([annotation("Tumor", parts), annotation("Stroma")], (), None)

    assert choice.names == ("Stroma", "Tumor")


def test_derived_classes_are_classes_of_their_own() -> None:
    assert chosen("Tumor", "Tumor: Positive").names == ("Tumor", "Tumor: Positive")


def test_a_base_class_stands_for_its_derived_ones_on_request() -> None:
    choice = chosen("Fat: Left", "Fat: Right", "Stroma", requested=["Fat", "Stroma"])

    assert [(item.name, item.color_rgb) for item in choice.classes] == [("Fat", BLUE), ("Stroma", GREEN)]


def test_completely_annotated_areas_bring_the_background_of_the_project() -> None:
    choice = chosen("Region*", "Stroma", "Tumor")

    assert choice.names == ("Tumor", "Stroma", "Background")
    assert choice.background == 2
    assert choice.classes[2].color_rgb == GRAY
    assert choice.classes[2].is_written


def test_the_background_may_be_asked_for_in_its_place() -> None:
    choice = chosen("Region*", "Stroma", "Tumor", requested=["Background", "Tumor"])

    assert choice.names == ("Background", "Tumor")
    assert choice.background == 0


def test_background_that_is_annotated_is_a_class_like_any_other() -> None:
    assert chosen("Background", "Tumor").background is None
    assert chosen("Background", "Tumor").names == ("Tumor", "Background")
    assert chosen("Background", "Tumor", "Region*").background == 1


def test_without_a_background_class_there_is_an_output_that_is_never_written() -> None:
    choice = chosen("Region*", "Tumor", known=())

    assert choice.classes[1] == UNLABELLED_CLASS
    assert choice.background == 1
    assert not choice.classes[1].is_written


def test_one_class_in_a_completely_annotated_area_is_enough() -> None:
    assert chosen("Region*", "Tumor").names == ("Tumor", "Background")


def test_a_tagged_area_is_not_completely_annotated() -> None:
    with pytest.raises(TooFewClassesError, match="only 'Tumor'"):
        chosen("Region*: Tumor: Stroma", "Tumor")


def test_another_class_may_mark_complete_areas() -> None:
    choice = choose_classes([annotation("Done"), annotation("Tumor")], (), None, "Done")

    assert choice.names == ("Tumor", UNLABELLED_CLASS.name)
    assert choice.rule == LabelRule(class_names=choice.names, unlabelled=1, region_class="Done")


def test_a_class_without_annotation_is_refused_with_those_that_have_some() -> None:
    with pytest.raises(
        NoAnnotationError, match=r"class 'Fat', 'tumor'; annotated are: 'Stroma', 'Tumor'\. Annotate it .*--classes"
    ):
        chosen("Stroma", "Tumor", "Ignore*", requested=["Tumor", "Fat", "tumor"])


def test_background_without_a_completely_annotated_area_is_refused() -> None:
    with pytest.raises(NoAnnotationError, match="class 'Background'; annotated are: 'Stroma', 'Tumor'"):
        chosen("Stroma", "Tumor", requested=["Tumor", "Background"])


@pytest.mark.parametrize("ignored", ["Region*", "Ignore*"])
def test_classes_that_qupath_ignores_cannot_be_asked_for(ignored: str) -> None:
    with pytest.raises(NoAnnotationError, match=r"annotated are: 'Tumor'"):
        chosen("Tumor", ignored, requested=["Tumor", ignored])


def test_a_project_without_annotations_is_told_so() -> None:
    with pytest.raises(NoAnnotationError, match="draw some in QuPath, set classes, and save"):
        chosen(None)
    with pytest.raises(NoAnnotationError, match="annotated are: none"):
        chosen("Region*", requested=["Tumor"])


def test_one_class_alone_cannot_be_told_apart() -> None:
    with pytest.raises(TooFewClassesError, match=r"only 'Tumor': annotate another class in QuPath, or .*'Region\*'"):
        chosen("Tumor", "Stroma", requested=["Tumor"])
    with pytest.raises(TooFewClassesError, match="only 'Background'"):
        chosen("Region*", "Tumor", requested=["Background"])


def nucleus(kind: ObjectKind, name: str | None) -> PathObject:
    path_class = None if name is None else PathClass(name, (1, 2, 3))
    return PathObject(id=f"{kind}{name}", kind=kind, geometry=box(0, 0, 5, 5), path_class=path_class)


def test_classes_of_nuclei_are_those_of_detections_and_last_what_is_none() -> None:
    region = PathObject(
        id="r", kind=ObjectKind.ANNOTATION, geometry=box(0, 0, 9, 9), path_class=PathClass("Region*", (0, 0, 0))
    )
    tissue = nucleus(ObjectKind.ANNOTATION, "Fat")
    found = [nucleus(ObjectKind.DETECTION, name) for name in ("Tumor", "Other", "Ignore*")]

    choice = choose_nucleus_classes([region, tissue, *found], [PathClass("Tumor", (9, 0, 0))], None)

    assert choice.names == ("Tumor", "Other", "(unlabelled)")
    assert (choice.background, choice.nucleus, choice.subject) == (2, None, Subject.NUCLEI)
    assert [item.is_written for item in choice.classes] == [True, True, False]
    assert choice.rule.unlabelled == 2


def test_nuclei_without_a_class_are_nuclei() -> None:
    choice = choose_nucleus_classes([nucleus(ObjectKind.DETECTION, None)], [], None)

    assert choice.names == ("Nucleus", "(unlabelled)")
    assert choice.nucleus == 0


def test_a_project_without_nuclei_is_refused() -> None:
    with pytest.raises(NoAnnotationError, match="no nuclei"):
        choose_nucleus_classes([], [], None)
    with pytest.raises(NoAnnotationError, match="'Stroma'"):
        choose_nucleus_classes([nucleus(ObjectKind.CELL, "Tumor")], [], ["Stroma"])


def test_tags_name_the_classes_whatever_their_case() -> None:
    choice = choose_tagged_classes(["stroma", "Fat", "Tumor", "Ignore*", "Fat"], PROJECT_CLASSES, None)

    assert [(item.name, item.color_rgb) for item in choice.classes] == [
        ("Tumor", RED),
        ("Stroma", GREEN),
        ("Fat", UNKNOWN_RGB),
    ]
    assert choice.learns_tags
    assert choice.background is None
    assert choice.rule.is_absence_asserted


def test_a_request_chooses_among_the_tags() -> None:
    choice = choose_tagged_classes(["Stroma", "Fat", "Tumor: Positive"], PROJECT_CLASSES, ["Fat", "Tumor"])

    assert choice.names == ("Fat", "Tumor")


@pytest.mark.parametrize(
    ("tags", "requested", "error", "told"),
    [
        ([], None, NoAnnotationError, "supervision=polygons"),
        (["Ignore*"], None, NoAnnotationError, "no tags"),
        (["Tumor"], ["Tumor", "Fat"], NoAnnotationError, "tagged with 'Fat'; tagged are: 'Tumor'"),
        (["Tumor"], None, TooFewClassesError, "only tagged with 'Tumor'"),
    ],
)
def test_tags_that_do_not_suffice_are_refused(
    tags: list[str], requested: list[str] | None, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        choose_tagged_classes(tags, PROJECT_CLASSES, requested)


def test_fewer_classes_keep_their_order_and_what_they_stand_for() -> None:
    found = [nucleus(ObjectKind.DETECTION, name) for name in ("Tumor", "Other", None)]
    choice = choose_nucleus_classes(found, [], None)
    assert choice.names == ("Other", "Tumor", "Nucleus", "(unlabelled)")

    fewer, none = choice.only([1, 2, 3]), choice.only([0, 1])

    assert (fewer.names, fewer.nucleus, fewer.background) == (("Tumor", "Nucleus", "(unlabelled)"), 1, 2)
    assert (none.names, none.nucleus, none.background) == (("Other", "Tumor"), None, None)
