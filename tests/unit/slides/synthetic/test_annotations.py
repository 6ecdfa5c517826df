import math
import uuid
from collections import Counter

import numpy as np
import pytest
import rasterio.features
import shapely

from qpbridge.core.geometry import Region
from qpbridge.core.objects import REGION_CLASS, ObjectKind, PathObject
from qpbridge.errors import InvalidValueError
from qpbridge.slides.synthetic import CLASSES, NUCLEUS_CLASSES, SyntheticSlide, SyntheticSpec, make_slide
from qpbridge.slides.synthetic.annotations import (
    nucleus_detections,
    partial_annotations,
    region_annotations,
    tags,
)
from qpbridge.slides.synthetic.layout import Tissue

SIZE = 2400
NAMES = [path_class.name for path_class in CLASSES]


@pytest.fixture(scope="module")
def slide() -> SyntheticSlide:
    return make_slide(SyntheticSpec(width_px=SIZE, height_px=SIZE, mpp=1.0, seed=7))


@pytest.fixture(scope="module")
def truth(slide: SyntheticSlide) -> np.ndarray:
    return slide.labels(slide.bounds, SIZE, SIZE)


@pytest.fixture(scope="module")
def partial(slide: SyntheticSlide) -> tuple[PathObject, ...]:
    return partial_annotations(slide, share=0.06, seed=3)


def test_partial_annotations_are_never_wrong(partial: tuple[PathObject, ...], truth: np.ndarray) -> None:
    for item in partial:
        assert item.geometry.is_valid
        mask = rasterio.features.rasterize([item.geometry], out_shape=truth.shape) > 0
        assert (truth[mask] == NAMES.index(item.path_class.name)).mean() > 0.999


def test_partial_annotations_show_every_class_evenly_and_in_several_places(partial: tuple[PathObject, ...]) -> None:
    areas: Counter[str] = Counter()
    for item in partial:
        areas[item.path_class.name] += item.geometry.area / SIZE**2
    assert set(areas) == set(NAMES)
    assert sum(areas.values()) == pytest.approx(0.06, rel=0.1)
    assert max(areas.values()) < 2 * min(areas.values())
    assert min(Counter(item.path_class.name for item in partial).values()) >= 3


def test_some_borders_are_annotated_from_both_sides_with_a_narrow_gap(partial: tuple[PathObject, ...]) -> None:
    gaps_um = [
        one.geometry.distance(other.geometry)
        for index, one in enumerate(partial)
        for other in partial[index + 1 :]
        if one.path_class != other.path_class
    ]
    narrow = [gap for gap in gaps_um if gap < 20]
    assert len(narrow) >= 3
    assert min(gaps_um) > 1


def test_partial_annotations_are_repeatable_and_vary_with_the_seed(
    slide: SyntheticSlide, partial: tuple[PathObject, ...]
) -> None:
    again = partial_annotations(slide, share=0.06, seed=3)
    assert [(item.id, item.geometry.wkb) for item in again] == [(item.id, item.geometry.wkb) for item in partial]
    assert len({uuid.UUID(item.id) for item in partial}) == len(partial)
    other = partial_annotations(slide, share=0.06, seed=4)
    assert {item.id for item in other}.isdisjoint(item.id for item in partial)


def test_partial_annotations_stay_within_a_region(slide: SyntheticSlide) -> None:
    left = Region(x_px=0, y_px=100, width_px=SIZE / 2, height_px=2000)
    found = partial_annotations(slide, share=0.1, within=left)
    bounds = shapely.total_bounds([item.geometry for item in found])
    assert bounds[0] >= 0
    assert bounds[1] >= 100
    assert bounds[2] <= SIZE / 2
    assert bounds[3] <= 2100
    assert sum(item.geometry.area for item in found) == pytest.approx(0.1 * SIZE / 2 * 2000, rel=0.15)


@pytest.mark.parametrize("share", [0, 0.6, math.nan])
def test_an_impossible_share_is_refused(slide: SyntheticSlide, share: float) -> None:
    with pytest.raises(InvalidValueError, match="share"):
        partial_annotations(slide, share=share)


def test_regions_are_annotated_completely_and_exactly(slide: SyntheticSlide, truth: np.ndarray) -> None:
    objects = region_annotations(slide, count=3, size_um=400, seed=1)
    squares = [item for item in objects if item.path_class.name == REGION_CLASS]
    assert len(squares) == 3
    for square in squares:
        left, top, right, bottom = (int(edge) for edge in square.geometry.bounds)
        inside = [item for item in objects if item is not square and square.geometry.contains(item.geometry)]
        painted = np.zeros((bottom - top, right - left), np.uint8)
        for item in inside:
            assert item.geometry.is_valid
            local = shapely.transform(item.geometry, lambda xy, corner=(left, top): xy - corner)
            mask = rasterio.features.rasterize([local], out_shape=painted.shape) > 0
            assert mask.sum() == item.geometry.area
            painted[mask] = NAMES.index(item.path_class.name)
        np.testing.assert_array_equal(painted, truth[top:bottom, left:right])
    shown = {item.path_class.name for item in objects}
    assert shown >= {"Stroma", "Adipose", "Tumor", "Benign"}


def test_tags_name_the_tissues_of_their_squares(slide: SyntheticSlide, truth: np.ndarray) -> None:
    found = tags(slide, count=12, size_um=200, seed=2)
    assert len(found) == 12
    for item in found:
        left, top, right, bottom = (int(edge) for edge in item.geometry.bounds)
        shares = np.bincount(truth[top:bottom, left:right].ravel(), minlength=len(CLASSES)) / 200**2
        first, *tissues = item.path_class.parts
        assert first == REGION_CLASS
        assert NAMES[Tissue.BACKGROUND] not in tissues
        clear = {NAMES[k] for k in range(1, len(CLASSES)) if shares[k] > 0.015}
        possible = {NAMES[k] for k in range(1, len(CLASSES)) if shares[k] > 0.005}
        assert clear <= set(tissues) <= possible
    boxes = [item.geometry for item in found]
    assert shapely.union_all(boxes).area == pytest.approx(sum(box.area for box in boxes))
    assert {name for item in found for name in item.path_class.parts[1:]} == set(NAMES[1:])


def test_squares_that_do_not_fit_are_refused() -> None:
    small = make_slide(SyntheticSpec(width_px=100, height_px=100, mpp=1.0))
    with pytest.raises(InvalidValueError, match="smaller"):
        tags(small, size_um=200)


def test_nuclei_become_detections_of_their_class(slide: SyntheticSlide) -> None:
    region = Region(x_px=700, y_px=700, width_px=500, height_px=500)
    found = nucleus_detections(slide, region)
    nuclei = slide.nuclei(region)
    assert len(found) == len(nuclei) > 50
    assert all(item.kind is ObjectKind.DETECTION for item in found)
    assert [item.path_class for item in found] == [NUCLEUS_CLASSES[kind] for kind in nuclei.kinds]
    assert len({item.id for item in found}) == len(found)
