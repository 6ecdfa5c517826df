from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Point, Polygon, box
from shapely.geometry import LineString
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.core.geometry import Region
from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.vector.labels import (
    UNLABELLED,
    ImageLabels,
    LabelRule,
    Subject,
    annotated_area_px,
    is_region,
    label_rule,
    labels_pixels,
    read_labels,
    visible_areas_px,
)
from qpbridge.vector.raster import rasterize

NAMES = ("Tumor", "Stroma", "Background")
TUMOR, STROMA, BACKGROUND = range(3)
WHOLE = Region(x_px=0, y_px=0, width_px=20, height_px=20)
BOW_TIE = Polygon([(0, 0), (8, 8), (8, 0), (0, 8)])


def drawn(
    name: str | None,
    geometry: BaseGeometry,
    *,
    kind: ObjectKind = ObjectKind.ANNOTATION,
    plane: Plane | None = None,
    key: str = "a",
    **options: Any,
) -> PathObject:
    path_class = None if name is None else PathClass(name, (200, 0, 0))
    return PathObject(id=key, kind=kind, geometry=geometry, path_class=path_class, plane=plane or Plane(), **options)


def read(*objects: PathObject, bounds: Region | None = None, unlabelled: int | None = None) -> ImageLabels:
    return read_labels(objects, LabelRule(class_names=NAMES, unlabelled=unlabelled), bounds=bounds)


def painted(*objects: PathObject, background: int | None = None) -> LabelMap:
    return rasterize(read(*objects, unlabelled=background).shapes, WHOLE, 20, 20)


def labels_at(label_map: LabelMap, *points: tuple[int, int]) -> list[int]:
    return [int(label_map[y, x]) for x, y in points]


def test_what_nobody_annotated_is_unknown() -> None:
    labels = painted(drawn("Tumor", box(2, 2, 6, 6)), background=BACKGROUND)

    assert (labels[2:6, 2:6] == TUMOR).all()
    assert np.count_nonzero(labels == IGNORE_INDEX) == 400 - 16


@pytest.mark.parametrize("order", [1, -1])
def test_the_smaller_annotation_lies_on_top_in_whatever_order_they_come(order: int) -> None:
    objects = [drawn("Tumor", box(0, 0, 20, 20)), drawn("Stroma", box(5, 5, 15, 15)), drawn("Tumor", box(8, 8, 10, 10))]

    labels = painted(*objects[::order])

    assert labels_at(labels, (1, 1), (6, 6), (9, 9)) == [TUMOR, STROMA, TUMOR]


def test_of_two_equally_large_ones_the_order_is_fixed_by_their_ids() -> None:
    a, b = drawn("Tumor", box(0, 0, 10, 10), key="a"), drawn("Stroma", box(5, 0, 15, 10), key="b")

    assert labels_at(painted(a, b), (7, 5)) == labels_at(painted(b, a), (7, 5)) == [STROMA]


def test_the_area_counts_not_the_extent() -> None:
    ring = box(0, 0, 20, 20) - box(1, 1, 19, 19)

    labels = painted(drawn("Stroma", ring), drawn("Tumor", box(0, 0, 10, 10)))

    assert labels_at(labels, (0, 0), (5, 5), (19, 19)) == [STROMA, TUMOR, STROMA]


@pytest.mark.parametrize("name", ["Ignore*", "ignore this", "Ignored: Fold", "Fold*", "Necrosis"])
def test_ignored_classes_and_those_not_asked_for_say_unknown(name: str) -> None:
    labels = painted(drawn("Tumor", box(0, 0, 20, 20)), drawn(name, box(5, 5, 10, 10)))

    assert (labels[5:10, 5:10] == IGNORE_INDEX).all()
    assert np.count_nonzero(labels == TUMOR) == 400 - 25


def test_what_a_prediction_suggests_to_look_at_hides_nothing() -> None:
    labels = painted(drawn("Tumor", box(0, 0, 20, 20)), drawn("Review*", box(5, 5, 10, 10)))

    assert (labels == TUMOR).all()


def test_the_smaller_lies_on_top_of_what_is_ignored() -> None:
    labels = painted(drawn("Ignore*", box(0, 0, 20, 20)), drawn("Tumor", box(5, 5, 10, 10)))

    assert np.count_nonzero(labels == TUMOR) == 25
    assert np.count_nonzero(labels == IGNORE_INDEX) == 375


