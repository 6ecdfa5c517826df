import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpbridge.core.geometry import Region
from qpbridge.errors import InvalidValueError
from qpbridge.slides import slide as slide_module
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide, file_fingerprint, level_downsample, plausible_calibration, pyramid


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def averaged(image: np.ndarray, *factors: int) -> list[np.ndarray]:
    height, width = image.shape[:2]
    smaller = [cv2.resize(image, (width // f, height // f), interpolation=cv2.INTER_AREA) for f in factors]
    return [image, *smaller]


def window(x: float, y: float, width: float, height: float) -> Region:
    return Region(x_px=x, y_px=y, width_px=width, height_px=height)


def within(first: np.ndarray, second: np.ndarray, gray_values: int) -> bool:
    return first.shape == second.shape and int(np.abs(first.astype(int) - second).max()) <= gray_values


def test_pixels_of_the_finest_level_come_out_unchanged():
    image = noise(90, 70)

    pixels = Slide(ArraySource([image])).read(window(11, 5, 40, 30), 40, 30)

    np.testing.assert_array_equal(pixels, image[5:35, 11:51])


def test_an_aligned_window_of_a_level_is_that_levels_pixels():
    levels = averaged(noise(256, 192), 2, 4)

    pixels = Slide(ArraySource(levels)).read(window(32, 64, 128, 80), 32, 20)

    np.testing.assert_array_equal(pixels, levels[2][16:36, 8:40])


def test_a_change_of_colors_reaches_every_pixel_and_leaves_the_slide_itself_alone():
    slide = Slide(ArraySource([noise(20, 20)]))

    changed = slide.changed(lambda image: 255 - image)

    before, after = (one.read(window(15, 5, 10, 10), 10, 10) for one in (slide, changed))
    np.testing.assert_array_equal(after, 255 - before)
    np.testing.assert_array_equal(changed.thumbnail(5), 255 - slide.thumbnail(5))
    assert changed.region == slide.region


def test_rounding_errors_of_coordinates_do_not_blur():
    image = noise(64, 64)

    pixels = Slide(ArraySource([image])).read(window(7.99999999, 3.0000001, 32.0000002, 16), 32, 16)

    np.testing.assert_array_equal(pixels, image[3:19, 8:40])


@pytest.mark.parametrize(("width", "height"), [(60, 45), (47, 31), (100, 80), (13, 77)])
def test_shrinking_averages_areas_as_opencv_does(width: int, height: int):
    image = noise(120, 90)

    pixels = Slide(ArraySource([image])).read(window(0, 0, 120, 90), width, height)

    assert within(pixels, cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), 1)


def test_enlarging_interpolates_as_opencv_does():
    image = noise(40, 30)

    pixels = Slide(ArraySource([image])).read(window(0, 0, 40, 30), 100, 75)

    assert within(pixels, cv2.resize(image, (100, 75), interpolation=cv2.INTER_LINEAR), 2)


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(-30, 200),
    y=st.floats(-30, 150),
    scale_x=st.floats(0.3, 9),
    scale_y=st.floats(0.3, 9),
    cut=st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 11), st.integers(1, 11)),
)
def test_a_place_looks_the_same_in_every_window(x: float, y: float, scale_x: float, scale_y: float, cut: tuple):
    slide = Slide(ArraySource(averaged(noise(256, 192), 2, 4)))
    left, top, width, height = cut
    small = window(x + left * scale_x, y + top * scale_y, width * scale_x, height * scale_y)

    whole = slide.read(window(x, y, 24 * scale_x, 24 * scale_y), 24, 24)
    part = slide.read(small, width, height)

    assert within(part, whole[top : top + height, left : left + width], 1)


@settings(max_examples=30, deadline=None)
@given(
    x=st.integers(-20, 200),
    y=st.integers(-20, 150),
    scale=st.integers(1, 9),
    cut=st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 11), st.integers(1, 11)),
)
def test_a_place_looks_exactly_the_same_at_whole_scales(x: int, y: int, scale: int, cut: tuple):
    slide = Slide(ArraySource(averaged(noise(256, 192), 2, 4)))
    left, top, width, height = cut
    small = window(x + left * scale, y + top * scale, width * scale, height * scale)

    whole = slide.read(window(x, y, 24 * scale, 24 * scale), 24, 24)
    part = slide.read(small, width, height)

    np.testing.assert_array_equal(part, whole[top : top + height, left : left + width])


