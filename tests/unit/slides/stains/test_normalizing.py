import numpy as np
import pytest

from qpbridge.slides.stains.normalizing import jitter, measured, most_typical, normalize, normalizer, restain
from qpbridge.slides.stains.separation import Floats, Stains, amounts, optical_density
from qpbridge.slides.stains.staining import Method, Staining

SOURCE = np.array([[0.60, 0.75, 0.30], [0.10, 0.90, 0.20]])
TARGET = np.array([[0.70, 0.65, 0.29], [0.25, 0.85, 0.45]])
SOURCE, TARGET = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (SOURCE, TARGET))


def _picture(real: Floats, vectors: Floats) -> np.ndarray:
    return np.clip(np.rint(255 * np.exp(-real @ vectors)), 0, 255).astype(np.uint8)


@pytest.fixture
def real() -> Floats:
    return np.maximum(np.random.default_rng(0).normal(0.3, 0.4, (60, 60, 2)), 0)


def test_a_picture_looks_as_if_stained_like_the_target(real: Floats) -> None:
    source, target = (
        Stains(vectors=vectors, strongest=np.array(strongest))
        for vectors, strongest in ((SOURCE, [1, 2]), (TARGET, [2, 3]))
    )

    normalized = normalize(_picture(real, SOURCE), source, target)

    # Amounts double, and grow by half: what rounding to eight bits leaves of them.
    expected = _picture(real * [2, 1.5], TARGET)
    assert abs(normalized.astype(int) - expected).mean() < 1.5


def test_a_picture_normalized_to_itself_stays(real: Floats) -> None:
    image, stains = _picture(real, SOURCE), Stains(vectors=SOURCE, strongest=np.array([1.0, 1.0]))

    assert abs(normalize(image, stains, stains).astype(int) - image).max() <= 2


def test_a_stain_that_is_not_there_changes_nothing(real: Floats) -> None:
    pale = Stains(vectors=SOURCE, strongest=np.array([1.0, 0.0]))

    image = _picture(real * [1, 0], SOURCE)

    assert abs(normalize(image, pale, pale).astype(int) - image).max() <= 2


def test_stains_change_apart_and_the_rest_stays(real: Floats) -> None:
    image = _picture(real, SOURCE)
    image[0, :10] = (60, 200, 60)  # green is neither

    more = restain(image, SOURCE, np.array([1.5, 1.0]), np.zeros(2))

    ratio = amounts(optical_density(more), SOURCE)[1:].sum((0, 1)) / amounts(optical_density(image), SOURCE)[1:].sum(
        (0, 1)
    )
    assert ratio == pytest.approx([1.5, 1.0], abs=0.03)
    assert (restain(image, SOURCE, np.ones(2), np.zeros(2)) == image).all()


def test_shifts_add_stain_everywhere() -> None:
    white = np.full((3, 3, 3), 255, np.uint8)

    stained = restain(white, SOURCE, np.ones(2), np.array([0.5, 0.0]))

    assert (stained == np.rint(255 * np.exp(-0.5 * SOURCE[0]))).all()


def test_jitter_is_bounded_and_follows_from_the_generator(real: Floats) -> None:
    image = _picture(real, SOURCE)

    first, again, other = (jitter(image, SOURCE, 0.3, np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert (first == again).all()
    assert (first != other).any()
    assert (jitter(image, SOURCE, 0.0, np.random.default_rng(1)) == image).all()
    change = amounts(optical_density(first), SOURCE).mean((0, 1)) / amounts(optical_density(image), SOURCE).mean((0, 1))
    assert (abs(change - 1) < 0.33).all()


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_each_method_gives_a_picture_the_stains_of_another(real: Floats, method: Method) -> None:
    image, other = _picture(real, SOURCE), _picture(np.roll(real, 7, axis=0) * [1.5, 1.2], TARGET)

    change = normalizer(measured(image, method), measured(other, method))

    wanted = _picture(real * [1.5, 1.2], TARGET).astype(int)
    assert abs(change(image) - wanted).mean() < 0.5 * abs(image - wanted).mean()
    for channel in range(3):
        assert change(image)[..., channel].mean() == pytest.approx(wanted[..., channel].mean(), abs=8)


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_to_its_own_stains_a_picture_stays_nearly_as_it_is(real: Floats, method: Method) -> None:
    image = _picture(real, SOURCE)
    own = measured(image, method)

    assert abs(normalizer(own, own)(image) - image.astype(int)).mean() < 2


def test_glass_stays_white(real: Floats) -> None:
    change = normalizer(*(measured(_picture(real, vectors), "macenko") for vectors in (SOURCE, TARGET)))

    assert (change(np.full((2, 2, 3), 255, np.uint8)) == 255).all()


def test_the_most_typical_staining_is_that_amid_the_others() -> None:
    stainings = [Staining(method="reinhard", rows=((level, 0.0), (1.0, 2.0))) for level in (9.0, 1.0, 2.0, 3.0)]

    assert most_typical(stainings) is stainings[3]
    assert most_typical(stainings[:1]) is stainings[0]