def test_completely_annotated_areas_are_background_where_nothing_is_drawn() -> None:
    # The region is smaller than the annotation that it cuts, and still lies below it.
    objects = (drawn("Region*", box(0, 0, 10, 10)), drawn("Tumor", box(8, 0, 20, 20)))

    assert labels_at(painted(*objects, background=BACKGROUND), (1, 1), (9, 1), (15, 15), (1, 15)) == [
        BACKGROUND,
        TUMOR,
        TUMOR,
        IGNORE_INDEX,
    ]
    assert labels_at(painted(*objects), (1, 1), (9, 1)) == [IGNORE_INDEX, TUMOR]


def test_nothing_is_known_where_the_user_ignores_a_part_of_a_completely_annotated_area() -> None:
    region, fold = drawn("Region*", box(0, 0, 20, 20)), drawn("Ignore*", box(5, 5, 10, 10))

    labels = painted(region, fold, background=BACKGROUND)

    assert labels_at(labels, (1, 1), (6, 6)) == [BACKGROUND, IGNORE_INDEX]


def test_background_may_be_drawn_too() -> None:
    assert labels_at(painted(drawn("Background", box(0, 0, 5, 5))), (1, 1)) == [BACKGROUND]


def test_derived_classes_label_as_their_nearest_base() -> None:
    assert labels_at(painted(drawn("Stroma: Dense", box(0, 0, 5, 5))), (1, 1)) == [STROMA]


@pytest.mark.parametrize(
    "item",
    [
        drawn(None, box(0, 0, 9, 9)),
        drawn("Tumor", box(0, 0, 9, 9), kind=ObjectKind.DETECTION),
        drawn("Tumor", box(0, 0, 9, 9), kind=ObjectKind.TILE),
        drawn("Tumor", box(0, 0, 9, 9), plane=Plane(z=1)),
        drawn("Tumor", box(0, 0, 9, 9), plane=Plane(t=2)),
        drawn("Tumor", Point(3, 3)),
        drawn("Tumor", LineString([(0, 0), (9, 9)])),
    ],
)
def test_only_classified_annotations_with_an_area_on_the_first_plane_label_pixels(item: PathObject) -> None:
    assert not labels_pixels(item)
    assert read(item).shapes == ()
    assert annotated_area_px([item]) == {}


def test_a_channel_makes_no_difference() -> None:
    assert labels_pixels(drawn("Tumor", box(0, 0, 9, 9), plane=Plane(c=1)))


def test_self_crossing_outlines_are_mended_and_counted() -> None:
    found = read(drawn("Tumor", BOW_TIE), drawn("Stroma", box(0, 10, 5, 15)))

    assert found.mended == 1
    assert found.outside == 0
    assert all(geometry.is_valid for geometry, _ in found.shapes)
    assert {label: geometry.area for geometry, label in found.shapes} == {TUMOR: 32, STROMA: 25}


def test_outlines_without_an_area_vanish() -> None:
    found = read(drawn("Tumor", Polygon([(0, 0), (4, 4), (8, 8)])), bounds=WHOLE)

    assert found.shapes == ()
    assert (found.mended, found.outside) == (1, 0)


def test_annotations_outside_the_image_are_left_out_and_counted() -> None:
    objects = [
        drawn("Tumor", box(30, 30, 40, 40)),
        drawn("Tumor", box(-9, 0, -1, 9)),
        drawn("Stroma", box(15, 15, 40, 40)),
        drawn("Necrosis", box(100, 0, 110, 9)),
    ]

    found = read(*objects, bounds=WHOLE)

    assert found.outside == 3
    assert [label for _, label in found.shapes] == [STROMA]
    assert read(*objects).outside == 0


def test_parts_of_one_annotation_stay_together() -> None:
    parts = MultiPolygon([box(0, 0, 5, 5), box(10, 10, 15, 15)])

    assert labels_at(painted(drawn("Tumor", parts)), (1, 1), (12, 12), (7, 7)) == [TUMOR, TUMOR, IGNORE_INDEX]