@settings(max_examples=40, deadline=None)
@given(
    center=st.tuples(st.floats(100, 156), st.floats(100, 156)),
    corner=st.tuples(st.floats(0, 30), st.floats(0, 30)),
    scale=st.floats(0.4, 6),
)
def test_a_blob_lies_where_its_coordinates_say(center: tuple, corner: tuple, scale: float):
    y, x = np.mgrid[0:256, 0:256] + 0.5
    spread = max(2.0 * scale, 4.0)
    ink = 250 * np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * spread**2))
    image = np.repeat(np.round(255 - ink)[..., None], 3, axis=2).astype(np.uint8)
    slide = Slide(ArraySource(averaged(image, 2, 4)))
    size = math.ceil(226 / scale)

    pixels = slide.read(window(*corner, size * scale, size * scale), size, size)

    found = 255.0 - pixels[..., 0]
    rows, columns = np.mgrid[0:size, 0:size] + 0.5
    assert (found * columns).sum() / found.sum() == pytest.approx((center[0] - corner[0]) / scale, abs=0.05)
    assert (found * rows).sum() / found.sum() == pytest.approx((center[1] - corner[1]) / scale, abs=0.05)


@pytest.mark.parametrize("scale", [1.0, 1.7, 2.0, 3.0, 5.3, 8.0])
def test_a_ramp_reads_its_own_coordinates(scale: float):
    # Rows round at other places and windows begin at other places, so that gray values do not limit the precision.
    ramp = np.floor((np.arange(1000) + 0.5) / 4 + (np.arange(64)[:, None] + 0.5) / 64).astype(np.uint8)
    slide = Slide(ArraySource([np.repeat(ramp[..., None], 3, axis=2)]))
    width = int(900 / scale)
    errors_px = []

    for start_px in 50 + (np.arange(16) + 0.5) / 16:
        pixels = slide.read(window(start_px, 0, width * scale, 64), width, 64)
        places_px = start_px + (np.arange(width) + 0.5) * scale
        errors_px.append(pixels[..., 0].mean(axis=0) * 4 - places_px)

    assert abs(np.mean(errors_px)) / scale < 0.05


@settings(max_examples=40, deadline=None)
@given(x=st.floats(-60, 80), y=st.floats(-60, 60), scale=st.floats(1, 7), size=st.integers(1, 20))
def test_outside_the_image_is_as_white_as_a_white_frame(x: float, y: float, scale: float, size: int):
    image = noise(50, 40)
    framed = np.full((440, 450, 3), 255, np.uint8)
    framed[200:240, 200:250] = image

    pixels = Slide(ArraySource([image])).read(window(x, y, size * scale, size * scale), size, size)
    expected = Slide(ArraySource([framed])).read(window(x + 200, y + 200, size * scale, size * scale), size, size)

    assert within(pixels, expected, 1)


def test_a_region_far_outside_is_white():
    slide = Slide(ArraySource([noise(50, 40)]))

    assert (slide.read(window(-500, 90, 100, 30), 20, 10) == 255).all()
    assert (slide.read(window(1e6, 1e6, 10, 10), 30, 30) == 255).all()


def test_axes_may_shrink_differently():
    image = noise(120, 80)

    pixels = Slide(ArraySource([image])).read(window(0, 0, 120, 80), 30, 80)

    assert within(pixels, cv2.resize(image, (30, 80), interpolation=cv2.INTER_AREA), 1)


