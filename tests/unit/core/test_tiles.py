import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region
from qpbridge.core.tiles import TileGrid, view_region
from qpbridge.errors import InvalidValueError

calibrations = st.builds(PixelCalibration, mpp_x=st.floats(0.1, 2), mpp_y=st.floats(0.1, 2))
regions = st.builds(
    Region,
    x_px=st.floats(-500, 500),
    y_px=st.floats(-500, 500),
    width_px=st.floats(1, 900),
    height_px=st.floats(1, 900),
)


@st.composite
def grids(draw: st.DrawFn) -> TileGrid:
    margin_px = draw(st.integers(0, 20))
    size_px = 2 * margin_px + draw(st.integers(8, 64))
    return TileGrid(
        region=draw(regions),
        fov=FieldOfView(size_px=size_px, mpp=draw(st.floats(0.5, 4))),
        margin_px=margin_px,
        calibration=draw(calibrations),
    )


@settings(deadline=None)
@given(grid=grids())
def test_cores_cover_the_mosaic_exactly_once(grid: TileGrid):
    times_covered = np.zeros((grid.mosaic_height, grid.mosaic_width), int)

    for tile in grid:
        times_covered[tile.in_mosaic] += 1

    assert (times_covered == 1).all()


@given(grid=grids())
def test_the_mosaic_covers_the_region_with_less_than_a_pixel_to_spare(grid: TileGrid):
    for count, downsample, extent_px in (
        (grid.mosaic_width, grid.downsample_x, grid.region.width_px),
        (grid.mosaic_height, grid.downsample_y, grid.region.height_px),
    ):
        assert count * downsample >= extent_px - 1e-5 * downsample
        assert count == 1 or (count - 1) * downsample < extent_px


@settings(deadline=None)
@given(grid=grids())
def test_cores_lie_inside_their_view_off_the_margin(grid: TileGrid):
    for tile in grid:
        rows, columns = tile.in_view
        assert 0 <= grid.margin_px == rows.start == columns.start
        assert rows.stop <= grid.fov.size_px - grid.margin_px
        assert columns.stop <= grid.fov.size_px - grid.margin_px
        assert (rows.stop - rows.start, columns.stop - columns.start) == (tile.height, tile.width)
        assert 1 <= tile.width <= grid.step_px
        assert 1 <= tile.height <= grid.step_px


@settings(deadline=None)
@given(grid=grids())
def test_a_pixel_of_a_core_is_the_same_place_in_view_and_mosaic(grid: TileGrid):
    for tile in grid:
        view = view_region(tile.center_px, grid.fov, grid.calibration)
        rows, columns = tile.in_view
        in_view = view.x_px + columns.start * grid.downsample_x, view.y_px + rows.start * grid.downsample_y
        in_mosaic = grid.region.x_px + tile.x * grid.downsample_x, grid.region.y_px + tile.y * grid.downsample_y
        assert in_view == pytest.approx(in_mosaic, abs=1e-6)


@settings(deadline=None)
@given(grid=grids())
def test_a_tile_is_centered_on_its_full_core(grid: TileGrid):
    half = grid.step_px / 2
    for tile in grid:
        assert tile.center_px == pytest.approx(
            (
                grid.region.x_px + (tile.x + half) * grid.downsample_x,
                grid.region.y_px + (tile.y + half) * grid.downsample_y,
            ),
            abs=1e-6,
        )


@settings(deadline=None)
@given(grid=grids())
def test_a_grid_has_as_many_tiles_as_it_says(grid: TileGrid):
    tiles = list(grid)

    assert len(tiles) == len(grid) == grid.rows * grid.columns
    assert tiles[-1] == grid.tile(grid.columns - 1, grid.rows - 1)
    assert len({(tile.x, tile.y) for tile in tiles}) == len(tiles)


@given(
    center=st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5)),
    sizes_px=st.lists(st.integers(1, 1024), min_size=1, max_size=4),
    mpp=st.floats(0.25, 8),
    calibration=calibrations,
)
def test_every_view_shares_the_center(
    center: tuple[float, float], sizes_px: list[int], mpp: float, calibration: PixelCalibration
):
    for power, size_px in enumerate(sizes_px):
        region = view_region(center, FieldOfView(size_px=size_px, mpp=mpp * 2**power), calibration)
        assert region.center_px == pytest.approx(center, abs=1e-5)


@given(
    center=st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5)),
    size_px=st.integers(1, 1024),
    mpp=st.floats(0.25, 8),
    calibration=calibrations,
)
def test_a_view_extends_over_its_micrometers(
    center: tuple[float, float], size_px: int, mpp: float, calibration: PixelCalibration
):
    region = view_region(center, FieldOfView(size_px=size_px, mpp=mpp), calibration)

    assert region.width_px * calibration.mpp_x == pytest.approx(size_px * mpp)
    assert region.height_px * calibration.mpp_y == pytest.approx(size_px * mpp)


def test_views_of_a_fitted_slide_meet_its_pixels():
    calibration = PixelCalibration.square(0.499).fitted_to(0.5)
    grid = TileGrid(
        region=Region(x_px=0, y_px=0, width_px=2220, height_px=2967),
        fov=FieldOfView(size_px=256, mpp=0.5),
        margin_px=16,
        calibration=calibration,
    )

    assert (grid.mosaic_width, grid.mosaic_height) == (2220, 2967)
    for tile in grid:
        for factor in (1, 2, 4):
            region = view_region(tile.center_px, FieldOfView(size_px=256, mpp=0.5 * factor), calibration)
            assert region.x_px.is_integer()
            assert region.y_px.is_integer()
            assert region.width_px == 256 * factor


def test_a_region_of_whole_pixels_needs_no_pixel_more():
    grid = TileGrid(
        region=Region(x_px=0, y_px=0, width_px=0.1 * 30, height_px=0.7 * 3),
        fov=FieldOfView(size_px=8, mpp=0.1),
        margin_px=0,
        calibration=PixelCalibration(mpp_x=1.0, mpp_y=1.0),
    )

    assert (grid.mosaic_width, grid.mosaic_height) == (30, 21)


@pytest.mark.parametrize("margin_px", [-1, 128, 200])
def test_a_margin_that_leaves_no_core_is_refused(margin_px: int):
    with pytest.raises(InvalidValueError, match="leaves no core of a 256 px tile"):
        TileGrid(
            region=Region(x_px=0, y_px=0, width_px=10, height_px=10),
            fov=FieldOfView(size_px=256, mpp=0.5),
            margin_px=margin_px,
            calibration=PixelCalibration.square(0.5),
        )
