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
from qpbridge.vector.labels import annotated_area_px, class_label, is_region, label_shapes, labels_pixels
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
) -> PathObject:
    path_class = None if name is None else PathClass(name, (200, 0, 0))
    return PathObject(id=key, kind=kind, geometry=geometry, path_class=path_class, plane=plane or Plane())


def painted(*objects: PathObject, background: int | None = None) -> LabelMap:
    return rasterize(label_shapes(objects, NAMES, background=background).shapes, WHOLE, 20, 20)


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
    region, fold = drawn("Region*: Left", box(0, 0, 20, 20)), drawn("Ignore*", box(5, 5, 10, 10))

    labels = painted(region, fold, background=BACKGROUND)

    assert labels_at(labels, (1, 1), (6, 6)) == [BACKGROUND, IGNORE_INDEX]


def test_background_may_be_drawn_too() -> None:
    assert labels_at(painted(drawn("Background", box(0, 0, 5, 5))), (1, 1)) == [BACKGROUND]


def test_derived_classes_belong_to_their_nearest_base() -> None:
    names = ("Tumor", "Tumor: Positive")

    def label(name: str) -> int | None:
        return class_label(PathClass(name, (0, 0, 0)), names)

    assert label("Tumor") == 0
    assert label("Tumor: Negative") == 0
    assert label("Tumor: Positive") == 1
    assert label("Tumor: Positive: Strong") == 1
    assert label("Positive") is None
    assert label("Tumor bud") is None
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
    assert label_shapes([item], NAMES).shapes == ()
    assert annotated_area_px([item]) == {}


def test_a_channel_makes_no_difference() -> None:
    assert labels_pixels(drawn("Tumor", box(0, 0, 9, 9), plane=Plane(c=1)))


def test_self_crossing_outlines_are_mended_and_counted() -> None:
    found = label_shapes([drawn("Tumor", BOW_TIE), drawn("Stroma", box(0, 10, 5, 15))], NAMES)

    assert found.mended == 1
    assert found.outside == 0
    assert all(geometry.is_valid for geometry, _ in found.shapes)
    assert {label: geometry.area for geometry, label in found.shapes} == {TUMOR: 32, STROMA: 25}


def test_outlines_without_an_area_vanish() -> None:
    found = label_shapes([drawn("Tumor", Polygon([(0, 0), (4, 4), (8, 8)]))], NAMES, bounds=WHOLE)

    assert found.shapes == ()
    assert (found.mended, found.outside) == (1, 0)


def test_annotations_outside_the_image_are_left_out_and_counted() -> None:
    objects = [
        drawn("Tumor", box(30, 30, 40, 40)),
        drawn("Tumor", box(-9, 0, -1, 9)),
        drawn("Stroma", box(15, 15, 40, 40)),
        drawn("Necrosis", box(100, 0, 110, 9)),
    ]

    found = label_shapes(objects, NAMES, bounds=WHOLE)

    assert found.outside == 3
    assert [label for _, label in found.shapes] == [STROMA]
    assert label_shapes(objects, NAMES).outside == 0


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


def test_areas_may_be_summed_by_the_classes_of_a_model() -> None:
    objects = [
        drawn("Tumor: Positive", box(0, 0, 10, 10)),
        drawn("Tumor: Negative", box(5, 0, 15, 10)),
        drawn("Stroma", box(0, 0, 10, 10)),
        drawn("Fat", box(0, 0, 10, 10)),
    ]

    assert annotated_area_px(objects, ["Tumor", "Stroma", "Necrosis"]) == {"Tumor": 150, "Stroma": 100}


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
