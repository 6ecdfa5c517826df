from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shapely import Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region
from qpbridge.core.tiles import TileGrid
from qpbridge.inference.interest import Interest
from qpbridge.inference.objects import outlines
from qpbridge.inference.outlining import Outlining
from qpbridge.inference.predicting import Mosaic
from qpbridge.inference.streaming import Growing, stream_outlines
from qpbridge.vector.cleaning import remove_small
from qpbridge.vector.polygons import LabelledPolygon, vectorize

QUARTER = PixelCalibration.square(0.25)
WHOLE = Region(x_px=0, y_px=0, width_px=120, height_px=160)

few_labels = st.sampled_from([0, 1, 2, IGNORE_INDEX])
label_maps = hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 14)), elements=few_labels)
steps = st.lists(st.integers(1, 24), max_size=6)


def exactly(polygons: Sequence[LabelledPolygon]) -> list[tuple[int, int, bytes]]:
    return sorted((polygon.label, polygon.pixels, shapely.to_wkb(polygon.geometry)) for polygon in polygons)


def mosaic_of(labels: LabelMap) -> Mosaic:
    region = Region(x_px=0, y_px=0, width_px=2 * labels.shape[1], height_px=2 * labels.shape[0])
    grid = TileGrid(region=region, fov=FieldOfView(size_px=16, mpp=0.5), margin_px=0, calibration=QUARTER)
    return Mosaic(labels=labels, grid=grid)


def patchwork(seed: int) -> LabelMap:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (20, 15)).astype(np.uint8)
    fine = rng.integers(0, 3, (80, 60)).astype(np.uint8)
    return np.where(rng.random((80, 60)) < 0.1, fine, coarse.repeat(4, 0).repeat(4, 1)).astype(np.uint8)


@settings(deadline=None, max_examples=300)
@given(
    labels=label_maps,
    ends=steps,
    min_area_px=st.sampled_from([0.0, 2.0, 3.5, 8.0, 30.0]),
    may_vanish=st.booleans(),
)
def test_what_comes_bit_by_bit_is_what_comes_at_once(
    labels: LabelMap, ends: list[int], min_area_px: float, may_vanish: bool
) -> None:
    at_once = vectorize(remove_small(labels, min_area_px, may_vanish=may_vanish))
    growing = Growing(labels.copy(), min_area_px, may_vanish)
    rows = sorted({end for end in ends if end < len(labels)})

    bit_by_bit = [polygon for known in (*rows, len(labels)) for polygon in growing.take(known)]

    assert exactly(bit_by_bit) == exactly(at_once)


def test_a_piece_is_given_as_soon_as_it_is_final_and_no_sooner() -> None:
    labels = np.zeros((12, 6), np.uint8)
    labels[1:3, 1:3] = 1
    labels[5:9, 1:3] = 2
    growing = Growing(labels, 0)

    given = [[polygon.label for polygon in growing.take(rows)] for rows in (3, 4, 8, 9, 10, 12)]

    assert given == [[], [1], [], [], [2], [0]]


def test_a_piece_waits_for_a_small_neighbor_that_may_still_join_it() -> None:
    labels = np.zeros((9, 6), np.uint8)
    labels[:4, :3] = 1
    labels[3:6, 3] = 2
    growing = Growing(labels, 4)

    assert growing.take(5) == []
    assert [polygon.label for polygon in growing.take(9)] == [1, 0]


def rows_of(mosaic: Mosaic, *known: int) -> Iterator[tuple[Mosaic, int]]:
    yield from ((mosaic, rows) for rows in (*known, len(mosaic.labels)))


@pytest.mark.parametrize("smooth_um", [0.0, 1.0])
@pytest.mark.parametrize(
    "area",
    [
        box(0, 0, 120, 160),
        box(10.5, 21.25, 99.75, 140),
        Point(60, 80).buffer(45.3),
        Polygon([(3, 3), (118, 40), (70, 155), (60, 60)]),
        box(5, 5, 40, 150) | box(70.5, 20, 100, 130),
    ],
    ids=["image", "box", "disk", "corners", "two"],
)
def test_the_stream_holds_the_objects_of_the_whole(area: BaseGeometry, smooth_um: float) -> None:
    interest = Interest.of([area], WHOLE)
    outlining = Outlining(min_area_um2=4 * 0.25, smooth_um=smooth_um)
    labels = patchwork(1)

    at_once = outlines(mosaic_of(labels), QUARTER, outlining, WHOLE, interest)
    streamed = stream_outlines(
        rows_of(mosaic_of(labels.copy()), 7, 30, 64), QUARTER, outlining, interest, WHOLE, lambda: 0.0
    )

    assert exactly([polygon for polygons in streamed for polygon in polygons]) == exactly(at_once)
    # Snapping to the grid of 0.01 px moves a border by half of that.
    tolerance_px2 = 0.005 * interest.geometry.length
    assert sum(polygon.geometry.area for polygon in at_once) == pytest.approx(interest.geometry.area, abs=tolerance_px2)
    assert shapely.coverage_is_valid([polygon.geometry for polygon in at_once])


def test_objects_come_before_the_last_row_is_known() -> None:
    interest = Interest.of([box(0, 0, 120, 160)], WHOLE)
    told: list[int] = []

    def rows() -> Iterator[tuple[Mosaic, int]]:
        mosaic = mosaic_of(patchwork(2))
        for known in (20, 40, 60, 80):
            told.append(known)
            yield mosaic, known

    stream = stream_outlines(rows(), QUARTER, Outlining(min_area_um2=0), interest, WHOLE, lambda: 0.0)

    assert len(next(stream)) > 5
    assert told == [20]


def test_looks_take_a_fifth_of_the_time_at_most() -> None:
    interest = Interest.of([box(0, 0, 120, 160)], WHOLE)
    now_s, looks = 0.0, 0

    def clock() -> float:
        nonlocal now_s, looks
        now_s += 1.0  # each look and each question takes a second
        return now_s

    mosaic = mosaic_of(patchwork(3))
    for _ in stream_outlines(
        rows_of(mosaic, *range(1, 80)), QUARTER, Outlining(min_area_um2=0), interest, WHOLE, clock
    ):
        looks += 1

    assert 5 < looks < 80 / 3


def test_no_rows_give_no_objects() -> None:
    assert list(stream_outlines([], QUARTER, Outlining(), Interest.of([box(0, 0, 9, 9)], WHOLE), WHOLE)) == []