def test_regions_are_known_by_the_first_part_of_their_class() -> None:
    assert is_region(PathClass("Region*", (0, 0, 0)))
    assert is_region(PathClass("Region*: Tumor: Stroma", (0, 0, 0)))
    assert not is_region(PathClass("Tumor: Region*", (0, 0, 0)))
    assert not is_region(PathClass("Region", (0, 0, 0)))


def test_overlaps_count_once_a_class() -> None:
    objects = [
        drawn("Tumor", box(0, 0, 10, 10)),
        drawn("Tumor", box(5, 0, 15, 10)),
        drawn("Stroma", box(0, 0, 10, 10)),
        drawn("Tumor: Positive", box(0, 0, 2, 2)),
        drawn("Tumor", BOW_TIE),
        drawn("Ignore*", box(0, 0, 9, 9)),
        drawn("Region*", box(0, 0, 9, 9)),
    ]

    assert annotated_area_px(objects) == pytest.approx({"Tumor": 150, "Stroma": 100, "Tumor: Positive": 4})


@pytest.mark.parametrize("bounds", [None, WHOLE])
def test_the_visible_area_of_a_label_is_that_of_its_pixels(bounds: Region | None) -> None:
    objects = [
        drawn("Region*", box(0, 0, 20, 20)),
        drawn("Tumor: Positive", box(0, 0, 10, 10)),
        drawn("Tumor: Negative", box(5, 0, 15, 10)),
        drawn("Stroma", box(0, 0, 10, 4)),
        drawn("Fat", box(0, 0, 3, 3)),
    ]
    shapes = read(*objects, unlabelled=BACKGROUND).shapes
    labels = rasterize(shapes, WHOLE, 20, 20)

    areas = visible_areas_px(shapes, bounds)

    assert areas == {label: np.count_nonzero(labels == label) for label in (TUMOR, STROMA, BACKGROUND)}


def test_area_outside_the_image_is_not_visible() -> None:
    shapes = read(drawn("Tumor", box(10, 10, 30, 30)), bounds=WHOLE).shapes

    assert visible_areas_px(shapes, WHOLE) == {TUMOR: 100}
    assert visible_areas_px(shapes) == {TUMOR: 400}
    assert visible_areas_px([], WHOLE) == {}


def test_a_project_names_its_classes_in_its_order_and_the_rest_of_complete_areas() -> None:
    listed = [PathClass(name, (0, 0, 0)) for name in ("Stroma", "Tumor", "Background", "Ignore*")]
    drawings = [drawn(name, box(0, 0, 9, 9)) for name in ("Tumor", "Fat", "Stroma", "Ignore*", None)]
    region = drawn("Region*", box(0, 0, 9, 9))

    assert label_rule(drawings, listed) == LabelRule(class_names=("Stroma", "Tumor", "Fat"))
    assert label_rule([*drawings, region], listed).class_names == ("Stroma", "Tumor", "Fat", "Background")
    assert label_rule([*drawings, region], listed, ["Background", "Fat", "Fat"]) == LabelRule(
        class_names=("Background", "Fat"), unlabelled=0
    )
    assert label_rule([*drawings, region], ()).class_names == ("Fat", "Stroma", "Tumor", UNLABELLED)
    assert label_rule([*drawings, region], ()).unlabelled == 3


def test_another_class_may_mark_complete_areas() -> None:
    objects = [drawn("Done: All", box(0, 0, 20, 20)), drawn("Tumor", box(0, 0, 5, 5))]

    rule = label_rule(objects, [PathClass("Background", (0, 0, 0))], region_class="Done: All")
    labels = rasterize(read_labels(objects, rule).shapes, WHOLE, 20, 20)

    assert rule.class_names == ("Tumor", "Background")
    assert labels_at(labels, (1, 1), (9, 9)) == [0, 1]
    assert annotated_area_px(objects, "Done: All") == {"Tumor": 25}


TISSUES = {"Tissues": "Tumor, stroma;"}


