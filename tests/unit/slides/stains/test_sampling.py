import numpy as np
import pytest

from qpbridge.core.geometry import PixelCalibration
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.slides.stains.sampling import TILE_PX, TILES_MAX, tissue_sample

PINK = (220, 120, 180)


def slide_of(width: int, height: int, *tissue: tuple[int, int, int, int]) -> Slide:
    """White, with pink rectangles (left, top, right, bottom)."""
    pixels = np.full((height, width, 3), 245, np.uint8)
    for left, top, right, bottom in tissue:
        pixels[top:bottom, left:right] = PINK
    return Slide(ArraySource([pixels]))


@pytest.mark.parametrize("mpp", [1.0, 2.0, 4.0])
def test_windows_hold_the_tissue_and_no_glass_afar(mpp: float) -> None:
    slide = slide_of(1600, 1600, (0, 0, 512, 512), (1200, 1300, 1210, 1310))

    sample = tissue_sample(slide, PixelCalibration.square(mpp))

    assert sample.shape == (4 * TILE_PX, TILE_PX, 3)
    assert (sample == PINK).all()


def test_a_fine_slide_is_sampled_at_the_same_physical_size() -> None:
    slide = slide_of(1024, 1024, (0, 0, 1024, 1024))

    assert len(tissue_sample(slide, PixelCalibration.square(0.5))) == 4 * TILE_PX


def test_of_much_tissue_windows_are_spread_over_all_of_it() -> None:
    height = 40 * TILE_PX
    column = np.linspace(90, 200, height).astype(np.uint8)[:, None, None]
    slide = Slide(ArraySource([np.broadcast_to(column, (height, TILE_PX, 3)).copy()]))

    sample = tissue_sample(slide, PixelCalibration.square(1.0))

    assert len(sample) == TILES_MAX * TILE_PX
    assert (int(sample[0, 0, 0]), int(sample[-1, 0, 0])) == (90, 200)


def test_small_tissue_is_seen_however_little_it_is() -> None:
    sample = tissue_sample(slide_of(300, 300, (100, 100, 200, 200)), PixelCalibration.square(1.0))

    assert (sample == PINK).all(axis=2).sum() == 100 * 100
