import dataclasses

import pytest
import shapely

from qpbridge.core.objects import ObjectKind, PathClass, PathObject, annotations_of, count_suggestions, path_objects


def item(number: int, kind: ObjectKind = ObjectKind.ANNOTATION) -> PathObject:
    return PathObject(id=str(number), kind=kind, geometry=shapely.Point(number, 0))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Tumor", ("Tumor",)),
        ("Tumor: Positive", ("Tumor", "Positive")),
        ("a: b: c", ("a", "b", "c")),
        ("ratio 1:2", ("ratio 1:2",)),
    ],
)
def test_a_class_has_its_bases_first(name: str, parts: tuple[str, ...]) -> None:
    assert PathClass(name, (0, 0, 0)).parts == parts


@pytest.mark.parametrize(
    ("name", "is_ignored"),
    [
        ("Ignore*", True),
        ("ignored stuff", True),
        ("Region*", True),
        ("Region*: Tumor", True),
        ("Necrosis*", True),
        ("Tumor", False),
        ("Tumor: Ignore*", False),
        ("Not ignored", False),
        ("*Tumor", False),
    ],
)
def test_the_base_class_decides_what_is_left_out_of_training(name: str, is_ignored: bool) -> None:
    assert PathClass(name, (0, 0, 0)).is_ignored == is_ignored


def test_suggestions_are_known_by_their_class() -> None:
    classes = [PathClass(name, (0, 0, 0)) for name in ("Review*", "Region*", "Review", "Tumor")]
    objects = [
        PathObject(id=str(i), kind=ObjectKind.ANNOTATION, geometry=shapely.Point(0, 0), path_class=one)
        for i, one in enumerate([*classes, None])
    ]

    assert [one.is_suggestion for one in classes] == [True, False, False, False]
    assert count_suggestions(objects) == 1


def test_annotations_are_picked_in_their_order() -> None:
    objects = [item(number, kind) for number, kind in enumerate([*ObjectKind, ObjectKind.ANNOTATION])]

    assert annotations_of(objects) == [objects[0], objects[-1]]
    assert annotations_of(objects[1:-1]) == []


def test_what_an_object_leaves_open_no_one_can_fill_for_all() -> None:
    with pytest.raises(TypeError):
        item(1).metadata["a"] = "b"  # type: ignore[index]
    with pytest.raises(TypeError):
        item(1).measurements["a"] = 1.0  # type: ignore[index]

    assert not item(2).metadata
    assert not item(2).measurements


def test_many_objects_made_at_once_equal_those_made_one_by_one() -> None:
    one_by_one = [PathObject(id=f"{n}", kind=ObjectKind.CELL, geometry=shapely.Point(n, 0), name="a") for n in range(3)]
    names = [field.name for field in dataclasses.fields(PathObject)]

    at_once = path_objects({name: [getattr(item, name) for item in one_by_one] for name in names})

    assert at_once == tuple(one_by_one)
    with pytest.raises(dataclasses.FrozenInstanceError):
        at_once[0].name = "b"  # type: ignore[misc]


@pytest.mark.parametrize("values", [{}, {"id": ["1"]}])
def test_objects_are_not_made_of_some_fields_only(values: dict[str, list[object]]) -> None:
    with pytest.raises(ValueError, match="all fields of PathObject"):
        path_objects(values)
