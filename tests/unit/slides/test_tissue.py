from pathlib import Path

import numpy as np
import pytest

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.slides import tissue as tissue_module
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.opening import open_slide
from qpbridge.slides.slide import Slide
from qpbridge.slides.tissue import RIM_UM, TissueMask, find_tissue, tissue_mask

PINK = (235, 150, 200)
PALE = (238, 222, 236)


def glass(width: int = 400, height: int = 300, color: tuple[int, int, int] = (243, 243, 244)) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 1.5, (height, width, 1))
    return np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)


def masked(image: np.ndarray, mpp: float = 8.0) -> TissueMask:
    return tissue_mask(Slide(ArraySource([image])), PixelCalibration.square(mpp))


def region(x: float, y: float, width: float, height: float) -> Region:
    return Region(x_px=x, y_px=y, width_px=width, height_px=height)


@pytest.mark.parametrize("color", [(243, 243, 244), (255, 255, 255), (225, 226, 220), (236, 233, 215), (210, 210, 210)])
def test_glass_of_any_tint_has_no_tissue(color: tuple[int, int, int]):
    found = masked(glass(color=color))

    assert not found.mask.any()
    assert found.area_um2 == 0
    assert not found.covers(region(0, 0, 400, 300))


def test_uneven_light_is_no_tissue():
    shade = np.linspace(0.96, 1, 400)[None, :, None]

    assert not masked((glass() * shade).astype(np.uint8)).mask.any()


def test_a_slide_full_of_tissue_is_tissue_everywhere():
    random = np.random.default_rng(1)
    image = np.clip(np.array(PINK) + random.normal(0, 15, (300, 400, 3)), 0, 255).astype(np.uint8)

    assert masked(image).mask.all()


def test_a_region_has_a_share_of_tissue():
    mask = np.zeros((10, 20), bool)
    mask[:, 15:] = True
    found = TissueMask(mask=mask, downsample=2.0, area_um2=1.0)

    assert found.share(region(0, 0, 40, 20)) == 0.25
    assert found.share(region(20, 0, 20, 20)) == 0.5
    assert found.share(region(100, 0, 20, 20)) == 0.0


def test_tissue_is_found_with_a_rim():
    image = glass()
    image[100:180, 150:250] = PINK

    found = masked(image)

    assert found.mask[100:180, 150:250].all()
    rim = int(RIM_UM / 8) - 1
    assert found.mask[140, 150 - rim]
    assert not found.mask[140, 150 - 4 * rim]
    assert found.area_um2 == pytest.approx(80 * 100 * 64, rel=0.1)


def test_pale_tissue_beside_dense_tissue_and_ink_is_kept():
    image = glass()
    image[100:180, 150:250] = PALE
    image[100:180, 140:155] = PINK
    image[10:40, 10:300] = (20, 20, 60)

    assert masked(image).mask[100:180, 140:250].all()


def test_pale_tissue_alone_is_kept():
    image = glass()
    image[100:180, 150:250] = PALE

    assert masked(image).mask[100:180, 150:250].all()


def test_thin_fibers_are_kept():
    image = glass()
    image[150:152, 50:300] = PINK

    assert masked(image).mask[150:152, 50:300].all()


def test_fat_is_closed():
    image = glass()
    image[100:200:10, 100:200] = PINK
    image[100:200, 100:200:10] = PINK

    assert masked(image).mask[100:191, 100:191].all()


def test_dust_is_left_out():
    image = glass()
    for x in range(20, 380, 30):
        image[x % 200, x : x + 2] = (120, 120, 120)

    assert not masked(image).mask.any()


def test_white_that_a_scanner_filled_up_with_does_not_make_glass_tissue():
    image = glass(color=(228, 229, 226))
    image[:, :200] = 255
    image[100:180, 250:300] = PINK

    found = masked(image).mask

    assert found[100:180, 250:300].all()
    assert not found[:, :200].any()
    assert not found[:, 340:].any()


def test_masks_of_large_slides_stay_small(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tissue_module, "MASK_LIMIT_PX", 100)
    image = glass()
    image[100:180, 150:250] = PINK

    found = masked(image)

    assert found.mask.shape == (75, 100)
    assert found.downsample == 4
    assert found.covers(region(160, 110, 1, 1))
    assert found.area_um2 == pytest.approx(80 * 100 * 64, rel=0.3)


def test_masks_are_no_finer_than_the_slide():
    assert masked(glass(), mpp=30).mask.shape == (300, 400)


def test_masks_have_their_pixel_size_whatever_the_slides():
    found = masked(glass(410, 301), mpp=0.5)

    assert found.downsample == 16
    assert found.mask.shape == (19, 26)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (region(64, 32, 8, 8), True),
        (region(71.9, 39.9, 50, 50), True),
        (region(72, 40, 50, 50), False),
        (region(0, 0, 64, 32), False),
        (region(0, 0, 64.1, 32.1), True),
        (region(-500, -500, 10, 10), False),
        (region(5000, 32, 10, 10), False),
        (region(-500, -500, 5000, 5000), True),
    ],
)
def test_a_mask_tells_where_tissue_is(place: Region, expected: bool):
    mask = np.zeros((10, 20), bool)
    mask[4, 8] = True

    assert TissueMask(mask=mask, downsample=8, area_um2=1).covers(place) is expected


def test_tissue_of_the_real_slide_is_found(fixtures_dir: Path):
    with open_slide(fixtures_dir / "real" / "skin" / "CMU-1-Small-Region.svs") as slide:
        assert slide.calibration is not None
        found = tissue_mask(slide, slide.calibration)

    # The specimen runs from top to bottom in the middle; a third of the image at its left is glass.
    assert found.covers(region(1000, 1200, 200, 200))
    assert found.covers(region(900, 2700, 200, 200))
    assert found.covers(region(150, 1090, 50, 50)), "the thin strand at the left"
    assert not found.covers(region(0, 1500, 300, 1400))
    assert 0.5 < found.area_um2 / 1e6 < 0.9


@pytest.mark.parametrize(
    ("name", "most"), [("almost-white-1.png", 0.0), ("no-tissue.png", 0.01), ("no-tissue2.png", 0.08)]
)
def test_tiles_without_tissue_have_none(fixtures_dir: Path, name: str, most: float):
    with open_slide(fixtures_dir / "public" / "tiles" / name) as slide:
        assert tissue_mask(slide, PixelCalibration.square(8)).mask.mean() <= most
        assert not tissue_mask(slide, PixelCalibration.square(0.5)).mask.any()


def test_pen_marks_do_not_hide_tissue(fixtures_dir: Path):
    with open_slide(fixtures_dir / "public" / "tiles" / "wsi-blue-pen.png") as slide:
        image = slide.read(slide.region, slide.width_px, slide.height_px)

    is_pink = (image[..., 0].astype(int) - image[..., 1] > 40) & (image[..., 0] > 200)
    assert find_tissue(image, 30.0)[is_pink].mean() > 0.97
