from shapely import box
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.objects import ObjectKind
from qpbridge.vector.instances.drawn import Painted, without_tissue


def painted(name: str, shape: BaseGeometry, kind: ObjectKind, *, label: int = 1, is_detail: bool = True) -> Painted:
    return Painted(is_detail, -shape.area, name, shape, label, None, kind)


NUCLEI = [painted(f"n{i}", box(10 * i, 0, 10 * i + 5, 5), ObjectKind.DETECTION) for i in range(3)]


def kept(*more: Painted) -> set[str]:
    return {entry.id for entry in without_tissue([*NUCLEI, *more])} - {entry.id for entry in NUCLEI}


def test_an_annotation_around_two_nuclei_is_tissue() -> None:
    assert not kept(painted("tissue", box(-1, -1, 16, 6), ObjectKind.ANNOTATION))


def test_an_annotation_over_one_nucleus_or_none_is_a_nucleus() -> None:
    over, beside = box(-1, -1, 6, 6), box(0, 20, 5, 25)

    assert kept(painted("over", over, ObjectKind.ANNOTATION), painted("beside", beside, ObjectKind.ANNOTATION)) == {
        "over",
        "beside",
    }


def test_unknown_and_complete_areas_stay() -> None:
    around = box(-1, -1, 40, 6)
    unknown = painted("unknown", around, ObjectKind.ANNOTATION, label=IGNORE_INDEX)

    assert kept(unknown, painted("complete", around, ObjectKind.ANNOTATION, is_detail=False)) == {"unknown", "complete"}
