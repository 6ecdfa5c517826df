import cv2
import numpy as np
import pytest

from qpbridge.core.geometry import Region
from qpbridge.slides.synthetic import SyntheticSlide, SyntheticSpec, make_slide
from qpbridge.slides.synthetic.layout import Tissue

NESTS = (Tissue.TUMOR, Tissue.BENIGN)


@pytest.fixture(scope="module")
def slide() -> SyntheticSlide:
    return make_slide(SyntheticSpec(width_px=2560, height_px=2560, mpp=0.8, seed=0))


def _windows(slide: SyntheticSlide, tissue: Tissue, size_px: int, count: int) -> list[tuple[int, int]]:
    """Corners of windows that lie wholly inside a tissue."""
    labels = slide.labels(slide.bounds, 320, 320)
    margin = size_px // 8 + 1
    core = cv2.erode((labels == tissue).astype(np.uint8), np.ones((margin, margin), np.uint8))
    places = np.random.default_rng(1).permutation(np.argwhere(core))[:count]
    return [(int(x * 8 - size_px // 2), int(y * 8 - size_px // 2)) for y, x in places]


def test_the_class_of_a_nest_leaves_no_trace_in_its_pixels() -> None:
    told, untold = (
        make_slide(SyntheticSpec(width_px=1024, height_px=1024, mpp=2.0, seed=0, has_context_class=has_it))
        for has_it in (True, False)
    )
    whole = 0, 0, 1024, 1024
    assert (told.labels(told.bounds, 512, 512) != untold.labels(told.bounds, 512, 512)).any()
    np.testing.assert_array_equal(told.pixels(*whole), untold.pixels(*whole))
    np.testing.assert_array_equal(told.instances(*whole), untold.instances(*whole))


def test_windows_inside_nests_look_the_same_whether_tumor_or_benign(slide: SyntheticSlide) -> None:
    size, means, spreads, gradients = 96, [], [], []
    for tissue in NESTS:
        corners = _windows(slide, tissue, size, 8)
        blocks = np.stack([slide.pixels(x, y, size, size) for x, y in corners]).astype(float)
        means.append(blocks.mean(axis=(0, 1, 2)))
        spreads.append(blocks.std(axis=(1, 2)).mean(axis=0))
        gradients.append(np.abs(np.diff(blocks, axis=2)).mean())
    np.testing.assert_allclose(means[0], means[1], atol=7)
    np.testing.assert_allclose(spreads[0], spreads[1], rtol=0.12)
    assert gradients[0] == pytest.approx(gradients[1], rel=0.1)


def test_the_other_tissues_look_different(slide: SyntheticSlide) -> None:
    looks = []
    for tissue in (Tissue.BACKGROUND, Tissue.STROMA, Tissue.ADIPOSE, Tissue.NECROSIS, Tissue.TUMOR):
        blocks = np.stack([slide.pixels(x, y, 96, 96) for x, y in _windows(slide, tissue, 96, 5)]).astype(float)
        looks.append(np.append(blocks.mean(axis=(0, 1, 2)), 2 * np.abs(np.diff(blocks, axis=2)).mean()))
    for index, one in enumerate(looks):
        for other in looks[index + 1 :]:
            assert np.abs(one - other).max() > 6


def test_nuclei_are_dark_exactly_where_the_instances_are(slide: SyntheticSlide) -> None:
    x, y = _windows(slide, Tissue.TUMOR, 120, 1)[0]
    inside = slide.instances(x, y, 120, 120) > 0
    red = slide.pixels(x, y, 120, 120)[..., 0].astype(float)
    contrasts = {
        (dx, dy): red[np.roll(~inside, (dy, dx), (0, 1))].mean() - red[np.roll(inside, (dy, dx), (0, 1))].mean()
        for dx in (-2, 0, 2)
        for dy in (-2, 0, 2)
    }
    assert max(contrasts, key=contrasts.__getitem__) == (0, 0)
    assert contrasts[0, 0] > 40


def test_stain_strength_changes_colors_but_not_the_truth() -> None:
    pale, strong = (
        make_slide(SyntheticSpec(width_px=700, height_px=700, mpp=2.0, seed=1, hematoxylin=h, eosin=e))
        for h, e in ((0.7, 0.7), (1.3, 1.4))
    )
    assert strong.pixels(200, 200, 300, 300).mean() < pale.pixels(200, 200, 300, 300).mean() - 20
    region = Region(x_px=0, y_px=0, width_px=700, height_px=700)
    np.testing.assert_array_equal(strong.labels(region, 350, 350), pale.labels(region, 350, 350))


def test_glass_is_nearly_white(slide: SyntheticSlide) -> None:
    x, y = _windows(slide, Tissue.BACKGROUND, 64, 1)[0]
    glass = slide.pixels(x, y, 64, 64)
    assert glass.min() > 225
    assert 0.5 < glass.std() < 5