def test_the_coarsest_level_that_is_fine_enough_is_read():
    levels = [np.full((1024 // f, 1024 // f, 3), f, np.uint8) for f in (1, 4, 16)]
    slide = Slide(ArraySource(levels))

    seen = {
        scale: int(slide.read(window(0, 0, 512, 512), 512 // scale, 512 // scale)[2, 2, 0])
        for scale in (1, 2, 4, 8, 16)
    }

    assert seen == {1: 1, 2: 1, 4: 4, 8: 4, 16: 16}


def test_large_readings_are_put_together_from_parts(monkeypatch: pytest.MonkeyPatch):
    slide = Slide(ArraySource([noise(200, 150)]))
    regions = [
        (window(-13.3, 4.1, 180.7, 170), 71, 53),
        (window(0, 0, 200, 150), 1, 90),
        (window(0, 0, 200, 150), 9, 1),
    ]
    at_once = [slide.read(*request) for request in regions]

    monkeypatch.setattr(slide_module, "WINDOW_LIMIT_PX", 300)
    in_parts = [slide.read(*request) for request in regions]

    assert all(within(part, whole, 1) for part, whole in zip(in_parts, at_once, strict=True))


def test_a_level_that_was_rounded_down_stands_for_the_whole_image():
    levels = [np.full((101, 103, 3), 9, np.uint8), np.full((25, 25, 3), 9, np.uint8)]

    pixels = Slide(ArraySource(levels)).read(window(80, 80, 24, 24), 6, 6)

    assert (pixels[:5, :5] == 9).all()
    assert abs(pixels[0, 5, 0] - (255 - 246 * 3 / 4)) <= 0.5


def test_a_thumbnail_shows_the_whole_image_and_is_never_enlarged():
    image = noise(120, 60)
    slide = Slide(ArraySource([image]))

    assert within(slide.thumbnail(40), cv2.resize(image, (40, 20), interpolation=cv2.INTER_AREA), 1)
    np.testing.assert_array_equal(slide.thumbnail(1000), image)


def test_a_result_without_pixels_is_refused():
    with pytest.raises(InvalidValueError, match="0 x 5 px"):
        Slide(ArraySource([noise(9, 9)])).read(window(0, 0, 5, 5), 0, 5)


def test_a_slide_tells_its_size_and_closes_its_source():
    class Source(ArraySource):
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

    source = Source(averaged(noise(64, 32), 2, 4), path=Path("a.tif"))

    with Slide(source) as slide:
        assert (slide.width_px, slide.height_px, slide.downsamples) == (64, 32, (1.0, 2.0, 4.0))
        assert (slide.path, slide.fingerprint, slide.calibration) == (Path("a.tif"), source.fingerprint, None)

    assert source.is_closed


@given(
    image_px=st.integers(5000, 200_000),
    factor=st.sampled_from([2, 4, 8, 16, 32]),
    round_up=st.booleans(),
)
def test_level_downsamples_undo_the_rounding_of_sizes(image_px: int, factor: int, round_up: bool):
    level_px = -(-image_px // factor) if round_up else image_px // factor

    assert level_downsample(image_px, level_px) == factor


def test_levels_that_are_no_whole_fraction_keep_their_ratio():
    (_, level) = pyramid([(1000, 800), (300, 240)])

    assert level.downsample_x == pytest.approx(1000 / 300)
    assert level.downsample_y == pytest.approx(800 / 240)
    assert level.downsample == max(level.downsample_x, level.downsample_y)


@pytest.mark.parametrize("mpp", [None, 0.0, 0.009, 101.0, 352.8, -1.0, math.nan, math.inf])
def test_nonsense_pixel_sizes_are_taken_as_missing(mpp: float | None):
    assert plausible_calibration(0.5, mpp) is None
    assert plausible_calibration(mpp, 0.5) is None


def test_plausible_pixel_sizes_are_kept_for_each_axis():
    calibration = plausible_calibration(0.25, 0.26)

    assert calibration is not None
    assert (calibration.mpp_x, calibration.mpp_y) == (0.25, 0.26)


def test_fingerprints_tell_files_apart_by_size_and_both_ends(tmp_path: Path):
    content = bytearray(300_000)
    path = tmp_path / "a.svs"

    def fingerprint(change_at: int | None = None, more: int = 0) -> str:
        changed = bytearray(content) + bytes(more)
        if change_at is not None:
            changed[change_at] = 1
        path.write_bytes(changed)
        return file_fingerprint(path, 10, 20)

    assert fingerprint() == fingerprint()
    assert (
        len({fingerprint(), fingerprint(0), fingerprint(299_999), fingerprint(more=1), file_fingerprint(path, 20, 10)})
        == 5
    )
