import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qpbridge.errors import DamagedSlideError, InvalidValueError, UnsupportedImageError
from qpbridge.slides.array_source import ArraySource, on_white, open_with_pillow


def test_levels_follow_from_the_arrays():
    source = ArraySource([np.zeros((30, 40, 3), np.uint8), np.zeros((15, 20, 3), np.uint8)])

    assert [(level.width, level.height, level.downsample) for level in source.levels] == [(40, 30, 1), (20, 15, 2)]


def test_fingerprints_depend_on_the_pixels():
    image = np.zeros((30, 40, 3), np.uint8)
    changed = image.copy()
    changed[3, 4, 1] = 1

    assert ArraySource([image]).fingerprint == ArraySource([image.copy()]).fingerprint
    assert ArraySource([image]).fingerprint != ArraySource([changed]).fingerprint
    assert ArraySource([image]).fingerprint != ArraySource([image.reshape(40, 30, 3)]).fingerprint


@pytest.mark.parametrize(
    "image",
    [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)],
)
def test_arrays_that_are_not_rgb_are_refused(image: np.ndarray):
    with pytest.raises(InvalidValueError, match="RGB of uint8"):
        ArraySource([image])


@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
def test_pictures_are_read_pixel_by_pixel(tmp_path: Path, name: str):
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / name, dpi=(300, 300))

    source = open_with_pillow(tmp_path / name)

    assert source is not None
    np.testing.assert_array_equal(source.read_level(0, 2, 1, 5, 4), image[1:5, 2:7])
    assert source.calibration is None


def test_transparent_pixels_become_white(tmp_path: Path):
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [10, 20, 30, 128]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")

    source = open_with_pillow(tmp_path / "a.png")

    assert source is not None
    assert source.read_level(0, 0, 0, 3, 1).tolist() == [[[10, 20, 30], [255, 255, 255], [132, 137, 142]]]


def test_laying_over_white_agrees_with_pillow():
    rgba = np.random.default_rng(1).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    expected = Image.alpha_composite(Image.new("RGBA", (64, 64), "white"), Image.fromarray(rgba)).convert("RGB")

    assert np.abs(on_white(rgba).astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "8-bit gray"), ("P", "8-bit indexed color"), ("1", "black and white"), ("I;16", "16-bit gray")],
)
def test_pictures_that_are_not_rgb_are_refused_by_name(tmp_path: Path, mode: str, kind: str):
    Image.new(mode, (8, 8)).save(tmp_path / "a.png")

    with pytest.raises(UnsupportedImageError, match=f"a.png is {kind}"):
        open_with_pillow(tmp_path / "a.png")


def test_pictures_too_large_to_be_read_as_a_whole_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")

    for limit in (1000, 100):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(UnsupportedImageError, match="convert it to a pyramidal TIFF"):
            open_with_pillow(tmp_path / "a.png")


def test_cut_off_pictures_are_damaged(tmp_path: Path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:9000])

    with pytest.raises(DamagedSlideError, match=r"a\.png cannot be decoded"):
        open_with_pillow(tmp_path / "a.png")


def test_what_is_no_picture_is_left_to_others(tmp_path: Path):
    (tmp_path / "a.png").write_text("no picture")

    assert open_with_pillow(tmp_path / "a.png") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (tmp_path / "b.png").touch()
        assert open_with_pillow(tmp_path / "b.png") is None
