from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image, ImageCms

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.errors import DamagedSlideError, UnsupportedImageError
from qpbridge.slides.openslide_source import OpenSlideSource, open_with_openslide
from qpbridge.slides.slide import PixelSource, Slide


def opened(path: Path, *args: str) -> PixelSource:
    source = open_with_openslide(path, args)
    assert source is not None
    return source


def rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


@pytest.mark.parametrize("name", ["slide_a.tif", "slide_b.tif", "slide_c.tif"])
def test_all_levels_read_as_openslide_reads_them(data_dir: Path, name: str):
    path = data_dir / "made" / "images" / name
    peer = openslide.OpenSlide(path)
    source = opened(path)

    for level, (width, height) in enumerate(peer.level_dimensions):
        x, y = width // 3, height // 5
        downsample = int(peer.level_downsamples[level])
        expected = rgb(peer.read_region((x * downsample, y * downsample), level, (200, 150)))
        np.testing.assert_array_equal(source.read_level(level, x, y, 200, 150), expected)


def test_a_region_at_the_size_of_a_level_reads_as_openslide_reads_it(data_dir: Path):
    path = data_dir / "made" / "images" / "slide_a.tif"

    pixels = Slide(opened(path)).read(Region(x_px=1024, y_px=512, width_px=2048, height_px=1024), 512, 256)

    np.testing.assert_array_equal(pixels, rgb(openslide.OpenSlide(path).read_region((1024, 512), 2, (512, 256))))


def test_pixel_size_and_identity_come_from_the_file(data_dir: Path):
    path = data_dir / "made" / "images" / "slide_c.tif"
    source = opened(path)

    assert source.calibration == PixelCalibration.square(0.5)
    assert source.fingerprint == f"quickhash-1:{openslide.OpenSlide(path).properties['openslide.quickhash-1']}"


def test_threads_read_the_same_as_one(data_dir: Path):
    slide = Slide(opened(data_dir / "made" / "images" / "slide_b.tif"))
    regions = [Region(x_px=37 * i, y_px=53 * i, width_px=300 + i, height_px=250) for i in range(40)]
    one_by_one = [slide.read(region, 100, 90) for region in regions]

    with ThreadPoolExecutor(8) as threads:
        at_once = list(threads.map(lambda region: slide.read(region, 100, 90), regions))

    assert all((a == b).all() for a, b in zip(one_by_one, at_once, strict=True))


def test_levels_of_rounded_size_look_the_same_in_every_window(write_tiff: Callable[..., Path]):
    random = np.random.default_rng(0)
    levels = [random.integers(0, 256, (size, size + 1, 3), dtype=np.uint8) for size in (4702, 1175)]
    source = opened(write_tiff(levels))

    whole = source.read_level(1, 400, 300, 700, 600)
    part = source.read_level(1, 461, 377, 130, 260)

    assert source.levels[1].downsample == 4
    np.testing.assert_array_equal(part, whole[77 : 77 + 260, 61 : 61 + 130])
    np.testing.assert_array_equal(source.read_level(1, 0, 0, 4, 4), levels[1][:4, :4])
    assert source.read_level(1, 0, 0, source.levels[1].width, source.levels[1].height).shape == (1175, 1176, 3)


def test_a_slide_is_cropped_to_its_bounds(leica_scan: tuple):
    path, fine, coarse = leica_scan
    slide = Slide(opened(path))

    assert (slide.width_px, slide.height_px, slide.downsamples) == (1200, 900, (1, 4))
    np.testing.assert_array_equal(slide.read(slide.region, 1200, 900), fine)
    np.testing.assert_array_equal(slide.read(slide.region, 300, 225), coarse)


def test_a_slide_is_shown_as_a_whole_when_told_so(leica_scan: tuple):
    path, fine, _ = leica_scan
    slide = Slide(opened(path, "--no-crop"))

    assert (slide.width_px, slide.height_px) == (4000, 3000)
    pixels = slide.read(Region(x_px=990, y_px=590, width_px=100, height_px=50), 100, 50)
    np.testing.assert_array_equal(pixels[10:, 10:], fine[:40, :90])
    assert (pixels[:10] == 255).all()


@pytest.mark.parametrize(
    ("args", "color"),
    [
        (("--background-color", "black"), (0, 0, 0)),
        (("--background-color=102030",), (16, 32, 48)),
        (("--background-color=#abcdef",), (171, 205, 239)),
        (("--background-color", "no color"), (255, 255, 255)),
        (("--background-color",), (255, 255, 255)),
        ((), (255, 255, 255)),
    ],
)
def test_transparent_pixels_show_the_background(leica_scan: tuple, args: tuple[str, ...], color: tuple[int, ...]):
    source = opened(leica_scan[0], "--no-crop", *args)

    assert source.read_level(0, 0, 0, 1, 1)[0, 0].tolist() == list(color)


def test_colors_are_turned_into_srgb_only_when_asked(write_tiff: Callable[..., Path]):
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    profile = ImageCms.createProfile("sRGB")
    path = write_tiff([image], iccprofile=ImageCms.ImageCmsProfile(profile).tobytes())

    np.testing.assert_array_equal(opened(path).read_level(0, 0, 0, 300, 300), image)
    shown = opened(path, "--icc-profile").read_level(0, 0, 0, 300, 300)
    assert np.abs(shown.astype(int) - image).max() <= 2


def test_other_profiles_change_the_colors_when_asked(fixtures_dir: Path):
    path = fixtures_dir / "public" / "slides" / "boxes.tiff"
    plain, turned = opened(path), opened(path, "--icc-profile")
    peer = openslide.OpenSlide(path)
    image = Image.fromarray(plain.read_level(0, 0, 0, 300, 250))
    expected = ImageCms.profileToProfile(image, peer.color_profile, ImageCms.createProfile("sRGB"))

    np.testing.assert_array_equal(turned.read_level(0, 0, 0, 300, 250), np.asarray(expected))


def test_a_missing_profile_is_told(data_dir: Path):
    with pytest.raises(UnsupportedImageError, match="no ICC profile"):
        opened(data_dir / "made" / "images" / "slide_c.tif", "--icc-profile")


def test_nonsense_pixel_sizes_are_missing(fixtures_dir: Path):
    assert opened(fixtures_dir / "public" / "slides" / "boxes.tiff").calibration is None


def test_a_slide_that_opens_but_cannot_be_decoded_names_the_place(fixtures_dir: Path):
    source = opened(fixtures_dir / "public" / "slides" / "unreadable.svs")

    with pytest.raises(DamagedSlideError, match=r"unreadable.svs cannot be decoded in level 0 at \(2, 3\), 5 x 6 px"):
        source.read_level(0, 2, 3, 5, 6)


def test_a_slide_of_a_known_format_that_cannot_be_opened_is_damaged(tmp_path: Path, leica_scan: tuple):
    content = leica_scan[0].read_bytes()
    path = tmp_path / "b.scn"
    path.write_bytes(content.replace(b'ifd="2"', b'ifd="9"'))

    with pytest.raises(DamagedSlideError, match=r"b\.scn cannot be opened"):
        OpenSlideSource(path)


def test_unknown_formats_are_left_to_others(tmp_path: Path):
    (tmp_path / "a.svs").write_text("no slide")

    assert open_with_openslide(tmp_path / "a.svs") is None
