import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import box

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.core.geometry import Region
from qpbridge.evaluation.confusion import ConfusionMatrix
from qpbridge.evaluation.scoring import Block, Frame, LabelledArea, MapPrediction, ShapePrediction, score
from qpbridge.vector.raster import rasterize

NAMES = ("Tumor", "Stroma")
TRUTH = [(box(10, 5, 60, 40), 0), (box(30, 20, 90, 70), 1), (box(40, 25, 50, 30), IGNORE_INDEX)]


def frame_of(width: int = 100, height: int = 80, downsample: float = 1.0) -> Frame:
    region = Region(x_px=0, y_px=0, width_px=width * downsample, height_px=height * downsample)
    return Frame(region=region, downsample_x=downsample, downsample_y=downsample, width=width, height=height)


@given(width=st.integers(1, 50), height=st.integers(1, 50), edge=st.integers(1, 20))
def test_blocks_cover_the_frame_once(width: int, height: int, edge: int) -> None:
    seen = np.zeros((height, width), int)

    for block in frame_of(width, height).blocks(edge):
        seen[block.y : block.y + block.height, block.x : block.x + block.width] += 1

    assert (seen == 1).all()


def test_a_block_lies_where_its_pixels_do() -> None:
    frame = Frame(
        region=Region(x_px=7, y_px=3, width_px=200, height_px=100),
        downsample_x=2.0,
        downsample_y=2.5,
        width=100,
        height=40,
    )

    *_, last = frame.blocks(64)

    assert frame.place(last) == Region(x_px=7 + 128, y_px=3, width_px=72, height_px=100)


@pytest.mark.parametrize("edge", [7, 32, 2048])
def test_scores_do_not_depend_on_blocks(edge: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    predicted: LabelMap = rng.choice(np.array([0, 1, IGNORE_INDEX], np.uint8), (80, 100))
    expected = ConfusionMatrix(NAMES)
    expected.add(rasterize(TRUTH, frame_of().region, 100, 80), predicted)
    monkeypatch.setattr(Frame.blocks, "__defaults__", (edge,))

    matrix = score(TRUTH, MapPrediction(predicted), frame_of(), NAMES)

    np.testing.assert_array_equal(matrix.counts, expected.counts)


def test_outlines_score_as_the_pixels_they_hold() -> None:
    shapes = [(box(0, 0, 45, 80), 0), (box(45, 0, 100, 80), 1)]
    painted = rasterize(shapes, frame_of().region, 100, 80)

    by_outline = score(TRUTH, ShapePrediction(shapes), frame_of(), NAMES)
    by_pixel = score(TRUTH, MapPrediction(painted), frame_of(), NAMES)

    np.testing.assert_array_equal(by_outline.counts, by_pixel.counts)
    # The smaller annotation of no class hides 10 x 5 px of the second one.
    assert by_pixel.labelled_px == 50 * 35 + 60 * 50 - 30 * 20 - 10 * 5


def test_a_coarser_frame_counts_coarser_pixels() -> None:
    matrix = score([(box(0, 0, 40, 20), 1)], MapPrediction(np.ones((20, 25), np.uint8)), frame_of(25, 20, 4.0), NAMES)

    assert matrix.counts.tolist() == [[0, 0, 0], [0, 50, 0]]


def test_labelled_area_knows_where_labels_can_be() -> None:
    area = LabelledArea([(box(0, 0, 10, 10), 0), (box(50, 50, 60, 60), IGNORE_INDEX)])

    assert area.covers(Region(x_px=8, y_px=8, width_px=5, height_px=5))
    assert not area.covers(Region(x_px=50, y_px=50, width_px=5, height_px=5))
    assert not LabelledArea([]).covers(Region(x_px=0, y_px=0, width_px=5, height_px=5))


def test_blocks_without_annotations_are_not_painted() -> None:
    class Refusing:
        def labels(self, frame: Frame, block: Block) -> LabelMap:  # noqa: ARG002
            raise AssertionError("nothing is annotated here")

    assert score([], Refusing(), frame_of(), NAMES).labelled_px == 0
