import numpy as np
import pytest
import shapely

from qpbridge.core.geometry import Region
from qpbridge.errors import InvalidValueError
from qpbridge.vector.instances.painting import InstanceIndex

REGION = Region(x_px=100, y_px=50, width_px=20, height_px=10)


def test_each_outline_is_painted_with_its_number_and_the_first_keeps_what_two_share() -> None:
    outlines = [shapely.box(100, 50, 106, 54), shapely.Point(0, 0), shapely.box(104, 50, 110, 54)]

    painted = InstanceIndex(outlines).rasterize(REGION, 10, 5)

    assert painted.dtype == np.int32
    assert painted[0].tolist() == [1, 1, 1, 3, 3, 0, 0, 0, 0, 0]
    assert (painted[2:] == 0).all()


def test_there_may_be_more_outlines_than_a_byte_counts() -> None:
    outlines = [shapely.box(100 + x, 50 + y, 101 + x, 51 + y) for y in range(10) for x in range(20)] * 2

    painted = InstanceIndex(outlines[::-1]).rasterize(REGION, 20, 10)

    assert painted.ravel().tolist() == list(range(200, 0, -1))
    assert InstanceIndex(outlines[::-1] + outlines).rasterize(REGION, 20, 10).max() == 200


def test_a_window_shows_what_the_whole_shows() -> None:
    draw = np.random.default_rng(0)
    outlines = [shapely.Point(*draw.uniform(0, 64, 2)).buffer(draw.uniform(2, 6)) for _ in range(300)]
    index = InstanceIndex(outlines)

    whole = index.rasterize(Region(x_px=0, y_px=0, width_px=64, height_px=64), 64, 64)
    part = index.rasterize(Region(x_px=16, y_px=20, width_px=30, height_px=24), 30, 24)

    assert whole.max() > 255
    assert (part == whole[20:44, 16:46]).all()


def test_without_outlines_there_is_nothing() -> None:
    assert (InstanceIndex([]).rasterize(REGION, 4, 2) == 0).all()


def test_a_map_needs_pixels() -> None:
    with pytest.raises(InvalidValueError, match="0 x 4"):
        InstanceIndex([]).rasterize(REGION, 0, 4)
