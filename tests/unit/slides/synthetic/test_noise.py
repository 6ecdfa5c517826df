import numpy as np
import pytest

from qpbridge.slides.synthetic.noise import PERIOD, Noise, uniform


def test_lots_are_spread_evenly_and_independently() -> None:
    column, row = np.meshgrid(np.arange(-150, 150), np.arange(-150, 150))
    one, other = uniform(7, 0, column, row), uniform(7, 1, column, row)
    assert one.shape == (300, 300)
    assert one.min() >= 0
    assert one.max() < 1
    assert np.histogram(one, bins=10, range=(0, 1))[0] / one.size == pytest.approx(0.1, abs=0.005)
    assert len(np.unique(one)) == one.size
    for first, second in (
        (one, other),
        (one[1:], one[:-1]),
        (one[:, 1:], one[:, :-1]),
        (one, uniform(8, 0, column, row)),
    ):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.015


def test_a_lot_depends_on_nothing_but_seed_channel_and_cell() -> None:
    column, row = np.meshgrid(np.arange(20), np.arange(30))
    many = uniform(3, 2, column, row)
    assert uniform(3, 2, np.array([11]), np.array([17]))[0] == many[17, 11]


def test_smooth_noise_is_continuous_and_has_its_lattice_as_scale() -> None:
    noise = Noise(1)
    x = np.linspace(0, 1000, 20_001)
    values = noise.smooth(0, x, np.full_like(x, 33.3), 50.0)
    assert np.abs(np.diff(values)).max() < 0.02
    assert values.std() == pytest.approx(0.6, abs=0.25)
    np.testing.assert_array_equal(values, noise.smooth(0, x, np.full_like(x, 33.3), 50.0))
    again = noise.smooth(0, x + 50.0 * PERIOD, np.full_like(x, 33.3), 50.0)
    np.testing.assert_allclose(values, again, atol=1e-9)


def test_fine_noise_is_the_same_wherever_a_tile_begins() -> None:
    noise = Noise(1)
    u, v = (axis.astype(np.float32) for axis in np.meshgrid(np.arange(0, 60, 0.25), np.arange(0, 40, 0.25)))
    whole = noise.fine(2, u, v)
    assert whole.std() == pytest.approx(0.66, abs=0.15)
    for shift in (0, 3 * PERIOD, -200 * PERIOD):
        np.testing.assert_allclose(noise.fine(2, u[30:, 50:] + shift, v[30:, 50:] - shift), whole[30:, 50:], atol=0.01)


def test_grain_differs_between_tiles_and_has_the_asked_amplitude() -> None:
    noise = Noise(1)
    one, other = noise.grain(3, 4, (200, 200, 3), 2.0), noise.grain(4, 3, (200, 200, 3), 2.0)
    assert one.std() == pytest.approx(2.0, rel=0.05)
    assert (one != other).mean() > 0.5
    np.testing.assert_array_equal(one, noise.grain(3, 4, (200, 200, 3), 2.0))
