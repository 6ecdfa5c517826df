import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.slides.resampling import AxisPlan, SourceAxis, plan_axis, resample_into


def axis(size: int = 100, downsample: float = 1.0, origin_px: float = 0.0, image_px: float = 100.0) -> SourceAxis:
    return SourceAxis(size=size, downsample=downsample, origin_px=origin_px, image_px=image_px)


def shares(plan: AxisPlan) -> np.ndarray:
    return np.asarray(plan.weights.sum(axis=1)).ravel()


@given(start=st.floats(0, 40), scale=st.floats(0.2, 9), count=st.integers(1, 60))
def test_pixels_inside_the_image_weigh_one(start: float, scale: float, count: int):
    inside = int(min(count, (100 - start) / scale))
    plan = plan_axis(axis(), start, scale * count, count)

    np.testing.assert_allclose(shares(plan)[:inside], 1, atol=1e-5)


@given(
    start=st.floats(-200, 300),
    scale=st.floats(0.2, 9),
    count=st.integers(1, 60),
    downsample=st.sampled_from([1.0, 2.0, 4.0, 3.3]),
    origin_px=st.floats(-50, 0),
)
def test_plans_stay_inside_the_source(start: float, scale: float, count: int, downsample: float, origin_px: float):
    source = axis(size=30, downsample=downsample, origin_px=origin_px, image_px=60)

    plan = plan_axis(source, start, scale * count, count)

    assert plan.first >= 0
    assert plan.first + plan.count <= 30
    assert plan.weights.shape == (count, plan.count)
    assert (shares(plan) <= 1 + 1e-5).all()


def test_shares_of_pixels_are_their_overlap_with_the_image():
    plan = plan_axis(axis(size=10, image_px=10), -3, 16, 4)

    np.testing.assert_allclose(shares(plan), [0.25, 1, 1, 0.25])


def test_pixels_cut_by_the_grid_count_by_their_part():
    plan = plan_axis(axis(), 0.5, 3, 2)

    np.testing.assert_allclose(plan.weights.toarray(), [[1 / 3, 2 / 3, 0, 0], [0, 0, 2 / 3, 1 / 3]], atol=1e-6)


def test_a_shift_by_part_of_a_pixel_is_no_copy():
    assert plan_axis(axis(), 4, 10, 10).copy_at == 0
    assert plan_axis(axis(), -4, 10, 10).copy_at == 4
    assert plan_axis(axis(), 4.25, 10, 10).copy_at is None
    assert plan_axis(axis(), 4, 20, 10).copy_at is None
    assert plan_axis(axis(), 4, 5, 10).copy_at is None


def test_a_crop_between_two_pixels_of_a_level_hides_part_of_one():
    plan = plan_axis(axis(size=25, downsample=4, origin_px=-6, image_px=60), 0, 60, 15)

    assert (plan.first, plan.count) == (1, 16)
    np.testing.assert_allclose(shares(plan), 1)
    np.testing.assert_allclose(plan.weights.toarray()[0, :2], [0.5, 0.5])


@pytest.mark.parametrize("origin_px", [2.0, 0.0])
def test_a_missing_strip_of_a_level_is_filled_on_either_side(origin_px: float):
    plan = plan_axis(axis(size=24, downsample=4, origin_px=origin_px, image_px=98), 0, 98, 49 // 2)

    np.testing.assert_allclose(shares(plan), 1, atol=1e-5)


def test_outside_stays_as_white_as_it_was():
    image = np.full((2, 4, 3), 255, np.uint8)
    pixels = np.zeros((2, 1, 3), np.uint8)

    resample_into(image, pixels, plan_axis(axis(), 0, 2, 2), plan_axis(axis(size=1, image_px=1), -1, 4, 4))

    assert image[..., 0].tolist() == [[255, 0, 255, 255]] * 2


def test_averages_are_rounded_to_the_nearest_gray_value():
    image = np.full((1, 1, 3), 255, np.uint8)
    pixels = np.array([[[10, 0, 255], [11, 0, 255], [11, 1, 255]]], np.uint8)

    resample_into(image, pixels, plan_axis(axis(), 0, 1, 1), plan_axis(axis(), 0, 3, 1))

    assert image.ravel().tolist() == [11, 0, 255]
