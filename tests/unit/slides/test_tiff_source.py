import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from qpbridge.core.geometry import PixelCalibration
from qpbridge.errors import DamagedSlideError, UnsupportedImageError
from qpbridge.slides.tiff_source import TiffSource, check_rgb, open_with_tifffile


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ome(path: Path, levels: list[np.ndarray], **metadata: object) -> Path:
    with tifffile.TiffWriter(path, ome=True) as file:
        options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
        file.write(levels[0], subifds=len(levels) - 1, metadata={"axes": "YXS", **metadata}, **options)
        for level in levels[1:]:
            file.write(level, subfiletype=1, **options)
    return path


@pytest.fixture
def open_tiff() -> Iterator[Callable[[Path], TiffSource]]:
    with contextlib.ExitStack() as files:

        def opened(path: Path) -> TiffSource:
            source = TiffSource(path)
            files.callback(source.close)
            return source

        yield opened


def test_ome_pyramids_are_read_with_all_levels(open_tiff: Callable[..., TiffSource], tmp_path: Path):
    levels = [noise(400, 300), noise(200, 150), noise(100, 75)]
    source = open_tiff(
        ome(tmp_path / "a.ome.tif", levels, PhysicalSizeX=0.25, PhysicalSizeY=250.0, PhysicalSizeYUnit="nm")
    )

    assert [level.downsample for level in source.levels] == [1, 2, 4]
    assert source.calibration == PixelCalibration.square(0.25)
    for index, level in enumerate(levels):
        np.testing.assert_array_equal(source.read_level(index, 33, 21, 50, 40), level[21:61, 33:83])


@pytest.mark.parametrize(
    "options",
    [
        {"tile": None, "rowsperstrip": 16},
        {"tile": None, "compression": None},
        {"compression": None},
        {"planarconfig": "separate"},
    ],
)
def test_rgb_files_of_all_layouts_are_read(
    open_tiff: Callable[..., TiffSource], write_tiff: Callable[..., Path], options: dict
):
    image = noise(600, 500)
    pixels = np.moveaxis(image, -1, 0) if "planarconfig" in options else image

    source = open_tiff(write_tiff([pixels], **options))

    assert (source.width_px, source.height_px) == (600, 500)
    np.testing.assert_array_equal(source.read_level(0, 301, 207, 120, 90), image[207:297, 301:421])


def test_jpeg_compressed_files_give_rgb(open_tiff: Callable[..., TiffSource], fixtures_dir: Path):
    path = fixtures_dir / "public" / "tiles" / "instanseg_HE_example.tif"
    source = open_tiff(path)

    np.testing.assert_array_equal(source.read_level(0, 500, 700, 300, 200), tifffile.imread(path)[700:900, 500:800])
    assert source.calibration is not None
    assert source.calibration.mpp_x == pytest.approx(0.50008, abs=1e-5)


def test_transparent_pixels_become_white(open_tiff: Callable[..., TiffSource], write_tiff: Callable[..., Path]):
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:32, :, 3] = 255

    source = open_tiff(write_tiff([rgba], tile=(64, 64), extrasamples=["unassalpha"]))

    assert source.read_level(0, 0, 31, 1, 2).tolist() == [[[0, 0, 0]], [[255, 255, 255]]]


@pytest.mark.parametrize(
    ("unit", "resolution", "mpp"),
    [
        ("CENTIMETER", 40000, 0.25),
        ("INCH", 50800, 0.5),
        ("CENTIMETER", 28.3, None),
        ("INCH", 96, None),
        ("NONE", 2, None),
    ],
)
def test_resolution_tags_give_the_pixel_size(
    open_tiff: Callable[..., TiffSource],
    write_tiff: Callable[..., Path],
    unit: str,
    resolution: float,
    mpp: float | None,
):
    source = open_tiff(write_tiff([noise(64, 64)], resolution=(resolution, resolution), resolutionunit=unit))

    assert source.calibration == (mpp and PixelCalibration.square(mpp))


def test_files_that_state_no_resolution_have_no_pixel_size(
    open_tiff: Callable[..., TiffSource], write_tiff: Callable[..., Path]
):
    assert open_tiff(write_tiff([noise(64, 64)])).calibration is None


@pytest.mark.parametrize(("unit", "mpp"), [("micron", 0.5), ("um", 0.5), ("\\u00B5m", 0.5), ("pixel", None)])
def test_imagej_units_give_the_pixel_size(
    open_tiff: Callable[..., TiffSource], tmp_path: Path, unit: str, mpp: float | None
):
    tifffile.imwrite(tmp_path / "a.tif", noise(64, 64), imagej=True, resolution=(2, 2), metadata={"unit": unit})

    assert open_tiff(tmp_path / "a.tif").calibration == (mpp and PixelCalibration.square(mpp))


def test_ome_sizes_in_unknown_units_are_missing(open_tiff: Callable[..., TiffSource], tmp_path: Path):
    path = ome(tmp_path / "a.ome.tif", [noise(64, 64)], PhysicalSizeX=1.0, PhysicalSizeY=1.0, PhysicalSizeXUnit="pixel")

    assert open_tiff(path).calibration is None


