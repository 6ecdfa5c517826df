import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.core.geometry import MPP_FIT_TOLERANCE, FieldOfView, PixelCalibration, Region, View
from qpbridge.errors import InvalidValueError

mpps = st.floats(0.05, 20)


@pytest.mark.parametrize("mpp", [0.0, -0.5, math.nan, math.inf])
def test_pixel_sizes_are_positive_numbers(mpp: float):
    with pytest.raises(InvalidValueError, match=r"µm/px"):
        PixelCalibration(mpp_x=0.5, mpp_y=mpp)
    with pytest.raises(InvalidValueError, match=r"µm/px"):
        PixelCalibration(mpp_x=mpp, mpp_y=0.5)


@given(mpp=mpps)
def test_square_pixels_have_the_square_of_their_edge_as_area(mpp: float):
    assert PixelCalibration.square(mpp).pixel_area_um2 == pytest.approx(mpp**2)


@pytest.mark.parametrize(
    ("native", "wanted", "fitted"),
    [
        (0.499, 0.5, 0.5),
        (0.2528, 0.5, 0.25),
        (0.2462, 1.0, 0.25),
        (0.25, 0.25, 0.25),
        (0.23, 0.5, 0.23),
        (0.4, 0.5, 0.4),
        (2.0, 0.5, 2.0),
    ],
)
def test_pixel_sizes_are_fitted_where_they_nearly_fit(native: float, wanted: float, fitted: float):
    assert PixelCalibration.square(native).fitted_to(wanted).mpp_x == pytest.approx(fitted)


@given(mpp_x=mpps, mpp_y=mpps, wanted=mpps)
def test_fitting_changes_little_and_only_towards_whole_pixels(mpp_x: float, mpp_y: float, wanted: float):
    native = PixelCalibration(mpp_x=mpp_x, mpp_y=mpp_y)
    fitted = native.fitted_to(wanted)

    for before, after in ((native.mpp_x, fitted.mpp_x), (native.mpp_y, fitted.mpp_y)):
        assert abs(after / before - 1) <= MPP_FIT_TOLERANCE + 1e-9
        pixels = wanted / after
        assert after == before or pixels == pytest.approx(round(pixels))


@given(mpp=mpps, wanted=mpps)
def test_fitting_twice_changes_nothing_more(mpp: float, wanted: float):
    once = PixelCalibration.square(mpp).fitted_to(wanted)

    assert once.fitted_to(wanted).mpp_x == pytest.approx(once.mpp_x)


def test_calibrations_are_near_one_another_within_the_tolerance_on_both_axes():
    quarter = PixelCalibration.square(0.25)

    assert quarter.is_near(PixelCalibration(mpp_x=0.252, mpp_y=0.249))
    assert not quarter.is_near(PixelCalibration(mpp_x=0.25, mpp_y=0.5))
    assert not quarter.is_near(PixelCalibration.square(0.26))


@given(x=st.floats(-1e5, 1e5), y=st.floats(-1e5, 1e5), width=st.floats(0.1, 1e5), height=st.floats(0.1, 1e5))
def test_regions_have_consistent_edges_and_centers(x: float, y: float, width: float, height: float):
    region = Region(x_px=x, y_px=y, width_px=width, height_px=height)

    assert (region.right_px, region.bottom_px) == (x + width, y + height)
    assert region.center_px[0] == pytest.approx((region.x_px + region.right_px) / 2, abs=1e-6)
    assert region.center_px[1] == pytest.approx((region.y_px + region.bottom_px) / 2, abs=1e-6)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5), (5, -1), (math.nan, 5)])
def test_regions_have_an_area(width: float, height: float):
    with pytest.raises(InvalidValueError, match="must have an area"):
        Region(x_px=0, y_px=0, width_px=width, height_px=height)


@pytest.mark.parametrize(("size", "mpp"), [(0, 0.5), (-1, 0.5), (256, 0), (256, -1), (256, math.nan), (256, math.inf)])
def test_fields_of_view_show_something(size: int, mpp: float):
    with pytest.raises(InvalidValueError, match="field of view"):
        FieldOfView(size_px=size, mpp=mpp)


@given(size=st.integers(1, 5000), mpp=mpps)
def test_the_extent_of_a_view_is_its_pixels_times_their_size(size: int, mpp: float):
    view = View(name="20x", fov=FieldOfView(size_px=size, mpp=mpp))

    assert view.fov.extent_um == pytest.approx(size * mpp)
