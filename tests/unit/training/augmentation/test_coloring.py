import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpbridge.core.arrays import RgbImage
from qpbridge.models.recipe import Recipe
from qpbridge.training.augmentation.coloring import ColorChange, StainChange, random_color

STEPS = np.arange(0, 256, 5, dtype=np.uint8)
ALL_COLORS: RgbImage = np.stack(np.meshgrid(STEPS, STEPS, STEPS), axis=-1).reshape(52, -1, 3)
GRAYS: RgbImage = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
WHITE: RgbImage = np.full((4, 4, 3), 255, np.uint8)

NO_STAIN = StainChange(matrix=np.eye(3, dtype=np.float32), shift=np.zeros(3, np.float32))

changes = st.builds(
    ColorChange,
    hue=st.integers(-180, 180),
    saturation=st.integers(-255, 255),
    brightness=st.floats(-2, 2),
    contrast=st.floats(0, 3),
)


def test_the_default_change_changes_nothing() -> None:
    np.testing.assert_array_equal(ColorChange()(ALL_COLORS), ALL_COLORS)


def test_a_recipe_without_color_changes_nothing() -> None:
    for recipe in (Recipe(color_p=0), Recipe(hue_shift=0, saturation_shift=0, brightness=0, contrast=0)):
        change = random_color(recipe, np.random.default_rng(0))

        np.testing.assert_array_equal(change(ALL_COLORS), ALL_COLORS)


def test_staining_of_no_strength_is_right_to_one_gray_value() -> None:
    change = ColorChange(stain=NO_STAIN)

    difference = change(ALL_COLORS).astype(int) - ALL_COLORS

    assert np.abs(difference).max() <= 1


def test_twice_the_stain_has_twice_the_optical_density() -> None:
    doubled = StainChange(matrix=2 * np.eye(3, dtype=np.float32), shift=np.zeros(3, np.float32))

    stained = doubled(GRAYS)

    light = (GRAYS.astype(float) + 1) / 256
    np.testing.assert_allclose(stained, np.clip(256 * light**2 - 1, 0, 255), atol=1.01)
    assert (doubled(WHITE) == 255).all()


def test_more_of_one_stain_leaves_the_other_as_it_is() -> None:
    hematoxylin, eosin = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
    recipe = Recipe(stain_jitter=0.2, color_p=0)
    stains = np.stack([v / np.linalg.norm(v) for v in (hematoxylin, eosin)])
    pixel = np.rint(256 * np.exp(-np.array([0.5, 0.4]) @ stains) - 1).astype(np.uint8)[None, None]

    amounts = []
    for seed in range(30):
        stained = random_color(recipe, np.random.default_rng(seed))(pixel)
        density = -np.log((stained.reshape(3) + 1) / 256)
        amounts.append(np.linalg.lstsq(stains.T, density, rcond=None)[0])

    spread = np.ptp(amounts, axis=0)
    # A fifth up and down of what is there, and a fifth of that fifth everywhere.
    assert (spread < 2 * (0.2 * np.array([0.5, 0.4]) + 0.04) + 0.08).all()
    assert (spread > 0.1).all()


def densities(image: RgbImage) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return -np.log((image.astype(float) + 1) / 256)


def test_darkness_is_one_factor_of_all_optical_densities_however_drawn() -> None:
    recipe = Recipe(density_jitter=0.6, color_p=0)
    tissue: RgbImage = np.array([[[190, 110, 170], [235, 180, 205], [140, 90, 150]]], np.uint8)

    factors = []
    for seed in range(300):
        changed = random_color(recipe, np.random.default_rng(seed))(tissue)
        factors.append(float(densities(changed).sum() / densities(tissue).sum()))
        np.testing.assert_allclose(changed, 256 * np.exp(-factors[-1] * densities(tissue)) - 1, atol=2)

    # As often lighter as darker, and nowhere beyond the largest change of the logarithm.
    assert -0.62 < np.log(factors).min() < -0.55
    assert 0.55 < np.log(factors).max() < 0.62
    assert np.log(factors).mean() == pytest.approx(0, abs=0.08)
    assert np.log(factors).std() == pytest.approx(0.6 / np.sqrt(3), rel=0.1)


