import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import ellipse
from skimage.measure import label
from skimage.morphology import disk, erosion

from qpbridge.core.arrays import IGNORE_INDEX, InstanceMap
from qpbridge.models.nuclei.targets import (
    center_marker,
    erosion_radii_um,
    nucleus_marker,
    nucleus_mask,
    shape_marker,
)


def _nuclei(*shapes: tuple[float, float, float, float], size: int = 96) -> InstanceMap:
    """Ellipses (y, x, half axis in y, half axis in x), numbered from 1 on."""
    instances = np.zeros((size, size), np.int32)
    for number, (y, x, a, b) in enumerate(shapes, start=1):
        instances[ellipse(y, x, a, b, shape=instances.shape)] = number
    return instances


def _scattered(seed: int) -> InstanceMap:
    draw = np.random.default_rng(seed)
    return _nuclei(*[(*draw.uniform(0, 96, 2), *draw.uniform(2, 14, 2)) for _ in range(20)])


@pytest.mark.parametrize(
    ("area_px", "radius_px"), [(1, 0), (70, 0), (71, 1), (120, 1), (121, 4), (500, 4), (501, 6), (5000, 6)]
)
def test_the_erosion_follows_the_published_areas(area_px: int, radius_px: int) -> None:
    assert erosion_radii_um(np.array([area_px * 0.25**2]))[0] / 0.25 == radius_px


@pytest.mark.parametrize("half_axes", [(6, 5), (9, 8), (18, 15), (14, 20)])
def test_a_marker_is_the_nucleus_eroded_by_a_disk(half_axes: tuple[int, int]) -> None:
    instances = _nuclei((48, 48, *half_axes))
    radius_px = round(erosion_radii_um(np.array([(instances > 0).sum() * 0.25**2]))[0] / 0.25)

    marker = shape_marker(instances, 0.25)

    assert radius_px > 0
    assert (marker == (erosion(instances, disk(radius_px)) > 0)).all()


@settings(deadline=None)
@given(seed=st.integers(0, 200), mpp=st.sampled_from([0.23, 0.25, 0.5, 1.0]))
def test_every_nucleus_keeps_one_marker_within_itself(seed: int, mpp: float) -> None:
    instances = _scattered(seed)

    marker = shape_marker(instances, mpp)

    assert (instances[marker] > 0).all()
    for number in np.unique(instances[instances > 0]):
        assert label(marker & (instances == number), connectivity=2).max() == 1


def test_nuclei_that_touch_have_markers_that_do_not() -> None:
    instances = _nuclei((48, 40, 12, 9), (48, 57, 12, 9))
    instances[:, 49:] = np.where(instances[:, 49:] > 0, 2, 0)

    assert label(instances > 0, connectivity=2).max() == 1
    assert label(shape_marker(instances, 0.25), connectivity=2).max() == 2


def test_slender_nuclei_keep_markers_of_some_width() -> None:
    instances = _nuclei((48, 48, 16, 5.5))  # Area 269 px: a disk of 4 px leaves a line.

    marker = shape_marker(instances, 0.25)

    assert erosion(instances, disk(4)).any(axis=0).sum() == 3
    assert (marker == (erosion(instances, disk(3)) > 0)).all()


def test_markers_scale_with_the_pixel_size() -> None:
    instances = _nuclei((48, 48, 20, 16))

    fine = shape_marker(np.kron(instances, np.ones((2, 2), np.int32)), 0.25)

    coarse = shape_marker(instances, 0.5)
    agreement = (fine.reshape(96, 2, 96, 2).mean(axis=(1, 3)) > 0.5) == coarse
    assert coarse.any()
    assert agreement.mean() > 0.995


def test_the_rim_of_a_patch_erodes_nothing() -> None:
    instances = np.full((32, 32), 5, np.int32)

    assert shape_marker(instances, 0.25).all()


def test_a_center_marker_is_a_disk_around_the_centroid() -> None:
    instances = _nuclei((30, 60, 10, 6), (95, 2, 5, 5))

    marker = center_marker(instances, 0.25)

    y, x = np.indices(instances.shape)
    assert (marker[:60] == (np.hypot(y - 30, x - 60) <= 4)[:60]).all()
    assert marker[60:].any()


@pytest.mark.parametrize("of", [shape_marker, center_marker])
def test_without_nuclei_there_are_no_markers(of) -> None:  # type: ignore[no-untyped-def]
    assert not of(np.zeros((8, 8), np.int32), 0.25).any()


def test_what_is_not_known_is_ignored_unless_a_nucleus_lies_there() -> None:
    instances = _nuclei((20, 20, 12, 12), (20, 70, 12, 12))
    known = np.zeros(instances.shape, np.bool_)
    known[:, :48] = True

    mask = nucleus_mask(instances, known)
    marker = nucleus_marker(instances, known, 0.25, "shape")

    assert mask.dtype == marker.dtype == np.uint8
    assert (mask[instances > 0] == 1).all()
    for target in (mask, marker):
        assert (target[known & (instances == 0)] == 0).all()
        assert (target[~known & (instances == 0)] == IGNORE_INDEX).all()
    assert (marker[instances > 0] < 2).all()
    assert ((marker == 1) == shape_marker(instances, 0.25)).all()
