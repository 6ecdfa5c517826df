import numpy as np
import pytest

from qpbridge.core.geometry import Region
from qpbridge.slides import overview
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.overview import Overview
from qpbridge.slides.slide import Slide


class Counting(ArraySource):
    """Counts the rows that are read."""

    rows = 0

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        self.rows += height
        return super().read_level(level, x, y, width, height)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_levels_are_halved_until_they_would_be_small() -> None:
    levels = Overview(ArraySource([noise(1031, 2100)])).levels

    assert [(one.width, one.height, one.downsample_x, one.downsample_y) for one in levels] == [
        (1050, 515, 2, 2),
        (525, 257, 4, 4),
    ]


def test_a_halving_holds_the_means_of_squares_of_pixels() -> None:
    image = noise(1101, 600)
    made = Overview(ArraySource([image]))

    half = made.read_level(0, 10, 20, 200, 480)

    exact = image[40:1000, 20:420].reshape(480, 2, 200, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - exact).max() <= 0.5


def test_the_file_is_read_once_however_often_one_looks_from_afar() -> None:
    source = Counting([noise(1024, 1024)])
    slide = Slide(source)

    for size in (256, 200, 100):
        slide.read(slide.region, size, size)

    assert source.rows == 1024


def test_a_look_from_afar_shows_what_a_reading_of_all_pixels_would() -> None:
    image = np.repeat(np.repeat(noise(128, 128), 8, axis=0), 8, axis=1)
    region = Region(x_px=100, y_px=60, width_px=640, height_px=800)

    seen = Slide(ArraySource([image])).read(region, 80, 100)

    exact = image[60:860, 100:740].reshape(100, 8, 80, 8, 3).mean(axis=(1, 3))
    assert np.abs(seen - exact).max() <= 2


def test_a_slide_tells_the_levels_of_its_file_only() -> None:
    assert Slide(ArraySource([noise(1024, 1024)])).downsamples == (1.0,)


def test_large_files_are_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "OVERVIEW_LIMIT_PX", 1000)

    assert not Overview(ArraySource([noise(1024, 1024)])).levels
