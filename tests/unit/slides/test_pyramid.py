from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, InvalidValueError
from qpbridge.slides.pyramid import STRIP_PX, write_pyramid
from qpbridge.slides.synthetic import SyntheticSpec, make_slide, write_slide


def _image(width: int, height: int) -> np.ndarray:
    """Smooth colors, different everywhere, so that JPEG and halving keep them."""
    y, x = np.mgrid[:height, :width]
    return np.stack([20 + x // 12, 20 + y // 12, 30 + (x + y) // 24], axis=2).astype(np.uint8)


def _write(target: Path, image: np.ndarray, mpp_x: float = 0.5, mpp_y: float = 0.5) -> list[tuple[int, int]]:
    asked = []

    def strips(top: int, rows: int) -> np.ndarray:
        asked.append((top, rows))
        return image[top : top + rows]

    size = image.shape[1], image.shape[0]
    write_pyramid(target, size, strips, PixelCalibration(mpp_x=mpp_x, mpp_y=mpp_y), SilentProgress())
    return asked


def test_openslide_reads_levels_pixel_size_and_pixels(tmp_path: Path) -> None:
    image = _image(2311, 1537)
    _write(tmp_path / "a.tif", image, mpp_x=0.4, mpp_y=0.5)
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert slide.level_dimensions == ((2311, 1537), (1155, 768), (577, 384), (288, 192))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.4)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.5)
        for level, step in enumerate((1, 2, 4, 8)):
            found = np.asarray(slide.read_region((800, 640), level, (160, 100)).convert("RGB"), float)
            expected = image[640 : 640 + 100 * step, 800 : 800 + 160 * step].reshape(100, step, 160, step, 3)
            assert np.abs(found - expected.mean(axis=(1, 3))).mean() < 2


def test_every_row_is_asked_for_once_in_strips(tmp_path: Path) -> None:
    asked = _write(tmp_path / "a.tif", _image(300, 1300))
    assert asked == [(0, STRIP_PX), (STRIP_PX, STRIP_PX), (2 * STRIP_PX, 1300 - 2 * STRIP_PX)]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (256, 256), (257, 513), (1025, 3), (700, 1024)])
def test_odd_sizes_come_out_whole(tmp_path: Path, width: int, height: int) -> None:
    image = _image(width, height)
    _write(tmp_path / "a.tif", image)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert np.abs(file.pages[0].asarray().astype(int) - image).max() < 8
        sizes = [(page.imagewidth, page.imagelength) for page in file.pages]
        assert all(page.subfiletype == int(index > 0) for index, page in enumerate(file.pages))
    for coarse, fine in zip(sizes[1:], sizes, strict=False):
        assert coarse == (fine[0] // 2, fine[1] // 2)


def test_equal_pixels_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        _write(tmp_path / name, _image(600, 400))
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_a_failure_or_a_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken(top: int, rows: int) -> np.ndarray:
        if top:
            raise RuntimeError("no more pixels")
        return np.zeros((rows, 600, 3), np.uint8)

    class Stopped(SilentProgress):
        def raise_if_cancelled(self) -> None:
            raise CancelledError("stopped")

    calibration = PixelCalibration.square(0.5)
    with pytest.raises(RuntimeError, match="no more pixels"):
        write_pyramid(tmp_path / "a.tif", (600, 2000), broken, calibration, SilentProgress())
    with pytest.raises(CancelledError):
        write_pyramid(tmp_path / "a.tif", (600, 2000), broken, calibration, Stopped())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("height", [1, 512, 513, 1300])
def test_progress_ends_at_its_total(tmp_path: Path, height: int) -> None:
    class Noted(SilentProgress):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[tuple[int, int]] = []

        def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
            self.told.append((done, total))

    progress, image = Noted(), np.zeros((height, 300, 3), np.uint8)
    calibration = PixelCalibration.square(0.5)
    write_pyramid(tmp_path / "a.tif", (300, height), lambda top, rows: image[top : top + rows], calibration, progress)
    strips = -(-height // STRIP_PX)
    assert progress.told == [(done, strips) for done in range(strips + 1)]


def test_an_empty_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="0 x 5"):
        _write(tmp_path / "a.tif", np.zeros((5, 0, 3), np.uint8))


def test_a_procedural_slide_lies_in_its_file_as_in_memory(tmp_path: Path) -> None:
    made = make_slide(SyntheticSpec(width_px=1400, height_px=1100, mpp=1.0, seed=3))
    write_slide(tmp_path / "made.tif", made)
    with openslide.OpenSlide(tmp_path / "made.tif") as slide:
        assert slide.dimensions == (1400, 1100)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(1.0)
        found = np.asarray(slide.read_region((500, 450), 0, (300, 200)).convert("RGB"), float)
        overview = np.asarray(slide.read_region((0, 0), slide.level_count - 1, (350, 275)).convert("RGB"), float)
    differences = {shift: np.abs(found - made.pixels(500 + shift, 450, 300, 200)).mean() for shift in (-2, -1, 0, 1, 2)}
    assert min(differences, key=differences.__getitem__) == 0
    assert differences[0] < 8
    is_glass = made.labels(made.bounds, 350, 275) == 0
    assert overview[is_glass].mean() > overview[~is_glass].mean() + 20
