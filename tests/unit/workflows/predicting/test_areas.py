import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from shapely import LineString, box

from qpbridge.core.geometry import Region
from qpbridge.core.objects import PathClass, PathObject, Plane
from qpbridge.errors import InvalidValueError, NoAnnotationError
from qpbridge.inference.interest import Interest
from qpbridge.workflows.entries.sources import Source, sources_of_project
from qpbridge.workflows.predicting.areas import interest_digest, interest_of

Annotate = Callable[..., PathObject]


@pytest.fixture
def source(make_project: Callable[..., Path], annotate: Annotate) -> Source:
    """An entry of 400 x 300 px with one saved annotation."""
    return sources_of_project(make_project({"a.png": [annotate("Stroma", 300, 100, 350, 150)]}))[0]


def wanted(source: Source, region: Region | None = None, within: Sequence[str] = ()) -> Interest | None:
    with source.open(None) as opened:
        return interest_of(source, opened, region, within)


def test_without_annotations_and_region_the_whole_slide_is_wanted(source: Source) -> None:
    assert wanted(source) is None
    assert interest_digest(None) is None


def test_annotations_given_are_the_areas_of_interest_whatever_their_class(source: Source, annotate: Annotate) -> None:
    drawn = (annotate("Tumor", 10, 10, 50, 50), replace(annotate("x", 40, 10, 90, 50), path_class=None))

    given = wanted(replace(source, given=drawn))
    joined = wanted(replace(source, given=drawn, keeps_saved=True))

    assert given is not None
    assert joined is not None
    assert given.geometry.equals(box(10, 10, 90, 50))
    assert joined.geometry.equals(box(10, 10, 90, 50) | box(300, 100, 350, 150))
    assert interest_digest(given) != interest_digest(joined)


def test_a_region_ends_at_the_image_and_at_the_annotations(source: Source, annotate: Annotate) -> None:
    region = Region(x_px=350, y_px=250, width_px=100, height_px=100)
    beside = replace(source, given=(annotate("Tumor", 300, 200, 360, 300),))

    alone, both = wanted(source, region), wanted(beside, region)

    assert alone is not None
    assert both is not None
    assert alone.geometry.equals(box(350, 250, 400, 300))
    assert both.geometry.equals(box(350, 250, 360, 300))


def test_a_region_outside_the_image_or_the_annotations_is_refused(source: Source, annotate: Annotate) -> None:
    region = Region(x_px=500, y_px=0, width_px=10, height_px=10)

    with pytest.raises(InvalidValueError, match=r"between \(500, 0\) and \(510, 10\) px"):
        wanted(source, region)
    with pytest.raises(InvalidValueError, match="where the image or the region is"):
        wanted(replace(source, given=(annotate("Tumor", 0, 0, 9, 9),)), replace(region, x_px=100))


def test_annotations_without_an_area_on_the_image_are_told_with_the_entry(source: Source, annotate: Annotate) -> None:
    outside = annotate("Tumor", 500, 0, 510, 10)
    line = replace(outside, geometry=LineString([(0, 0), (50, 50)]))
    elsewhere = replace(annotate("Tumor", 0, 0, 50, 50), plane=Plane(z=1))

    for given in ((), (outside, line, elsewhere)):
        with pytest.raises(NoAnnotationError, match=r"given for entry 1 'a\.png' has an area on its image"):
            wanted(replace(source, given=given))


def test_saved_annotations_of_named_classes_are_areas_of_interest(
    make_project: Callable[..., Path], annotate: Annotate
) -> None:
    drawn = [annotate("Tumor", 0, 0, 50, 50), annotate("Stroma", 100, 0, 150, 50), annotate("Fat", 200, 0, 250, 50)]
    derived = replace(drawn[0], path_class=PathClass("Tumor: Positive", (0, 0, 0)), id=str(uuid.uuid4()))
    source = sources_of_project(make_project({"a.png": [derived, *drawn[1:]]}))[0]

    found = wanted(source, within=["Tumor", "Stroma"])
    in_region = wanted(source, Region(x_px=0, y_px=0, width_px=30, height_px=30), ["Tumor"])
    given = wanted(replace(source, given=(annotate("Fat", 0, 100, 9, 109),)), within=["Fat"])

    assert found is not None
    assert in_region is not None
    assert given is not None
    assert found.geometry.equals(box(0, 0, 50, 50) | box(100, 0, 150, 50))
    assert in_region.geometry.equals(box(0, 0, 30, 30))
    assert given.geometry.equals(box(0, 100, 9, 109))


def test_classes_without_an_annotation_are_told_with_those_that_have_one(source: Source) -> None:
    with pytest.raises(NoAnnotationError, match=r"'a\.png' has no annotation of 'Tumor' or 'Fat' .* are of 'Stroma'"):
        wanted(source, within=["Tumor", "Fat"])