@pytest.mark.parametrize(
    "item",
    [
        drawn("Region*: Tumor: Stroma", box(0, 0, 10, 10)),
        drawn("Region*", box(0, 0, 10, 10), metadata=TISSUES),
        drawn("Region*: Stroma", box(0, 0, 10, 10), metadata={"tissues": "Tumor: Positive"}),
        drawn(None, box(0, 0, 10, 10), metadata=TISSUES),
        drawn("Region*: Tumor: Stroma", box(0, 0, 10, 10), kind=ObjectKind.TILE),
        drawn(None, box(0, 0, 10, 10), kind=ObjectKind.TILE, metadata=TISSUES),
    ],
)
def test_tags_say_which_classes_occur_and_label_no_pixel(item: PathObject) -> None:
    labels = read(item, unlabelled=BACKGROUND)

    assert [(area.geometry, area.presence, area.strangers) for area in labels.tagged] == [
        (item.geometry, (True, True, None), ())
    ]
    assert labels.shapes == ()


@pytest.mark.parametrize("is_asserted", [True, False])
def test_what_no_tag_names_is_absent_or_unknown_by_choice(is_asserted: bool) -> None:
    rule = LabelRule(class_names=NAMES, is_absence_asserted=is_asserted)

    (area,) = read_labels([drawn("Region*: Stroma: Fat: Ignore*", box(0, 0, 9, 9))], rule).tagged

    assert area.presence == ((False, True, False) if is_asserted else (None, True, None))
    assert area.strangers == ("Fat",)


def test_absence_may_be_stated_where_silence_says_nothing() -> None:
    rule = LabelRule(class_names=NAMES, is_absence_asserted=False)

    (derived, stated) = read_labels(
        [
            drawn("Region*: Stroma: no Tumor: No Fat", box(0, 0, 9, 9)),
            drawn(None, box(0, 0, 9, 9), metadata={"tissues": "no tumor, Tumor, no Stroma"}),
        ],
        rule,
    ).tagged

    assert (derived.presence, derived.strangers) == ((False, True, None), ("No Fat",))
    assert stated.presence == (True, False, None)


def test_nothing_occurs_where_the_tag_is_empty() -> None:
    (area,) = read(drawn("Region*", box(0, 0, 9, 9), metadata={"tissues": ""})).tagged

    assert area.presence == (False, False, False)


@pytest.mark.parametrize(
    "item",
    [
        drawn("Region*", box(0, 0, 9, 9)),
        drawn(None, box(0, 0, 9, 9), metadata={"note": "Tumor"}),
        drawn("Tumor", box(0, 0, 9, 9), metadata=TISSUES),
        drawn("Region*: Tumor", box(0, 0, 9, 9), plane=Plane(z=1)),
        drawn("Region*: Tumor", Point(3, 3)),
        drawn(None, box(0, 0, 9, 9), kind=ObjectKind.DETECTION, metadata=TISSUES),
    ],
)
def test_nothing_else_is_a_tag(item: PathObject) -> None:
    assert read(item, unlabelled=BACKGROUND).tagged == ()


def test_tagged_areas_hide_nothing_and_those_outside_the_image_are_counted() -> None:
    objects = [drawn("Tumor", box(0, 0, 20, 20)), drawn("Region*: Stroma", box(2, 2, 8, 8))]

    assert (painted(*objects) == TUMOR).all()
    assert read(drawn("Region*: Stroma", box(30, 30, 40, 40)), bounds=WHOLE) == ImageLabels(outside=1)


@pytest.mark.parametrize(
    ("metadata", "tags", "presence"),
    [
        ({"tissues": "Tumor"}, (), (True, False, False)),
        ({}, ("reviewed", "stroma"), (False, True, False)),
        ({"tissues": "Tumor"}, ("Stroma",), (True, True, False)),
        ({"patient": "P-01"}, ("reviewed",), None),
    ],
)
def test_the_entry_may_tag_the_whole_image(
    metadata: dict[str, str], tags: tuple[str, ...], presence: tuple[bool, ...] | None
) -> None:
    labels = read_labels([], LabelRule(class_names=NAMES), bounds=WHOLE, metadata=metadata, tags=tags)

    assert [(area.presence, area.geometry.bounds) for area in labels.tagged] == (
        [] if presence is None else [(presence, (0, 0, 20, 20))]
    )


