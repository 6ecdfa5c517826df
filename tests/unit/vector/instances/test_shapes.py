import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops

from qpbridge.core.geometry import PixelCalibration
from qpbridge.vector.instances.outlining import outline
from qpbridge.vector.instances.shapes import measure_shapes


def _ellipse(a: float, b: float, turn: float, at: tuple[float, float]) -> shapely.Polygon:
    steps = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    x, y = a * np.cos(steps), b * np.sin(steps)
    return shapely.Polygon(
        np.stack((x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)), axis=1) + at
    )


@settings(deadline=None)  # compiles at first
@given(a=st.floats(5, 30), share=st.floats(0.2, 1), turn=st.floats(0, 3), at=st.floats(0, 2e5))
def test_ellipses_have_their_axes_wherever_they_lie(a: float, share: float, turn: float, at: float) -> None:
    found = measure_shapes(np.array([_ellipse(a, a * share, turn, (at, at / 2))]), PixelCalibration.square(0.5))

    assert found.area_um2[0] == pytest.approx(np.pi * a * a * share / 4, rel=1e-3)
    assert found.major_axis_um[0] == pytest.approx(a, rel=1e-3)
    assert found.minor_axis_um[0] == pytest.approx(a * share, rel=1e-3)
    assert found.eccentricity[0] == pytest.approx(np.sqrt(1 - share**2), abs=0.01)


def test_a_circle_is_circular_and_a_square_less_so() -> None:
    found = measure_shapes(
        np.array([_ellipse(10, 10, 0, (50, 50)), shapely.box(0, 0, 4, 4)]), PixelCalibration.square(1)
    )

    assert found.circularity == pytest.approx([1, np.pi / 4], abs=1e-3)
    assert found.perimeter_um == pytest.approx([20 * np.pi, 16], rel=1e-3)


def test_holes_are_no_part_of_it() -> None:
    ring = shapely.Polygon(shapely.box(0, 0, 6, 6).exterior, [shapely.box(2, 2, 4, 4).exterior])

    found = measure_shapes(np.array([ring]), PixelCalibration.square(1))

    assert found.area_um2[0] == pytest.approx(32)
    assert found.perimeter_um[0] == pytest.approx(32)
    # The variance of the square's points less that of the hole's.
    assert found.major_axis_um[0] == pytest.approx(4 * np.sqrt((36 * 3 - 4 / 3) / 32))


def test_pixels_need_not_be_square() -> None:
    found = measure_shapes(np.array([_ellipse(10, 10, 0, (0, 0))]), PixelCalibration(mpp_x=0.5, mpp_y=1.0))

    assert [found.major_axis_um[0], found.minor_axis_um[0]] == pytest.approx([20, 10], rel=1e-3)


def test_moments_agree_with_those_of_the_pixels() -> None:
    instances = np.ones((40, 60), np.int32)
    instances[10:, 25:] = 0
    instances[4:8, 4:30] = 0
    _, polygons = outline(instances)

    found = measure_shapes(polygons, PixelCalibration.square(1))

    (region,) = regionprops(instances)
    assert found.area_um2[0] == region.area
    # There pixels are points; an extended one has a variance of 1/12 of its own.
    lengths = [np.hypot(axis, 4 / np.sqrt(12)) for axis in (region.axis_major_length, region.axis_minor_length)]
    assert [found.major_axis_um[0], found.minor_axis_um[0]] == pytest.approx(lengths, rel=1e-6)
    assert found.eccentricity[0] == pytest.approx(region.eccentricity, rel=1e-3)
