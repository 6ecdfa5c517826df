from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from qpbridge.core.geometry import Region
from qpbridge.core.image_server import ImageServer, Rotation
from qpbridge.errors import DamagedSlideError, SlideMismatchError, SlideNotFoundError, UnsupportedImageError
from qpbridge.slides.opening import OPENERS, open_slide

OPENSLIDE = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"
BIOFORMATS = "qupath.lib.images.servers.bioformats.BioFormatsServerBuilder"


def server(**fields: object) -> ImageServer:
    return replace(ImageServer(uri="file:/elsewhere/a.tif", provider=OPENSLIDE), **fields)


@pytest.mark.parametrize(
    ("name", "size", "fingerprint"),
    [("slide_a.tif", (4096, 3072), "quickhash-1:"), ("plain.png", (1024, 768), "sha256-ends:")],
)
def test_bare_files_open_by_their_name(data_dir: Path, name: str, size: tuple[int, int], fingerprint: str):
    with open_slide(data_dir / "made" / "images" / name) as slide:
        assert (slide.width_px, slide.height_px) == size
        assert slide.path.name == name
        assert slide.fingerprint.startswith(fingerprint)
        assert slide.thumbnail(64).shape == (48, 64, 3)


def test_what_openslide_refuses_goes_to_tifffile(tmp_path: Path):
    image = np.random.default_rng(0).integers(0, 256, (90, 100, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "A.TIF", image, photometric="rgb")

    with open_slide(tmp_path / "A.TIF") as slide:
        np.testing.assert_array_equal(slide.read(slide.region, 100, 90), image)


def test_the_real_slide_opens(fixtures_dir: Path):
    with open_slide(fixtures_dir / "real" / "skin" / "CMU-1-Small-Region.svs", server(width_px=2220)) as slide:
        assert slide.calibration is not None
        assert slide.calibration.mpp_x == 0.499
        assert slide.thumbnail(100).mean() > 100


def test_the_bounds_count_only_for_the_reader_that_crops(leica_scan: tuple):
    path = leica_scan[0]
    shown = {
        provider or arg: (slide.width_px, slide.height_px)
        for provider, arg in ((OPENSLIDE, ""), ("", ""), (BIOFORMATS, ""), (OPENSLIDE, "--no-crop"), ("", "--no-crop"))
        for slide in [open_slide(path, server(provider=provider, args=(arg,)))]
    }

    assert shown[BIOFORMATS] == (4000, 3000)
    assert shown["--no-crop"] == (4000, 3000)
    assert shown[""] == (1200, 900)
    assert open_slide(path).width_px == open_slide(path, server()).width_px == 1200


def test_crops_and_turns_of_the_project_are_honored(data_dir: Path):
    path = data_dir / "made" / "images" / "slide_c.tif"
    crop = Region(x_px=400, y_px=200, width_px=600, height_px=300)
    with open_slide(path) as whole:
        expected = cv2.rotate(whole.read(crop, 600, 300), cv2.ROTATE_90_CLOCKWISE)

    request = server(transforms=(crop, Rotation.ROTATE_90), width_px=300, height_px=600)
    with open_slide(path, request) as slide:
        np.testing.assert_array_equal(slide.read(slide.region, 300, 600), expected)


def test_a_slide_of_another_size_is_refused_with_both_sizes(data_dir: Path):
    path = data_dir / "made" / "images" / "slide_c.tif"

    with pytest.raises(SlideMismatchError, match=r"2048 x 2048 px, but .* 2048 x 2000 px"):
        open_slide(path, server(width_px=2048, height_px=2000))
    open_slide(path, server(width_px=2048, height_px=2048)).close()


def test_a_slide_of_other_resolutions_is_refused_where_openslide_stated_them(data_dir: Path):
    path = data_dir / "made" / "images" / "slide_a.tif"
    same = ((4096, 3072), (2048, 1536), (1024, 768), (513, 384))
    other = ((4096, 3072), (1365, 1024), (1024, 768))

    open_slide(path, server(levels=same)).close()
    open_slide(path, server(levels=other[:1])).close()
    open_slide(path, server(levels=other, provider=BIOFORMATS)).close()
    with pytest.raises(SlideMismatchError, match=r"no resolution of 1365 x 1024 px, but the project"):
        open_slide(path, server(levels=other))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"is_rgb": False}, "not RGB"),
        ({"size_z": 3}, "3 z-slices"),
        ({"size_t": 5}, "5 time points"),
        ({"is_rgb": False, "size_z": 3}, "not RGB .* and a stack"),
        ({"provider": BIOFORMATS, "args": ("--series", "2")}, "image 2 of several"),
    ],
)
def test_kinds_of_images_are_refused_by_name(data_dir: Path, fields: dict, kind: str):
    with pytest.raises(UnsupportedImageError, match=f"slide_c.tif is .*{kind}"):
        open_slide(data_dir / "made" / "images" / "slide_c.tif", server(**fields))


def test_the_first_image_of_a_file_is_not_refused(data_dir: Path):
    open_slide(data_dir / "made" / "images" / "slide_c.tif", server(args=("--series", "0"))).close()


def test_bare_stacks_are_refused_by_name(data_dir: Path):
    with pytest.raises(UnsupportedImageError, match="3 z-slices, 2 channels"):
        open_slide(data_dir / "made" / "images" / "stack_z3c2.tif")


def test_tiled_files_of_16_bits_are_refused(write_tiff: Callable[..., Path]):
    with pytest.raises(UnsupportedImageError, match="uint16"):
        open_slide(write_tiff([np.zeros((512, 512, 3), np.uint16)]))


def test_a_missing_file_is_told_with_its_place(tmp_path: Path):
    with pytest.raises(SlideNotFoundError, match=r"no file .*gone\.svs"):
        open_slide(tmp_path / "gone.svs")
    with pytest.raises(SlideNotFoundError):
        open_slide(tmp_path)


@pytest.mark.parametrize("content", [b"", b"this is no slide", b"II*\x00"])
@pytest.mark.parametrize("suffix", [*OPENERS, ".SVS"])
def test_files_that_are_not_what_they_are_called_are_damaged(tmp_path: Path, suffix: str, content: bytes):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)

    with pytest.raises(DamagedSlideError, match=rf"a\{suffix}"):
        open_slide(path)


def test_unknown_formats_are_refused_with_the_known_ones(tmp_path: Path):
    (tmp_path / "a.lif").write_bytes(b"something else")

    with pytest.raises(UnsupportedImageError, match=r"a\.lif is of no format that is read \(\.svs, .*convert"):
        open_slide(tmp_path / "a.lif")


def test_slides_of_unknown_name_are_known_by_their_content(tmp_path: Path, data_dir: Path):
    (tmp_path / "slide").symlink_to((data_dir / "made" / "images" / "slide_c.tif").resolve())

    with open_slide(tmp_path / "slide") as slide:
        assert slide.width_px == 2048


def test_a_slide_that_fails_on_reading_names_itself(fixtures_dir: Path):
    with (
        open_slide(fixtures_dir / "public" / "slides" / "unreadable.svs") as slide,
        pytest.raises(DamagedSlideError, match=r"unreadable\.svs .* \(0, 0\)"),
    ):
        slide.thumbnail(16)
