from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.image_server import Rotation
from qpbridge.errors import SlideMismatchError
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.slides.transforms import transformed

IMAGE = np.random.default_rng(5).integers(0, 256, (96, 128, 3), dtype=np.uint8)
LEVELS = [IMAGE, cv2.resize(IMAGE, (32, 24), interpolation=cv2.INTER_AREA)]


def crop(x: float, y: float, width: float, height: float) -> Region:
    return Region(x_px=x, y_px=y, width_px=width, height_px=height)


def source() -> ArraySource:
    return ArraySource(LEVELS, calibration=PixelCalibration(mpp_x=0.25, mpp_y=0.5), path=Path("a.tif"))


@pytest.mark.parametrize(
    ("rotation", "turn"),
    [
        (Rotation.NONE, None),
        (Rotation.ROTATE_90, cv2.ROTATE_90_CLOCKWISE),
        (Rotation.ROTATE_180, cv2.ROTATE_180),
        (Rotation.ROTATE_270, cv2.ROTATE_90_COUNTERCLOCKWISE),
    ],
)
def test_turns_are_clockwise_in_all_levels(rotation: Rotation, turn: int | None):
    slide = Slide(transformed(source(), [rotation]))
    fine, coarse = (level if turn is None else cv2.rotate(level, turn) for level in LEVELS)

    np.testing.assert_array_equal(slide.read(slide.region, slide.width_px, slide.height_px), fine)
    np.testing.assert_array_equal(slide.read(slide.region, slide.width_px // 4, slide.height_px // 4), coarse)
    assert slide.downsamples == (1, 4)


def test_a_quarter_turn_swaps_pixel_sizes():
    upright, turned = source().calibration, transformed(source(), [Rotation.ROTATE_90]).calibration

    assert upright is not None
    assert turned == PixelCalibration(mpp_x=upright.mpp_y, mpp_y=upright.mpp_x)
    assert transformed(source(), [Rotation.ROTATE_180]).calibration == upright
    assert transformed(ArraySource(LEVELS), [Rotation.ROTATE_90]).calibration is None


def test_a_crop_begins_where_it_was_cut():
    slide = Slide(transformed(source(), [crop(16, 8, 64, 48)]))

    np.testing.assert_array_equal(slide.read(slide.region, 64, 48), IMAGE[8:56, 16:80])
    np.testing.assert_array_equal(slide.read(slide.region, 16, 12), LEVELS[1][2:14, 4:20])


def test_outside_a_crop_is_white():
    slide = Slide(transformed(source(), [crop(16, 8, 64, 48)]))

    pixels = slide.read(crop(-10, -10, 84, 68), 84, 68)

    np.testing.assert_array_equal(pixels[10:58, 10:74], IMAGE[8:56, 16:80])
    pixels[10:58, 10:74] = 255
    assert (pixels == 255).all()


@settings(max_examples=30, deadline=None)
@given(x=st.integers(0, 60), y=st.integers(0, 40), scale=st.sampled_from([0.5, 1.0, 2.5, 4.0, 5.0]))
def test_a_crop_shows_what_the_whole_image_shows_there(x: int, y: int, scale: float):
    cropped = Slide(transformed(source(), [crop(x, y, 64, 50)]))

    pixels = cropped.read(crop(10, 10, 8 * scale, 8 * scale), 8, 8)
    expected = Slide(source()).read(crop(x + 10, y + 10, 8 * scale, 8 * scale), 8, 8)

    assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_transforms_apply_in_their_order():
    cut_then_turned = Slide(transformed(source(), [crop(16, 8, 64, 32), Rotation.ROTATE_90]))
    turned_then_cut = Slide(transformed(source(), [Rotation.ROTATE_90, crop(16, 8, 64, 32)]))

    np.testing.assert_array_equal(
        cut_then_turned.read(cut_then_turned.region, 32, 64), cv2.rotate(IMAGE[8:40, 16:80], cv2.ROTATE_90_CLOCKWISE)
    )
    np.testing.assert_array_equal(
        turned_then_cut.read(turned_then_cut.region, 64, 32), cv2.rotate(IMAGE, cv2.ROTATE_90_CLOCKWISE)[8:40, 16:80]
    )


def test_four_quarter_turns_change_nothing():
    slide = Slide(transformed(source(), [Rotation.ROTATE_90, Rotation.ROTATE_270]))

    np.testing.assert_array_equal(slide.read(slide.region, 128, 96), IMAGE)
    np.testing.assert_array_equal(slide.read(slide.region, 32, 24), LEVELS[1])


def test_levels_of_odd_size_keep_their_place_when_turned():
    image = np.random.default_rng(3).integers(0, 256, (99, 130, 3), dtype=np.uint8)
    levels = [image, cv2.resize(image[:96, :128], (32, 24), interpolation=cv2.INTER_AREA)]
    slide = Slide(transformed(ArraySource(levels), [Rotation.ROTATE_90]))

    # Level pixels begin at the upper left of the file, which now is the upper right, 3 px from the left.
    pixels = slide.read(crop(3, 0, 96, 128), 24, 32)

    np.testing.assert_array_equal(pixels, cv2.rotate(levels[1], cv2.ROTATE_90_CLOCKWISE))


def test_the_file_stays_the_same_and_is_closed():
    class Source(ArraySource):
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

    file = Source(LEVELS, path=Path("a.tif"))
    shown = transformed(file, [crop(0, 0, 50, 50), Rotation.ROTATE_90])

    shown.close()

    assert (shown.path, shown.fingerprint) == (file.path, file.fingerprint)
    assert file.is_closed


@pytest.mark.parametrize("outside", [crop(-1, 0, 5, 5), crop(0, -1, 5, 5), crop(100, 0, 29, 5), crop(0, 90, 5, 7)])
def test_a_crop_beyond_the_image_is_refused(outside: Region):
    with pytest.raises(SlideMismatchError, match="only 128 x 96 px"):
        transformed(source(), [outside])
