from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tissue import MPP, Tissue, tissue
from skimage.measure import regionprops

from qpbridge.core.geometry import Region
from qpbridge.inference.nuclei.decoding import Decoding
from qpbridge.inference.nuclei.harvesting import Harvesting, Nuclei, harvest, joined
from qpbridge.slides.stains.separation import HEMATOXYLIN_EOSIN
from qpbridge.vector.instances.painting import InstanceIndex

DECODING = Decoding(min_area_um2=2.0, min_marker_area_um2=0.5, max_hole_area_um2=2.0, reach_um=4.0, max_extent_um=14.0)
NUCLEI = Harvesting(decoding=DECODING, mpp=MPP)
CELLS = replace(NUCLEI, cell_um=2.0)


def _tiled(some: Tissue, harvesting: Harvesting, edge: int, start: tuple[int, int]) -> Nuclei:
    """Nuclei of blocks of some size, the first of which ends at an offset."""
    rows, columns = some.truth.shape
    parts = []
    for y in (0, *range(start[0], rows, edge)):
        for x in (0, *range(start[1], columns, edge)):
            size = (start[0] if y == 0 else edge, start[1] if x == 0 else edge)
            block = some.block(x=x, y=y, height=size[0], width=size[1], margin=harvesting.margin_px)
            parts.append(harvest(block, harvesting))
    return joined(parts)


@pytest.mark.parametrize("harvesting", [NUCLEI, CELLS, replace(CELLS, decoding=replace(DECODING, grow="free"))])
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 100), edge=st.integers(40, 150), offset=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_the_nuclei_do_not_depend_on_the_tiling(
    harvesting: Harvesting, seed: int, edge: int, offset: tuple[int, int]
) -> None:
    some = tissue(seed)

    at_once, tiled = harvest(some.block(), harvesting), _tiled(some, harvesting, edge, offset)

    assert len(at_once) > 50
    order, other = np.lexsort(at_once.centroids.T), np.lexsort(tiled.centroids.T)
    assert (at_once.centroids[order] == tiled.centroids[other]).all()
    assert shapely.equals(at_once.outlines[order], tiled.outlines[other]).all()
    assert shapely.equals(at_once.cells[order], tiled.cells[other]).all()
    assert (at_once.probabilities[order] == tiled.probabilities[other]).all()


def test_nuclei_are_counted_and_lie_where_the_truth_lies(crowd: Tissue) -> None:
    found = harvest(crowd.block(), NUCLEI)

    true = regionprops(crowd.truth)
    assert len(found) == pytest.approx(len(true), rel=0.03)
    centers = np.array([region.centroid[::-1] for region in true]) + 0.5
    away = np.hypot(*(found.centroids[:, None] - centers).transpose(2, 0, 1)).min(axis=1)
    assert np.quantile(away, 0.95) < 1


def test_each_nucleus_has_the_mean_probability_of_its_pixels(crowd: Tissue) -> None:
    found = harvest(crowd.block(), NUCLEI)

    assert found.probabilities == pytest.approx(np.full(len(found), 240 / 255), abs=0.02)
    assert np.isnan(found.class_probabilities).all()
    assert (found.classes == 0).all()
    assert np.isnan(found.stains).all()


def _with(some: Tissue, **layers: np.ndarray) -> Nuclei:
    block = some.block()
    return harvest(replace(block, layers={**block.layers, **layers}), NUCLEI)


def test_the_class_is_the_most_probable_one(crowd: Tissue) -> None:
    classes = np.full((3, *crowd.truth.shape), 25, np.uint8)
    classes[1, :, :100] = classes[2, :, 100:] = 204

    found = _with(crowd, classes=classes)

    x = found.centroids[:, 0]
    assert (found.classes[x < 90] == 1).all()
    assert (found.classes[x > 110] == 2).all()
    assert found.class_probabilities[x < 90] == pytest.approx(0.8, abs=0.01)


def _density(image: np.ndarray) -> np.ndarray:
    return -np.log10(image.reshape(-1, 3).T / 255)


def test_stains_are_measured_as_by_unmixing_the_pixels(crowd: Tissue) -> None:
    image = np.random.default_rng(0).integers(1, 256, (*crowd.truth.shape, 3), np.uint8)
    found = _with(crowd, pixels=np.moveaxis(image, -1, 0))

    vectors = np.array(HEMATOXYLIN_EOSIN)
    basis = np.vstack((vectors, np.cross(*vectors)))
    density = np.linalg.lstsq((basis / np.linalg.norm(basis, axis=1, keepdims=True)).T, _density(image), rcond=None)[0]
    nucleus = int(np.argmax(shapely.area(found.outlines)))
    rows, columns = crowd.truth.shape
    inside = InstanceIndex([found.outlines[nucleus]]).rasterize(
        Region(x_px=0, y_px=0, width_px=columns, height_px=rows), columns, rows
    )
    pixels = density.T[inside.ravel() > 0][:, :2]
    assert found.stains[nucleus] == pytest.approx(np.stack((pixels.mean(0), pixels.std(0)), axis=1))


def test_cells_hold_their_nuclei_and_do_not_overlap(crowd: Tissue) -> None:
    found = harvest(crowd.block(), CELLS)

    assert shapely.covers(found.cells, found.outlines).all()
    rows, columns = crowd.truth.shape
    assert shapely.covers(shapely.box(0, 0, columns, rows), found.cells).all()
    assert shapely.area(shapely.union_all(found.cells)) == pytest.approx(shapely.area(found.cells).sum())
    reach_px = 2.0 / MPP + np.sqrt(2)
    assert (shapely.hausdorff_distance(found.cells, found.outlines) < reach_px + 4).all()
    assert shapely.area(found.cells).sum() > 1.3 * shapely.area(found.outlines).sum()


def test_an_empty_block_gives_nothing(crowd: Tissue) -> None:
    empty = Tissue(truth=crowd.truth, mask=np.zeros_like(crowd.mask), marker=crowd.marker)

    assert len(harvest(empty.block(), NUCLEI)) == 0
    assert len(joined([])) == 0
    assert len(joined([harvest(crowd.block(), NUCLEI), joined([])])) > 50
