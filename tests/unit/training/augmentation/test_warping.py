from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.models.recipe import Recipe
from qpbridge.training.augmentation.warping import Displacement, Warp, elastic, random_warp, rim_px

SIZE = 64
EXTENT_PX = 4.0 * SIZE
NOTHING = Recipe(rot90_p=0, flip_p=0, mild_elastic_alpha=0)
TURNS = Recipe(rot90_p=1, flip_p=0.5, mild_elastic_alpha=0)
EVERYTHING = Recipe(rot90_p=1, flip_p=0.5, rotation_p=1, scale_jitter=0.2, mild_elastic_alpha=1)

seeds = st.integers(0, 2**32 - 1)


def noise(seed: int, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def warped_everything(seed: int) -> Warp:
    rng = np.random.default_rng(seed)
    return random_warp(EVERYTHING, EXTENT_PX, rng, elastic(EVERYTHING, EXTENT_PX, rng))


def test_a_recipe_without_geometry_leaves_pixels_as_they_are() -> None:
    image, labels = noise(0, SIZE, SIZE, 3), noise(1, SIZE, SIZE)

    warp = random_warp(NOTHING, EXTENT_PX, np.random.default_rng(0))

    for ratio in (1.0, 2.0, 3.7):
        np.testing.assert_array_equal(warp.image(image, ratio), image)
        np.testing.assert_array_equal(warp.labels(labels, ratio), labels)
    np.testing.assert_array_equal(warp.labels(labels), labels)


@given(seed=seeds, size=st.integers(2, 40), ratio=st.sampled_from([1.0, 2.0, 4.0]))
@settings(deadline=None)
def test_quarter_turns_and_flips_move_whole_pixels(seed: int, size: int, ratio: float) -> None:
    image, labels = noise(seed, size, size, 3), noise(seed + 1, size, size)
    warp = random_warp(TURNS, EXTENT_PX, np.random.default_rng(seed))

    turned, turned_labels = warp.image(image, ratio), warp.labels(labels, ratio)

    ways = [(turns, flip) for turns in range(4) for flip in (False, True)]
    fitting = [
        (turns, flip)
        for turns, flip in ways
        if np.array_equal(turned, np.rot90(np.flip(image, 1) if flip else image, turns))
        and np.array_equal(turned_labels, np.rot90(np.flip(labels, 1) if flip else labels, turns))
    ]
    assert fitting


def test_all_quarter_turns_and_both_flips_occur() -> None:
    image = noise(0, 5, 5, 3)

    rng = np.random.default_rng(0)
    seen = {random_warp(TURNS, EXTENT_PX, rng).image(image, 1.0).tobytes() for _ in range(200)}

    ways = {np.rot90(np.flip(image, 1) if flip else image, turns).tobytes() for turns in range(4) for flip in (0, 1)}
    assert seen == ways


def ramps(ratio: float, period_px: float) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Brightness that tells the place: x in red and y in green, offsets from the center in px of the finest view."""
    offsets = (np.arange(SIZE) - (SIZE - 1) / 2) * ratio
    x, y = np.meshgrid(offsets, offsets)
    blank = np.full_like(x, 128)
    return np.rint(np.stack([128 + x * 120 / period_px, 128 + y * 120 / period_px, blank], axis=-1)).astype(np.uint8)


@pytest.mark.parametrize("ratio", [2, 4])
@pytest.mark.parametrize("seed", range(6))
def test_views_of_any_pixel_size_move_alike(seed: int, ratio: int) -> None:
    warp = warped_everything(seed)

    fine = np.stack(warp._sources(SIZE, SIZE, 1.0), axis=-1) - (SIZE - 1) / 2
    coarse = (np.stack(warp._sources(SIZE, SIZE, float(ratio)), axis=-1) - (SIZE - 1) / 2) * ratio

    # The center of a coarse pixel lies amid four pixels of the finest view.
    edge, before = SIZE // ratio, ratio // 2 - 1
    four = slice(before, before + 2)
    means = fine.reshape(edge, ratio, edge, ratio, 2)[:, four, :, four].mean(axis=(1, 3))
    first = (SIZE - edge) // 2
    inner = coarse[first : first + edge, first : first + edge]
    assert np.abs(means - inner).max() < 0.1
    assert np.abs(means).max() > SIZE / 4


@pytest.mark.parametrize("seed", range(4))
def test_coordinates_drawn_into_two_views_stay_registered(seed: int) -> None:
    warp = warped_everything(seed)
    period_px = EXTENT_PX  # one gray value is two pixels of the finest view

    fine = warp.image(ramps(1.0, period_px), 1.0).astype(float)
    coarse = warp.image(ramps(2.0, period_px), 2.0).astype(float)

    means = fine.reshape(SIZE // 2, 2, SIZE // 2, 2, 3).mean(axis=(1, 3))
    inner = coarse[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4]
    rim = SIZE // 8  # where the finest view is mirrored, the coarse one still has pixels
    assert np.abs(means - inner)[rim:-rim, rim:-rim].max() < 2


@pytest.mark.parametrize("ratio", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("seed", range(6))
def test_labels_move_with_the_pixels_of_their_view(seed: int, ratio: float) -> None:
    warp = warped_everything(seed)
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    image = np.stack([2 * x, 2 * y, 0 * x], axis=-1).astype(np.uint8)

    columns = warp.labels(x.astype(np.uint8), ratio)
    moved = warp.image(image, ratio)

    known = columns != IGNORE_INDEX
    assert 0.2 < known.mean() <= 1
    assert np.abs(columns[known].astype(float) - moved[known][:, 0] / 2).max() <= 1


@given(seed=seeds)
@settings(deadline=None, max_examples=50)
def test_labels_are_never_mixed(seed: int) -> None:
    values = np.array([0, 3, 200, IGNORE_INDEX], np.uint8)
    labels = values[np.random.default_rng(seed).integers(0, 4, (SIZE, SIZE))]

    assert np.isin(warped_everything(seed).labels(labels), values).all()


def test_what_comes_from_outside_is_unknown_but_has_pixels() -> None:
    shrunk = Warp(matrix=2 * np.eye(2, dtype=np.float32))

    labels = shrunk.labels(np.full((SIZE, SIZE), 3, np.uint8))
    image = shrunk.image(np.full((SIZE, SIZE, 3), 77, np.uint8), 1.0)

    inner = slice(SIZE // 4, -SIZE // 4)
    assert (labels[inner, inner] == 3).all()
    assert np.count_nonzero(labels == 3) == (SIZE // 2) ** 2
    assert (labels[labels != 3] == IGNORE_INDEX).all()
    assert (image == 77).all()


def test_control_points_are_spread_over_the_extent_and_have_the_stated_deviation() -> None:
    recipe = Recipe(elastic_sigma_px=4.0, elastic_grid=17)
    knots = (np.arange(17, dtype=np.float32) / 16 - 0.5) * 1024
    x, y = np.meshgrid(knots, knots)

    shifts = np.stack([elastic(recipe, 1024.0, np.random.default_rng(seed)).at(x, y) for seed in range(40)])

    assert shifts.shape == (40, 17, 17, 2)
    assert shifts.std() == pytest.approx(4.0, rel=0.03)
    assert shifts.mean() == pytest.approx(0.0, abs=0.1)
    assert shifts[..., 0].std() == pytest.approx(shifts[..., 1].std(), rel=0.05)
    neighbors = np.corrcoef(shifts[:, :, :-1, 0].ravel(), shifts[:, :, 1:, 0].ravel())[0, 1]
    assert abs(neighbors) < 0.05


def test_between_control_points_the_shift_is_smooth() -> None:
    deformed = elastic(Recipe(), 1024.0, np.random.default_rng(0))
    line = np.linspace(-500, 500, 4001, dtype=np.float32)[None]

    shifts = deformed.at(line, np.full_like(line, 33))

    # 4 px over cells of 64 px: a quarter of a pixel changes it by hundredths.
    assert np.abs(np.diff(shifts, axis=1)).max() < 0.1
    assert 2.5 < shifts.std() < 5


def test_the_mild_deformation_is_mild() -> None:
    recipe = Recipe(rot90_p=0, flip_p=0, mild_elastic_alpha=1)

    warps = [random_warp(recipe, 256.0, np.random.default_rng(seed)) for seed in range(20)]

    shifts = np.stack([warp.displacements[0].knots for warp in warps])
    # Uniform noise in -1..1 that a Gaussian of 4 px smooths.
    assert shifts.std() == pytest.approx(1 / np.sqrt(3) / (2 * np.sqrt(np.pi) * 4), rel=0.02)


def test_each_kind_of_change_happens_as_often_as_asked_for() -> None:
    recipe = Recipe(rot90_p=0, flip_p=0.3, rotation_p=0, scale_jitter=0.1, mild_elastic_alpha=0)

    rng = np.random.default_rng(0)
    matrices = np.stack([random_warp(recipe, 256.0, rng).matrix for _ in range(2000)])

    assert (matrices[:, 0, 0] < 0).mean() == pytest.approx(0.3, abs=0.04)
    assert (matrices[:, 1, 1] < 0).mean() == pytest.approx(0.3, abs=0.04)
    scales = np.abs(matrices[:, 0, 0])
    assert 1 / 1.1 - 1e-6 <= scales.min() < 0.93
    assert 1.08 < scales.max() <= 1.1 + 1e-6
    assert (matrices[:, 0, 1] == 0).all()


@given(seed=seeds)
@settings(deadline=None, max_examples=50)
def test_free_rotation_keeps_lengths(seed: int) -> None:
    recipe = Recipe(rot90_p=0.5, flip_p=0.5, rotation_p=1, mild_elastic_alpha=0)

    matrix = random_warp(recipe, 256.0, np.random.default_rng(seed)).matrix

    np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-6)


def test_the_same_seed_gives_the_same_warp() -> None:
    image = noise(0, SIZE, SIZE, 3)

    first, again, other = (warped_everything(seed).image(image, 1.0) for seed in (5, 5, 6))

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_displacement_moves_where_pixels_come_from() -> None:
    aside = Displacement(knots=np.full((3, 3, 2), (8.0, 0.0), np.float32), extent_px=EXTENT_PX)
    warp = Warp(matrix=np.eye(2, dtype=np.float32), displacements=(aside,))
    image = noise(0, SIZE, SIZE, 3)

    np.testing.assert_array_equal(warp.image(image, 1.0)[:, :-8], image[:, 8:])
    np.testing.assert_array_equal(warp.image(image, 4.0)[:, :-2], image[:, 2:])
    np.testing.assert_array_equal(warp.labels(image[..., 0])[:, :-8], image[:, 8:, 0])
    np.testing.assert_array_equal(warp.labels(image[..., 0], 4.0)[:, :-2], image[:, 2:, 0])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("recipe", [replace(EVERYTHING, mild_elastic_alpha=0), replace(TURNS, scale_jitter=0.3), TURNS])
def test_the_rim_holds_all_that_turns_and_scaling_bring_in(recipe: Recipe, seed: int) -> None:
    rim = rim_px(recipe, SIZE)
    warp = random_warp(recipe, EXTENT_PX, np.random.default_rng(seed))

    labels = warp.labels(np.full((SIZE + 2 * rim, SIZE + 2 * rim), 3, np.uint8), 1.0, SIZE)

    assert (labels == 3).all()
    assert rim == 0 or recipe is not TURNS


def test_a_rim_does_not_move_the_center() -> None:
    wide = noise(3, SIZE + 20, SIZE + 20, 3)
    quarter = Warp(matrix=np.array([[0, 1], [-1, 0]], np.float32))

    np.testing.assert_array_equal(quarter.image(wide, 1.0, SIZE), quarter.image(wide[10:-10, 10:-10].copy(), 1.0))


def test_free_turns_go_no_further_than_they_may() -> None:
    recipe = replace(NOTHING, rotation_p=1, rotation_deg=25)

    matrices = [random_warp(recipe, EXTENT_PX, np.random.default_rng(seed)).matrix for seed in range(200)]

    turns = [np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])) for matrix in matrices]
    assert -25 <= min(turns) < -20
    assert 20 < max(turns) <= 25
