import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import Region
from qpbridge.errors import InvalidValueError
from qpbridge.slides.synthetic import CLASSES, SyntheticSlide, SyntheticSpec, make_slide
from qpbridge.slides.synthetic.layout import Tissue
from qpbridge.slides.synthetic.window import TILE_PX

WIDTH, HEIGHT = 1300, 1100


@pytest.fixture(scope="module")
def slide() -> SyntheticSlide:
    return make_slide(SyntheticSpec(width_px=WIDTH, height_px=HEIGHT, mpp=1.0, seed=5))


@pytest.fixture(scope="module")
def whole(slide: SyntheticSlide) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        slide.pixels(0, 0, WIDTH, HEIGHT),
        slide.labels(slide.bounds, WIDTH, HEIGHT),
        slide.instances(0, 0, WIDTH, HEIGHT),
    )


@settings(max_examples=6, deadline=None)
@given(x=st.integers(0, WIDTH - 1), y=st.integers(0, HEIGHT - 1), width=st.integers(1, 300), height=st.integers(1, 300))
def test_a_block_equals_the_same_part_of_the_whole(slide, whole, x, y, width, height) -> None:
    width, height = min(width, WIDTH - x), min(height, HEIGHT - y)
    part = slice(y, y + height), slice(x, x + width)
    pixels, labels, instances = whole
    np.testing.assert_array_equal(slide.pixels(x, y, width, height), pixels[part])
    region = Region(x_px=x, y_px=y, width_px=width, height_px=height)
    np.testing.assert_array_equal(slide.labels(region, width, height), labels[part])
    np.testing.assert_array_equal(slide.instances(x, y, width, height), instances[part])


def test_equal_specs_give_equal_slides_and_other_seeds_others(slide: SyntheticSlide) -> None:
    block = 500, 400, 200, 100
    again, other = (
        make_slide(SyntheticSpec(width_px=WIDTH, height_px=HEIGHT, mpp=1.0, seed=seed)).pixels(*block)
        for seed in (5, 6)
    )
    np.testing.assert_array_equal(slide.pixels(*block), again)
    assert (other != again).mean() > 0.5


def test_what_lies_outside_the_slide_is_white_and_ignored(slide: SyntheticSlide) -> None:
    pixels = slide.pixels(-20, HEIGHT - 10, 30, 30)
    assert (pixels[:, :20] == 255).all()
    assert (pixels[10:] == 255).all()
    assert (pixels[:10, 20:] < 255).any()
    labels = slide.labels(Region(x_px=-20, y_px=-20, width_px=40, height_px=40), 20, 20)
    assert (labels[:10] == IGNORE_INDEX).all()
    assert (labels[:, :10] == IGNORE_INDEX).all()
    assert (labels[10:, 10:] < len(CLASSES)).all()
    assert (slide.instances(WIDTH, 0, 8, 8) == 0).all()


def test_coarse_labels_are_those_at_the_centers_of_their_pixels(slide: SyntheticSlide, whole) -> None:
    coarse = slide.labels(Region(x_px=100.5, y_px=50, width_px=900, height_px=600), 300, 400)
    rows, columns = (50 + (np.arange(400) + 0.5) * 1.5).astype(int), (100.5 + (np.arange(300) + 0.5) * 3).astype(int)
    np.testing.assert_array_equal(coarse, whole[1][np.ix_(rows, columns)])


def test_tiles_join_without_seams(whole) -> None:
    gray = whole[0].astype(float).mean(axis=2)
    steps = np.abs(np.diff(gray, axis=1)).mean(axis=0)
    at_seams = steps[[TILE_PX - 1, 2 * TILE_PX - 1]].mean()
    around = steps[TILE_PX - 40 : TILE_PX + 40].mean() / 2 + steps[2 * TILE_PX - 40 : 2 * TILE_PX + 40].mean() / 2
    assert at_seams < 1.3 * around


def test_without_the_context_class_all_living_nests_are_tumor() -> None:
    spec = SyntheticSpec(width_px=512, height_px=512, mpp=4.0, seed=0, has_context_class=False)
    labels = make_slide(spec).labels(Region(x_px=0, y_px=0, width_px=512, height_px=512), 512, 512)
    with_class = make_slide(SyntheticSpec(width_px=512, height_px=512, mpp=4.0, seed=0))
    expected = with_class.labels(with_class.bounds, 512, 512)
    np.testing.assert_array_equal(labels, np.where(expected == Tissue.BENIGN, Tissue.TUMOR, expected))


@settings(max_examples=12, deadline=None)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    mpp=st.floats(0.1, 4),
    seed=st.integers(0, 2**63 - 1),
    density=st.floats(0, 2),
)
def test_any_small_slide_can_be_made(width: int, height: int, mpp: float, seed: int, density: float) -> None:
    slide = make_slide(SyntheticSpec(width_px=width, height_px=height, mpp=mpp, seed=seed, nucleus_density=density))
    assert slide.pixels(0, 0, width, height).shape == (height, width, 3)
    assert slide.labels(slide.bounds, width, height).max() < len(CLASSES)
    instances = set(np.unique(slide.instances(0, 0, width, height)).tolist()) - {0}
    assert instances <= set(slide.nuclei(slide.bounds).ids.tolist())


@pytest.mark.parametrize(
    ("field", "value"),
    [("width_px", 0), ("mpp", 0.01), ("mpp", float("nan")), ("seed", -1), ("nucleus_density", 3), ("eosin", 0)],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InvalidValueError, match=field):
        SyntheticSpec(**{"width_px": 100, "height_px": 100, field: value})
