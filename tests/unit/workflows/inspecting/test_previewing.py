import pytest
import shapely

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.workflows.entries.failures import Failure
from qpbridge.workflows.inspecting.previewing import preview_training
from qpbridge.workflows.inspecting.records import ClassReport, EntryReport, ImageReport

BACKGROUND = PathClass("Background", (200, 200, 200))


def drawn(name: str, x_px: float, y_px: float, edge_px: float) -> PathObject:
    """A square on an image of 0.5 µm/px, where a patch is 256 px."""
    shape = shapely.box(x_px, y_px, x_px + edge_px, y_px + edge_px)
    return PathObject(id=name, kind=ObjectKind.ANNOTATION, geometry=shape, path_class=PathClass(name, (0, 0, 0)))


def entry(key: str, *objects: PathObject, **fields: object) -> tuple[EntryReport, tuple[PathObject, ...]]:
    image = ImageReport(width_px=1000, height_px=800, calibration=PixelCalibration.square(0.5))
    names = [item.path_class.name for item in objects if item.path_class]
    classes = tuple(ClassReport(name=name, is_ignored=False, objects=1, annotations=1, area_mm2=None) for name in names)
    return EntryReport(id=key, name=key, image=image, classes=classes, **fields), objects


def test_training_would_use_what_is_labelled_on_entries_without_problems() -> None:
    broken = (Failure(entry="3", reason="SLIDE_NOT_FOUND", message=""),)

    preview = preview_training(
        [
            entry("1", drawn("Tumor", 0, 0, 256), drawn("Stroma: Dense", 300, 300, 100), drawn("Stroma", 0, 0, 128)),
            entry("2", drawn("Tumor", 600, 700, 200)),
            entry("3", drawn("Fat", 0, 0, 100), problems=broken),
            entry("4"),
        ],
        (PathClass("Stroma: Dense", (0, 0, 0)),),
        "Region*",
    )

    assert preview.obstacle is None
    assert preview.entries == ("1", "2")
    assert preview.patches == 2 + 4
    assert {one.name: (one.entries, one.annotations, one.patches) for one in preview.classes} == {
        "Stroma: Dense": (1, 1, 1),
        "Stroma": (1, 1, 1),
        "Tumor": (2, 2, 5),
    }
    areas = {one.name: one.area_mm2 for one in preview.classes}
    # What is covered, and what lies outside the image, does not count.
    assert areas["Tumor"] == pytest.approx((256**2 - 128**2 + 200 * 100) * 0.25e-6)
    assert areas["Stroma"] == pytest.approx(128**2 * 0.25e-6)


def test_the_free_part_of_complete_areas_is_background() -> None:
    region, tumor = drawn("Region*", 0, 0, 512), drawn("Tumor", 0, 0, 100)

    preview = preview_training([entry("1", region, tumor, complete_mm2=0.065536)], (BACKGROUND,), "Region*")

    assert [(one.name, one.patches) for one in preview.classes] == [("Tumor", 1), ("Background", 4)]
    assert preview.classes[1].area_mm2 == pytest.approx((512**2 - 100**2) * 0.25e-6)
    assert preview.complete_mm2 == 0.065536


def test_nuclei_count_where_there_are_complete_areas() -> None:
    kinds = {"detection": 3, "cell": 2, "annotation": 7}

    preview = preview_training([entry("1", kinds=kinds, complete_mm2=0.1), entry("2", kinds=kinds)], (), "Region*")

    assert preview.nuclei == 5


@pytest.mark.parametrize(
    ("objects", "obstacle"),
    [
        ([], "no classified annotation"),
        ([drawn("Tumor", 0, 0, 100)], "only 'Tumor'"),
        ([drawn("Tumor", 0, 0, 100), drawn("Stroma", 0, 0, 100)], "nothing to learn 'Stroma' from"),
        ([drawn("Tumor", 0, 0, 1), drawn("Stroma", 2, 2, 1)], "no patch of 256 px at 0.5 µm/px has more than 1 %"),
    ],
)
def test_it_says_plainly_why_training_would_refuse(objects: list[PathObject], obstacle: str) -> None:
    assert obstacle in (preview_training([entry("1", *objects)], (), "Region*").obstacle or "")