def test_stacks_of_other_channels_are_refused_by_name(data_dir: Path):
    with pytest.raises(UnsupportedImageError, match=r"3 z-slices, 2 channels, uint8, color model MINISBLACK"):
        TiffSource(data_dir / "made" / "images" / "stack_z3c2.tif")


@pytest.mark.parametrize(
    ("pixels", "options", "kind"),
    [
        (np.zeros((64, 64), np.uint8), {"photometric": "minisblack"}, "uint8, color model MINISBLACK"),
        (np.zeros((64, 64, 3), np.uint16), {}, "3 samples a pixel, uint16, color model RGB"),
        (np.zeros((64, 64, 3), np.float32), {}, "float32"),
        (np.zeros((64, 64, 4), np.uint8), {"photometric": "separated"}, "color model SEPARATED"),
        (np.zeros((64, 64, 3), np.uint8), {"photometric": "ycbcr"}, "color model YCBCR"),
    ],
)
def test_images_that_are_not_rgb_are_refused_by_name(
    write_tiff: Callable[..., Path], pixels: np.ndarray, options: dict, kind: str
):
    with pytest.raises(UnsupportedImageError, match=kind):
        TiffSource(write_tiff([pixels], tile=None, **options))


@pytest.mark.parametrize(("axes", "kind"), [("ZYXS", "4 z-slices"), ("TYXS", "4 time points")])
def test_rgb_stacks_are_refused_by_name(tmp_path: Path, axes: str, kind: str):
    stack = np.zeros((4, 64, 64, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric="rgb", metadata={"axes": axes})

    with pytest.raises(UnsupportedImageError, match=kind):
        TiffSource(tmp_path / "a.ome.tif")


@pytest.mark.parametrize(
    ("pixels", "options"),
    [(np.zeros((64, 64, 3), np.uint16), {}), (np.zeros((64, 64), np.uint8), {"photometric": "minisblack"})],
)
def test_tiled_files_that_openslide_would_show_as_rgb_are_refused(
    write_tiff: Callable[..., Path], pixels: np.ndarray, options: dict
):
    with pytest.raises(UnsupportedImageError, match="samples a pixel, uint"):
        check_rgb(write_tiff([pixels], tile=(64, 64), **options))


def test_threads_read_the_same_as_one(open_tiff: Callable[..., TiffSource], tmp_path: Path):
    source = open_tiff(ome(tmp_path / "a.ome.tif", [noise(512, 512)]))
    image = noise(512, 512)

    with ThreadPoolExecutor(8) as threads:
        parts = list(threads.map(lambda i: source.read_level(0, 7 * i, 9 * i, 100, 90), range(40)))

    assert all((part == image[9 * i : 9 * i + 90, 7 * i : 7 * i + 100]).all() for i, part in enumerate(parts))


def test_a_broken_tile_names_the_place(open_tiff: Callable[..., TiffSource], tmp_path: Path):
    path = ome(tmp_path / "a.ome.tif", [noise(128, 128)])
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[3]
    content = bytearray(path.read_bytes())
    content[offset : offset + 200] = b"\xff" * 200
    path.write_bytes(content)
    source = open_tiff(path)

    assert source.read_level(0, 0, 0, 64, 64).shape == (64, 64, 3)
    with pytest.raises(DamagedSlideError, match=r"a.ome.tif cannot be decoded in level 0 at \(64, 64\), 64 x 64 px"):
        source.read_level(0, 64, 64, 64, 64)


@pytest.mark.parametrize("kept_bytes", [8, 300, 5000, -1])
def test_files_that_are_cut_off_are_damaged(write_tiff: Callable[..., Path], kept_bytes: int):
    path = write_tiff([noise(128, 128)], tile=(64, 64))
    path.write_bytes(path.read_bytes()[:kept_bytes])

    with pytest.raises(DamagedSlideError, match=r"a\.tif (cannot be opened|is cut off)"):
        open_with_tifffile(path)


def test_tiles_that_were_left_out_are_glass(open_tiff: Callable[..., TiffSource], tmp_path: Path):
    tiles = (None if (x, y) == (1, 0) else noise(64, 64) for y in range(2) for x in range(2))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        options = {"tile": (64, 64), "photometric": "rgb", "compression": "deflate", "metadata": None}
        file.write(tiles, shape=(128, 128, 3), dtype=np.uint8, **options)

    source = open_tiff(tmp_path / "a.tif")

    assert (source.read_level(0, 64, 0, 64, 64) == 255).all()
    np.testing.assert_array_equal(source.read_level(0, 64, 64, 64, 64), noise(64, 64))


def test_fingerprints_follow_the_content(open_tiff: Callable[..., TiffSource], tmp_path: Path):
    first = open_tiff(ome(tmp_path / "a.ome.tif", [noise(128, 128)])).fingerprint
    second = open_tiff(ome(tmp_path / "b.ome.tif", [noise(128, 130)])).fingerprint

    assert first.startswith("sha256-ends:")
    assert first != second


def test_what_is_no_tiff_is_left_to_others(tmp_path: Path):
    (tmp_path / "a.tif").write_text("no TIFF")

    assert open_with_tifffile(tmp_path / "a.tif") is None
