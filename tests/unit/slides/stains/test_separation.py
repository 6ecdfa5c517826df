import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.core.arrays import RgbImage
from qpbridge.errors import InvalidValueError
from qpbridge.slides.stains.separation import Floats, amounts, macenko, optical_density, vahadane

VECTORS = np.array([[0.60, 0.75, 0.30], [0.10, 0.90, 0.20]])
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


def _stained(seed: int = 0, vectors: Floats = VECTORS) -> tuple[RgbImage, Floats]:
    """A picture of two stains, most pixels with one of them, and their amounts."""
    draw = np.random.default_rng(seed)
    real = np.maximum(draw.normal(0.2, 0.6, (60, 60, 2)), 0)
    return np.clip(np.rint(255 * np.exp(-real @ vectors)), 0, 255).astype(np.uint8), real


def _degrees(one: Floats, other: Floats) -> Floats:
    return np.degrees(np.arccos(np.clip((one * other).sum(axis=1), -1, 1)))


def test_white_has_no_density_and_black_a_finite_one() -> None:
    density = optical_density(np.array([[[255, 0, 1]]], np.uint8))

    assert density[0, 0].tolist() == pytest.approx([0, np.log(255), np.log(255)])


@given(first=st.floats(0, 3), second=st.floats(0, 3))
def test_amounts_add_up_to_the_density(first: float, second: float) -> None:
    found = amounts(np.array([first, second]) @ VECTORS, VECTORS)

    assert found == pytest.approx([first, second], abs=1e-9)


@given(seed=st.integers(0, 10_000), sparsity=st.sampled_from([0.0, 0.1, 0.5]))
def test_no_other_amounts_are_better(seed: int, sparsity: float) -> None:
    draw = np.random.default_rng(seed)
    density = draw.normal(0.3, 0.5, 3)

    found = amounts(density, VECTORS, sparsity)

    def cost(h: Floats) -> Floats:
        return ((density - h @ VECTORS) ** 2).sum(axis=-1) / 2 + sparsity * h.sum(axis=-1)

    others = np.maximum(found + draw.normal(0, [[0.01], [0.3]], (2, 2)).repeat(50, 0) * draw.normal(0, 1, (100, 1)), 0)
    assert (found >= 0).all()
    assert (cost(found) <= cost(others) + 1e-12).all()


def test_many_pixels_are_unmixed_as_each_alone() -> None:
    density = np.random.default_rng(1).normal(0.3, 0.5, (4, 5, 3))

    together = amounts(density, VECTORS, 0.1)

    assert together.shape == (4, 5, 2)
    assert together[2, 3] == pytest.approx(amounts(density[2, 3], VECTORS, 0.1))


def test_vahadane_finds_the_stains_of_a_picture() -> None:
    image, real = _stained()

    stains = vahadane(image)

    assert (_degrees(stains.vectors, VECTORS) < 3).all()
    assert np.linalg.norm(stains.vectors, axis=1) == pytest.approx([1, 1])
    assert stains.strongest == pytest.approx(np.percentile(real.reshape(-1, 2), 99, axis=0), rel=0.1)


def test_hematoxylin_comes_first_whatever_is_stronger() -> None:
    image, _ = _stained(1, VECTORS * [[0.5], [2.0]])

    vectors = vahadane(image).vectors

    assert vectors[0, 0] / vectors[0, 2] > vectors[1, 0] / vectors[1, 2]
    assert (_degrees(vectors, VECTORS) < _degrees(vectors, VECTORS[::-1])).all()


def test_glass_does_not_matter_and_alone_is_not_enough() -> None:
    image, _ = _stained()
    white = np.full_like(image, 250)

    beside = vahadane(np.concatenate((white, image)))

    assert (_degrees(beside.vectors, VECTORS) < 3).all()
    with pytest.raises(InvalidValueError, match="0 pixels of tissue"):
        vahadane(white)


def test_macenko_finds_the_stains_of_a_picture() -> None:
    image, _ = _stained()

    found = macenko(image)

    assert (_degrees(found.vectors, VECTORS) < 3).all()


TIATOOLBOX = """
import sys, numpy as np
from tiatoolbox.tools.stainextract import MacenkoExtractor
np.save(sys.argv[2], MacenkoExtractor().get_stain_matrix(np.load(sys.argv[1])))
"""


@pytest.mark.slow
def test_macenko_agrees_with_tiatoolbox(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """In a process of its own: importing tiatoolbox takes long, warns, and changes how warnings are told."""
    image, _ = _stained()
    np.save(tmp_path / "image.npy", image)

    subprocess.run(
        [sys.executable, "-c", TIATOOLBOX, str(tmp_path / "image.npy"), str(tmp_path / "found.npy")],
        check=True,
        capture_output=True,
    )

    assert (_degrees(macenko(image).vectors, np.load(tmp_path / "found.npy")) < 2).all()
