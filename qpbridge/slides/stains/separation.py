"""Optical density, the stains that add up to it, and how much there is of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import RgbImage
from qpbridge.errors import InvalidValueError

Floats: TypeAlias = npt.NDArray[np.float64]

SPARSITY: Final = 0.1
"""Weight of the amounts' sum (Vahadane et al. 2016, sec. III: lambda = 0.1)."""

TISSUE_LIGHTNESS: Final = 0.9
"""Share of full lightness (L of CIELAB) below which a pixel is tissue (Vahadane et al. 2016, public program)."""

SAMPLE_PX: Final = 5_000
"""Most pixels that stains are estimated from: four times as many turn the vectors by a sixth of a degree."""

STRONG_PERCENTILE: Final = 99
"""Percentile of a stain's amounts that counts as its strongest (Vahadane et al. 2016, sec. III.C)."""

LEAST_TISSUE_PX: Final = 100
"""Of fewer pixels nothing is estimated."""

Density: TypeAlias = tuple[float, float, float]
"""Of one stain in red, green and blue."""

HEMATOXYLIN_EOSIN: Final[tuple[Density, Density]] = ((0.651, 0.701, 0.290), (0.216, 0.801, 0.558))
"""Optical densities (R, G, B) of hematoxylin and eosin that QuPath starts with."""

_SEED: Final = 0
_DENSITY: Final = -np.log(np.maximum(np.arange(256), 1) / 255.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stains:
    """Hematoxylin and eosin of one picture.

    Parameters
    ----------
    vectors : ndarray, shape (2, 3)
        Optical density (R, G, B) of one unit of each, of length 1; hematoxylin first.
    strongest : ndarray, shape (2,)
        Amount of each where it is strong: the 99th percentile.
    """

    vectors: Floats
    strongest: Floats


def optical_density(image: RgbImage) -> Floats:
    """Return the natural optical density, shape (..., 3): 0 for white; black counts as 1 of 255."""
    return np.asarray(_DENSITY[image], np.float64)


def amounts(density: Floats, vectors: Floats, sparsity: float = 0.0) -> Floats:
    """Return how much of two stains adds up to each density: never negative, as little as may be.

    Minimizes half the squared error plus the sparsity times the sum of amounts; for two stains there is a formula.

    Parameters
    ----------
    density : ndarray, shape (..., 3)
        Optical density.
    vectors : ndarray, shape (2, 3)
        Of the stains; no component negative.
    sparsity : float
        Weight of the sum.

    Returns
    -------
    ndarray, shape (..., 2)

    References
    ----------
    Vahadane et al. 2016, eq. (5).
    """
    gram = vectors @ vectors.T
    wanted = density @ vectors.T - sparsity
    both = np.linalg.solve(gram, wanted[..., None])[..., 0] if wanted.ndim == 1 else wanted @ np.linalg.inv(gram)
    # Where one would be negative the other explains what it can alone.
    alone = np.maximum(wanted / np.diagonal(gram), 0)
    first, second = both[..., :1] < 0, both[..., 1:] < 0
    return np.where(first | second, np.concatenate((alone[..., :1] * ~first, alone[..., 1:] * ~second), -1), both)


def vahadane(image: RgbImage) -> Stains:
    """Estimate the stains of a picture by sparse non-negative dictionary learning.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        Some tissue of a slide.

    Raises
    ------
    InvalidValueError
        If there is hardly any tissue in it.

    References
    ----------
    Vahadane et al. 2016, "Structure-preserving color normalization and sparse stain separation".
    """
    from sklearn.decomposition import DictionaryLearning

    density = _tissue(image)
    learned = DictionaryLearning(
        n_components=2,
        alpha=SPARSITY,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        positive_code=True,
        positive_dict=True,
        dict_init=_unit(np.array(HEMATOXYLIN_EOSIN)),
        code_init=amounts(density, _unit(np.array(HEMATOXYLIN_EOSIN)), SPARSITY),
        max_iter=_ROUNDS,
        random_state=_SEED,
    ).fit(density)
    return _stains(learned.components_, density, SPARSITY)


def macenko(image: RgbImage) -> Stains:
    """Estimate the stains of a picture by the directions in which its densities spread; parameters as ``vahadane``.

    All densities lie near a plane through the origin; the stains are the directions at the rims of what is there.

    References
    ----------
    Macenko et al. 2009, "A method for normalizing histology slides for quantitative analysis". Tissue is told by its
    lightness, as in tiatoolbox, whose import would take longer than all of the work.
    """
    density = _tissue(image)
    plane = np.linalg.eigh(np.cov(density.T))[1][:, :0:-1]
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)
    angles = np.arctan2(density @ plane[:, 1], density @ plane[:, 0])
    rims = np.percentile(angles, (100 - STRONG_PERCENTILE, STRONG_PERCENTILE))
    return _stains(np.stack([np.cos(rims), np.sin(rims)], axis=1) @ plane.T, density, 0.0)


_ROUNDS: Final = 20


def _stains(vectors: npt.NDArray[Any], density: Floats, sparsity: float) -> Stains:
    positive = np.maximum(np.asarray(vectors, np.float64), 0)
    if not (positive.sum(axis=1) > 0).all():
        raise InvalidValueError("two stains cannot be told apart in this picture; give one with more of both")
    # Hematoxylin takes away more red, compared with blue, than eosin does.
    order = np.argsort(-positive[:, 0] / np.maximum(positive[:, 2], np.finfo(np.float64).tiny), kind="stable")
    unit = _unit(positive[order])
    strongest = np.percentile(amounts(density, unit, sparsity), STRONG_PERCENTILE, axis=0)
    return Stains(vectors=unit, strongest=strongest)


def tissue_pixels(image: RgbImage) -> RgbImage:
    """Return some pixels of tissue, uint8, shape (N, 3), no more than ``SAMPLE_PX`` of them.

    Raises
    ------
    InvalidValueError
        If there are hardly any.
    """
    lightness = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 0]
    pixels = image[lightness < TISSUE_LIGHTNESS * 255]
    if len(pixels) < LEAST_TISSUE_PX:
        raise InvalidValueError(
            f"stains cannot be estimated from {len(pixels)} pixels of tissue in {image.shape[1]} x {image.shape[0]};"
            f" give a picture with at least {LEAST_TISSUE_PX}"
        )
    if len(pixels) > SAMPLE_PX:
        pixels = pixels[np.random.default_rng(_SEED).choice(len(pixels), SAMPLE_PX, replace=False)]
    return pixels


def _tissue(image: RgbImage) -> Floats:
    return optical_density(tissue_pixels(image))


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float64)
