import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from qpbridge.core.geometry import Region
from qpbridge.slides.synthetic import SyntheticSlide, SyntheticSpec, make_slide
from qpbridge.slides.synthetic.layout import Tissue
from qpbridge.slides.synthetic.nuclei import NucleusKind


@pytest.fixture(scope="module")
def slide() -> SyntheticSlide:
    return make_slide(SyntheticSpec(width_px=2600, height_px=2600, mpp=0.8, seed=0))


@pytest.fixture(scope="module")
def region(slide: SyntheticSlide) -> Region:
    """A region with a whole nest of tumor."""
    labels = slide.labels(slide.bounds, 650, 650)
    depth = cv2.distanceTransform((labels == Tissue.TUMOR).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = 4 * np.array(np.unravel_index(np.argmax(depth), depth.shape))
    return Region(x_px=int(x) - 300, y_px=int(y) - 300, width_px=600, height_px=600)


def test_outlines_are_valid_and_do_not_overlap(slide: SyntheticSlide, region: Region) -> None:
    outlines = shapely.polygons(slide.nuclei(region).outlines_px)
    assert len(outlines) > 300
    assert shapely.is_valid(outlines).all()
    first, second = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    pairs = first < second
    # Corners lie on a grid of 0.01 px, so lines that touch may cross by that much.
    assert shapely.area(shapely.intersection(outlines[first[pairs]], outlines[second[pairs]])).max(initial=0) < 0.2


def test_many_nuclei_of_epithelium_touch(slide: SyntheticSlide, region: Region) -> None:
    nuclei = slide.nuclei(region)
    outlines = shapely.polygons(nuclei.outlines_px[nuclei.kinds == NucleusKind.TUMOR])
    first, second = shapely.STRtree(outlines).query(outlines, predicate="dwithin", distance=0.1)
    touching = np.unique(first[first != second])
    assert 0.4 < len(touching) / len(outlines) < 0.95


def test_a_nucleus_is_the_same_from_wherever_it_is_met(slide: SyntheticSlide, region: Region) -> None:
    all_nuclei = slide.nuclei(region)
    x, y = region.center_px
    part = slide.nuclei(Region(x_px=x - 40.5, y_px=y - 33, width_px=90, height_px=71))
    assert 5 < len(part) < len(all_nuclei)
    places = {int(nucleus): row for row, nucleus in enumerate(all_nuclei.ids)}
    assert len(places) == len(all_nuclei)
    rows = [places[int(nucleus)] for nucleus in part.ids]
    np.testing.assert_array_equal(part.outlines_px, all_nuclei.outlines_px[rows])
    np.testing.assert_array_equal(part.kinds, all_nuclei.kinds[rows])


@settings(max_examples=40, deadline=None)
@given(x=st.floats(-100, 2700), y=st.floats(-100, 2700), size=st.floats(0.1, 60))
def test_any_region_can_be_asked_for_its_nuclei(slide: SyntheticSlide, x: float, y: float, size: float) -> None:
    nuclei = slide.nuclei(Region(x_px=x, y_px=y, width_px=size, height_px=size))
    if len(nuclei):
        assert (nuclei.outlines_px.max(axis=1) > (x, y)).all()
        assert (nuclei.outlines_px.min(axis=1) < (x + size, y + size)).all()


def test_instances_are_the_pixels_whose_centers_lie_in_the_outlines(slide: SyntheticSlide, region: Region) -> None:
    x, y, size = int(region.center_px[0]), int(region.center_px[1]), 120
    instances = slide.instances(x, y, size, size)
    nuclei = slide.nuclei(Region(x_px=x, y_px=y, width_px=size, height_px=size))
    columns, rows = np.meshgrid(x + np.arange(size) + 0.5, y + np.arange(size) + 0.5)
    expected = np.zeros((size, size), np.int64)
    for outline, nucleus in zip(shapely.polygons(nuclei.outlines_px), nuclei.ids, strict=True):
        expected[shapely.contains_xy(outline, columns, rows)] = nucleus
    assert (expected > 0).mean() > 0.2
    assert (instances != expected).mean() < 0.001  # centers exactly on an outline


def test_nuclei_have_the_kind_of_the_tissue_they_lie_in(slide: SyntheticSlide) -> None:
    nuclei = slide.nuclei(slide.bounds)
    labels = slide.labels(slide.bounds, 2600, 2600)
    x, y = nuclei.outlines_px.mean(axis=1).astype(int).T
    tissues = labels[y, x]
    assert set(np.unique(nuclei.kinds)) == set(NucleusKind)
    for kind, tissue in ((NucleusKind.TUMOR, Tissue.TUMOR), (NucleusKind.BENIGN, Tissue.BENIGN)):
        assert (tissues[nuclei.kinds == kind] == tissue).mean() > 0.995
    others = nuclei.kinds >= NucleusKind.STROMA
    assert (tissues[others] == Tissue.STROMA).mean() > 0.97
    areas = shapely.area(shapely.polygons(nuclei.outlines_px)) * 0.8**2
    tumor, benign = (areas[nuclei.kinds == kind].mean() for kind in (NucleusKind.TUMOR, NucleusKind.BENIGN))
    assert tumor == pytest.approx(benign, rel=0.03)


def test_density_scales_the_number_of_nuclei(region: Region) -> None:
    none, half, usual = (
        len(
            make_slide(SyntheticSpec(width_px=2600, height_px=2600, mpp=0.8, seed=0, nucleus_density=density)).nuclei(
                region
            )
        )
        for density in (0, 0.5, 1)
    )
    assert none == 0
    assert 0.4 < half / usual < 0.75