def test_glass_has_no_darkness_to_change_and_keeps_its_hue() -> None:
    recipe = Recipe(density_jitter=0.6, color_p=0)
    glass: RgbImage = np.array([[[255, 255, 255], [244, 244, 244], [246, 242, 248]]], np.uint8)

    changed = np.concatenate([random_color(recipe, np.random.default_rng(seed))(glass) for seed in range(100)])

    white, gray, tinted = (changed[:, i].astype(int) for i in range(3))
    assert (white == 255).all()
    assert np.ptp(gray, axis=1).max() <= 1
    assert 230 <= gray.min() < 240
    assert 247 < gray.max() < 250
    assert (np.argsort(tinted, axis=1) == [1, 0, 2]).all()


def test_darkness_changes_together_with_the_stains() -> None:
    pixel: RgbImage = np.array([[[150, 90, 160]]], np.uint8)

    def spread(stain: float, density: float) -> float:
        recipe = Recipe(stain_jitter=stain, density_jitter=density, color_p=0)
        drawn = [densities(random_color(recipe, np.random.default_rng(seed))(pixel)).sum() for seed in range(200)]
        return float(np.std(np.log(drawn)))

    assert spread(0.3, 0.0) < spread(0.3, 0.3) < spread(0.3, 0.9)
    assert spread(0.0, 0.3) < spread(0.3, 0.3)


@pytest.mark.parametrize("saturation", [-255, -30, 0, 30, 255])
@pytest.mark.parametrize("hue", [-20, 0, 20])
def test_what_has_no_color_gets_none(hue: int, saturation: int) -> None:
    np.testing.assert_array_equal(ColorChange(hue=hue, saturation=saturation)(GRAYS), GRAYS)


def test_glass_takes_up_little_stain() -> None:
    recipe = Recipe(color_p=0, stain_jitter=0.2)

    stained = np.stack([random_color(recipe, np.random.default_rng(seed))(WHITE) for seed in range(100)]).astype(int)

    # At most 0.04 of each of three stains, whose green parts add up to 2.3.
    assert 255 * np.exp(-0.04 * 2.3) - 2 < stained.min() < 245


@given(change=changes)
@settings(deadline=None, max_examples=60)
def test_any_change_stays_within_the_limits_of_pixels(change: ColorChange) -> None:
    changed = change(ALL_COLORS)

    assert changed.dtype == np.uint8
    assert changed.shape == ALL_COLORS.shape


@given(brightness=st.floats(-2, 2), contrast=st.floats(0.1, 3))
@settings(deadline=None, max_examples=60)
def test_brightness_and_contrast_saturate_and_keep_the_order(brightness: float, contrast: float) -> None:
    changed = ColorChange(brightness=brightness, contrast=contrast)(GRAYS)[0, :, 0].astype(int)

    wanted = np.clip(np.arange(256) * contrast + 255 * brightness, 0, 255)
    assert np.abs(changed - wanted).max() < 1
    assert (np.diff(changed) >= 0).all()


def test_a_shift_of_hue_goes_round_the_circle() -> None:
    red = np.array([[[255, 0, 0]]], np.uint8)

    assert ColorChange(hue=60)(red).tolist() == [[[0, 255, 0]]]
    assert ColorChange(hue=-60)(red).tolist() == [[[0, 0, 255]]]
    assert ColorChange(hue=180)(red).tolist() == [[[255, 0, 0]]]


def test_saturation_saturates() -> None:
    pink = np.array([[[255, 128, 128]]], np.uint8)

    assert ColorChange(saturation=255)(pink).tolist() == [[[255, 0, 0]]]
    assert ColorChange(saturation=-255)(pink).tolist() == [[[255, 255, 255]]]


def test_each_kind_of_change_is_drawn_as_often_and_as_strong_as_asked_for() -> None:
    recipe = Recipe(color_p=0.3, hue_shift=20, saturation_shift=30, brightness=0.25, contrast=0.25)

    rng = np.random.default_rng(0)
    drawn = [random_color(recipe, rng) for _ in range(2000)]

    assert np.mean([change.contrast != 1 for change in drawn]) == pytest.approx(0.3, abs=0.04)
    assert np.mean([change.saturation != 0 for change in drawn]) == pytest.approx(0.3, abs=0.04)
    assert max(abs(change.hue) for change in drawn) == 20
    assert max(abs(change.saturation) for change in drawn) == 30
    assert 0.24 < max(abs(change.brightness) for change in drawn) <= 0.25
    assert 0.24 < max(abs(change.contrast - 1) for change in drawn) <= 0.25
    assert all(change.stain is None for change in drawn)


def test_the_same_seed_gives_the_same_change() -> None:
    recipe = Recipe(color_p=1, stain_jitter=0.2)

    first, again, other = (random_color(recipe, np.random.default_rng(seed))(ALL_COLORS) for seed in (3, 3, 4))

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
