"""A second run against what a person did meanwhile, and its undoing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import ObjectKind, PathClass, PathObject, Plane
from qpbridge.qupath.geojson import read_objects, write_objects
from qpbridge.qupath.reconcile import DESCRIPTION, reconcile, revert, same_outlines

TUMOR, STROMA = PathClass("Tumor", (200, 0, 0)), PathClass("Stroma", (0, 200, 0))


def square(x: float, y: float = 0, side: float = 100) -> BaseGeometry:
    return shapely.box(x, y, x + side, y + side)


def item(geometry: BaseGeometry, kind: ObjectKind = ObjectKind.ANNOTATION, run: str = "one") -> PathObject:
    key = str(uuid5(NAMESPACE_OID, f"{run} {geometry.wkt}"))
    return PathObject(id=key, kind=kind, geometry=geometry, path_class=TUMOR)


def row(run: str, count: int = 4, shift: float = 0) -> list[PathObject]:
    return [item(square(200 * i + shift), run=run) for i in range(count)]


def nuclei(count: int, seed: int = 0, run: str = "one") -> list[PathObject]:
    centers = np.random.default_rng(seed).uniform(0, 20 * count**0.5, (count, 2))
    outlines = shapely.buffer(shapely.points(centers.round(2)), 5, quad_segs=5)
    return [item(outline, ObjectKind.DETECTION, run) for outline in outlines]


EDITS = {
    "outline": {"geometry": square(3)},
    "class": {"path_class": STROMA},
    "no class": {"path_class": None},
    "name": {"name": "look here"},
    "description": {"metadata": {DESCRIPTION: "necrosis?"}},
    "lock": {"is_locked": True},
}


def test_a_second_run_takes_the_place_of_the_first() -> None:
    first, second = row("one"), row("two", shift=10)

    found = reconcile(first, first, second)

    assert found.objects == tuple(second)
    assert found.replaced == tuple(first)
    assert not found.kept
    assert not found.dropped
    assert found.starts_afresh


def test_what_was_written_locked_is_replaced_unless_somebody_unlocked_it() -> None:
    first = [replace(one, is_locked=True) for one in row("one")]
    there = [replace(first[0], is_locked=False), *first[1:]]

    found = reconcile(there, first, row("two", shift=60))

    assert found.kept == (there[0],)
    assert found.replaced == tuple(first[1:])
    assert revert(first, first, ()).objects == ()


def test_the_same_run_again_changes_nothing() -> None:
    first = row("one")

    assert reconcile(first, first, row("one")).objects == tuple(first)


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_what_a_person_edited_or_locked_stays_and_nothing_new_comes_on_top(edit: dict[str, object]) -> None:
    first, second = row("one"), row("two", shift=10)
    edited = replace(first[0], **edit)

    found = reconcile([edited, *first[1:]], first, second)

    assert found.kept == (edited,)
    assert found.dropped == (second[0],)
    assert found.objects == (edited, *second[1:])
    assert not found.starts_afresh


def test_what_a_person_drew_stays_and_nothing_new_comes_on_top() -> None:
    first, second = row("one"), row("two")
    drawn = replace(item(square(205), run="hand"), path_class=STROMA)

    found = reconcile([*first, drawn], first, second)

    assert found.kept == (drawn,)
    assert found.dropped == (second[1],)


@pytest.mark.parametrize("path_class", [None, PathClass("Region*", (0, 0, 0)), PathClass("Ignore*", (0, 0, 0))])
def test_an_area_that_a_person_drew_is_not_in_the_way(path_class: PathClass | None) -> None:
    area = replace(item(square(0, side=110), run="hand"), path_class=path_class)

    found = reconcile([area], [], row("one"))

    assert found.kept == (area,)
    assert found.added == tuple(row("one"))


def test_one_of_ours_from_which_a_person_took_the_class_is_in_the_way() -> None:
    first, second = row("one"), row("two", shift=5)

    found = reconcile([replace(first[0], path_class=None)], first[:1], second[:1])

    assert found.dropped == (second[0],)


def test_objects_that_overlap_by_half_or_less_both_stay() -> None:
    drawn = item(square(50), run="hand")

    assert reconcile([drawn], [], row("one", 1)).added == tuple(row("one", 1))


def test_a_nucleus_whose_centroid_lies_in_one_that_stays_is_dropped() -> None:
    drawn = item(shapely.Point(0, 0).buffer(10), ObjectKind.CELL, "hand")
    inside = item(shapely.Point(8, 0).buffer(4), ObjectKind.DETECTION)
    beside = item(shapely.Point(12, 0).buffer(4), ObjectKind.DETECTION)

    found = reconcile([drawn], [], [inside, beside])

    assert found.dropped == (inside,)
    assert found.added == (beside,)


def test_a_nucleus_inside_a_region_that_a_person_drew_is_added() -> None:
    region = item(square(0, side=1000), run="hand")
    nucleus = item(shapely.Point(500, 500).buffer(4), ObjectKind.DETECTION)

    assert reconcile([region], [], [nucleus]).added == (nucleus,)


def test_objects_of_another_plane_are_not_in_the_way() -> None:
    drawn = replace(item(square(0), ObjectKind.DETECTION, "hand"), plane=Plane(z=2))
    new = item(square(0), ObjectKind.DETECTION)

    assert reconcile([drawn], [], [new]).added == (new,)


def test_an_object_that_a_person_deleted_does_not_come_back() -> None:
    first = row("one")

    found = reconcile(first[1:], first, row("one"))

    assert found.dropped == (first[0],)
    assert found.objects == tuple(first[1:])


def test_a_deleted_object_does_not_come_back_from_another_model_with_the_same_outline_and_class() -> None:
    first, second = row("one"), row("two")

    assert reconcile(first[1:], first, second).dropped == (second[0],)


def test_a_new_finding_where_one_was_deleted_is_added() -> None:
    first = row("one")
    shifted, other = row("two", shift=10)[0], replace(row("two")[0], path_class=STROMA)

    assert reconcile(first[1:], first, [shifted]).added == (shifted,)
    assert reconcile(first[1:], first, [other]).added == (other,)


def test_where_everything_was_cleared_away_everything_comes_back() -> None:
    first = row("one")
    drawn = item(square(5000), run="hand")

    found = reconcile([drawn], first, row("one"))

    assert found.added == tuple(first)
    assert found.starts_afresh


def test_the_original_of_an_object_that_was_moved_far_away_does_not_come_back() -> None:
    first = row("one")
    moved = replace(first[0], geometry=square(9000))

    found = reconcile([moved, *first[1:]], first, row("one"))

    assert found.dropped == (first[0],)
    assert sorted(one.id for one in found.objects) == sorted(one.id for one in first)


def test_objects_outside_the_area_that_was_looked_at_stay() -> None:
    first = row("one")
    second = [item(square(40), run="two")]

    found = reconcile(first, first, second, within=shapely.box(-10, -10, 230, 200))

    assert found.replaced == (first[0],)
    assert found.kept == tuple(first[1:])
    assert found.added == tuple(second)
    assert not found.starts_afresh


def test_copies_with_the_same_id_all_go() -> None:
    first = row("one")

    assert reconcile([*first, *first], first, row("two")).objects == tuple(row("two"))


def test_crossing_outlines_of_a_person_do_no_harm() -> None:
    crossing = item(shapely.Polygon([(0, 0), (100, 100), (100, 0), (0, 100)]), run="hand")

    found = reconcile([crossing], [], row("one"))

    assert found.kept == (crossing,)
    assert len(found.added) == 4


def test_an_edited_nucleus_of_a_cell_is_an_edit() -> None:
    cell = replace(item(square(0), ObjectKind.CELL), nucleus=square(30, 30, 20))
    edited = replace(cell, nucleus=square(30, 30, 25))

    assert reconcile([edited], [cell], []).kept == (edited,)
    assert reconcile([replace(cell, nucleus=None)], [cell], []).kept
    assert reconcile([cell], [cell], []).replaced == (cell,)


def test_all_objects_end_in_one_part_each() -> None:
    existing, new = [*nuclei(300), *nuclei(100, 2, "hand")], nuclei(400, 3, "two")

    found = reconcile(existing, nuclei(300), new)

    assert sorted(one.id for one in found.kept + found.replaced) == sorted(one.id for one in existing)
    assert sorted(one.id for one in found.added + found.dropped) == sorted(one.id for one in new)


def test_iou_is_that_of_a_plain_computation() -> None:
    kept, new = nuclei(200, 1, "hand"), nuclei(400, 2)
    plain = [
        one
        for one in new
        if any(
            other.geometry.intersects(one.geometry.centroid)
            or one.geometry.intersection(other.geometry).area > 0.5 * one.geometry.union(other.geometry).area
            for other in kept
        )
    ]

    assert 0 < len(plain) < len(new)
    assert reconcile(kept, [], new).dropped == tuple(plain)


def test_an_undone_run_leaves_what_was_there_before() -> None:
    first, second = row("one"), row("two", shift=10)
    done = reconcile(first, first, second)

    undone = revert(done.objects, done.added, done.replaced)

    assert undone.objects == tuple(first)
    assert undone.replaced == tuple(second)


def test_undoing_keeps_what_a_person_did_since() -> None:
    first, second = row("one"), row("two", shift=10)
    done = reconcile(first, first, second)
    edited, drawn = replace(second[0], name="mine"), item(square(9000), run="hand")

    undone = revert([edited, *second[1:], drawn], done.added, done.replaced)

    assert undone.kept == (edited, drawn)
    assert undone.dropped == (first[0],)
    assert undone.added == tuple(first[1:])


def test_undoing_twice_changes_nothing_more() -> None:
    first, second = row("one"), row("two", shift=10)
    done = reconcile(first, first, second)
    once = revert(done.objects, done.added, done.replaced)

    assert revert(once.objects, done.added, done.replaced).objects == once.objects


def test_undoing_brings_the_same_objects_back_that_the_run_had_found_again() -> None:
    first = row("one")
    done = reconcile(first, first, row("one"))

    assert revert(done.objects, done.added, done.replaced).objects == tuple(first)


def as_qupath_keeps_it(geometry: BaseGeometry, turn: int) -> BaseGeometry:
    def rounded(xy: Sequence[float]) -> np.ndarray:
        return (np.asarray(xy) * 100).round() / 100

    ring = shapely.get_coordinates(geometry)[:-1]
    turned = np.roll(ring, turn, axis=0)[:: 1 if turn % 2 else -1]
    floats = rounded(turned).astype(np.float32).astype(float)
    return shapely.Polygon(np.repeat(floats, [1 + (i == 0) for i in range(len(floats))], axis=0))


@given(st.integers(0, 400_000), st.integers(0, 400_000), st.integers(3, 40), st.integers(0, 39), st.integers(1, 60))
def test_what_qupath_does_to_coordinates_is_no_edit(x: int, y: int, corners: int, turn: int, radius: int) -> None:
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    outline = shapely.Polygon(np.c_[x / 3 + radius * np.cos(angles), y / 7 + radius * np.sin(angles)])
    moved = shapely.transform(outline, lambda xy: xy + np.array([0, 0.2]))

    assert same_outlines([outline], [as_qupath_keeps_it(outline, turn)]).all()
    assert not same_outlines([outline], [as_qupath_keeps_it(moved, turn)]).any()


def test_an_added_hole_is_an_edit() -> None:
    whole, holed = square(0), square(0).difference(square(40, 40, 10))

    assert not same_outlines([whole], [holed]).any()


def test_objects_written_and_read_again_are_unedited(tmp_path: Path) -> None:
    first = [*nuclei(200), *row("one")]
    write_objects(tmp_path / "run.geojson", first)
    again = read_objects(tmp_path / "run.geojson").objects

    assert reconcile(again, first, []).kept == ()
