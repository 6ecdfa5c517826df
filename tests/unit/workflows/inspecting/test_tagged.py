from collections.abc import Mapping

import pytest
import shapely

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.workflows.inspecting.records import EntryReport, ImageReport, TaggedClass, TagPreview
from qpbridge.workflows.inspecting.tagged import preview_tags

CLASSES = (PathClass("Tumor", (200, 0, 0)), PathClass("Stroma", (0, 200, 0)))


def drawn(name: str, edge_px: float = 100) -> PathObject:
    shape = shapely.box(0, 0, edge_px, edge_px / 2)
    return PathObject(id=name, kind=ObjectKind.ANNOTATION, geometry=shape, path_class=PathClass(name, (0, 0, 0)))


def entry(
    *objects: PathObject, metadata: Mapping[str, str] | None = None
) -> tuple[EntryReport, tuple[PathObject, ...]]:
    image = ImageReport(width_px=1000, height_px=800, calibration=PixelCalibration.square(0.5))
    return EntryReport(id="1", name="1", image=image, metadata=metadata or {}), objects


def preview(*entries: tuple[EntryReport, tuple[PathObject, ...]]) -> TagPreview | None:
    return preview_tags(entries, CLASSES, "Region*")


def test_tagged_areas_are_counted_by_class() -> None:
    found = preview(
        entry(drawn("Region*: Tumor"), drawn("Region*: stroma"), drawn("Region*: Tumor: Fat", 300), drawn("Tumor")),
        entry(metadata={"tissues": "Stroma"}),
    )

    assert found == TagPreview(
        classes=(
            TaggedClass(name="Tumor", present=2, absent=2),
            TaggedClass(name="Stroma", present=2, absent=2),
            TaggedClass(name="Fat", present=1, absent=3),
        ),
        areas=4,
        edge_um=(50 + 150) / 2,
    )


def test_without_tags_there_is_nothing_to_tell() -> None:
    assert preview(entry(drawn("Region*"), drawn("Tumor"))) is None


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        (["Region*: Tumor: Stroma", "Region*: Tumor"], "where 'Tumor' is"),
        (["Region*: Tumor"], "only tagged with 'Tumor'"),
    ],
)
def test_what_cannot_be_learnt_is_told(tags: list[str], told: str) -> None:
    found = preview(entry(*(drawn(tag) for tag in tags)))

    assert found is not None
    assert found.obstacle is not None
    assert told in found.obstacle