def test_names_typed_by_hand_count_only_where_one_class_fits() -> None:
    rule = LabelRule(class_names=("Tumor", "tumor", "Fat tissue"))

    (area,) = read_labels([drawn("Region*: TUMOR: fattissue: tumor", box(0, 0, 9, 9))], rule).tagged

    assert area.presence == (False, True, True)
    assert area.strangers == ("TUMOR",)


NUCLEI = LabelRule(class_names=("(none)", "Tumor"), unlabelled=0, nucleus=1, subject=Subject.NUCLEI)


def test_a_complete_area_without_a_nucleus_holds_none() -> None:
    objects = [
        drawn("Region*", box(0, 0, 20, 10)),
        drawn("Tumor", box(1, 1, 4, 4), kind=ObjectKind.DETECTION),
        drawn(None, box(5, 1, 8, 4), kind=ObjectKind.DETECTION),
        drawn("Ignore*", box(9, 1, 12, 4), kind=ObjectKind.DETECTION),
        drawn("Tumor", box(1, 5, 8, 9), kind=ObjectKind.CELL, nucleus=box(3, 6, 6, 8)),
        drawn("Tumor", box(9, 5, 12, 9), kind=ObjectKind.CELL),
        drawn("Stroma", box(0, 0, 20, 20)),
        drawn("Tumor", box(13, 1, 16, 4)),
        drawn(None, box(0, 12, 4, 16), kind=ObjectKind.TILE),
    ]

    labels = rasterize(read_labels(objects, NUCLEI).shapes, WHOLE, 20, 20)

    nuclei = [(2, 2), (6, 2), (4, 7), (14, 2)]
    assert labels_at(labels, *nuclei) == [1, 1, 1, 1]
    assert labels_at(labels, (0, 0), (2, 7), (17, 2), (2, 14)) == [0, 0, 0, 0]
    assert labels_at(labels, (10, 2), (10, 7), (10, 15)) == [IGNORE_INDEX] * 3


def test_an_annotation_around_nuclei_is_tissue_but_one_over_a_nucleus_is_a_nucleus() -> None:
    objects = [
        drawn("Region*", box(0, 0, 20, 10)),
        drawn("Tumor", box(0, 0, 12, 10)),
        drawn("Tumor", box(1, 1, 4, 4), kind=ObjectKind.DETECTION),
        drawn("Tumor", box(5, 1, 8, 4), kind=ObjectKind.DETECTION),
        drawn("Tumor", box(13, 1, 18, 6)),
        drawn("Tumor", box(14, 2, 17, 5), kind=ObjectKind.DETECTION),
        drawn("Ignore*", box(0, 0, 12, 5)),
    ]

    labels = rasterize(read_labels(objects, NUCLEI).shapes, WHOLE, 20, 20)

    assert labels_at(labels, (2, 2), (6, 2), (13, 1)) == [1, 1, 1]
    assert labels_at(labels, (10, 5), (19, 1)) == [0, 0]
    assert labels_at(labels, (10, 2)) == [IGNORE_INDEX]


boxes = st.tuples(*[st.integers(0, 15)] * 2, *[st.integers(1, 12)] * 2).map(
    lambda edges: box(edges[0], edges[1], edges[0] + edges[2], edges[1] + edges[3])
)
annotations = st.lists(
    st.tuples(st.sampled_from([*NAMES, "Region*", "Ignore*", "Fat"]), boxes),
    max_size=6,
    unique_by=lambda one: one[1].area,
)


@given(annotations, st.sampled_from([None, BACKGROUND]))
@settings(deadline=None, max_examples=60)
def test_each_pixel_gets_the_label_of_the_smallest_annotation_over_it(
    objects: list[tuple[str, Polygon]], background: int | None
) -> None:
    labels = painted(
        *[drawn(name, shape, key=str(i)) for i, (name, shape) in enumerate(objects)], background=background
    )

    for y in range(20):
        for x in range(20):
            over = [(shape.area, name) for name, shape in objects if shape.contains(Point(x + 0.5, y + 0.5))]
            smallest = min((one for one in over if one[1] != "Region*"), default=None)
            if smallest is not None:
                expected = NAMES.index(smallest[1]) if smallest[1] in NAMES else IGNORE_INDEX
            else:
                expected = background if over and background is not None else IGNORE_INDEX
            assert labels[y, x] == expected
