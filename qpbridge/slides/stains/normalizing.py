"""Pictures as if they had been stained like another one, or a little otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import numpy as np

from qpbridge.core.arrays import RgbImage
from qpbridge.slides.stains.separation import Floats, Stains, amounts, macenko, optical_density, vahadane

Estimator: TypeAlias = Literal["vahadane", "macenko"]
"""How stains are estimated."""

ESTIMATORS: Final[Mapping[str, Callable[[RgbImage], Stains]]] = {"vahadane": vahadane, "macenko": macenko}


def normalize(image: RgbImage, source: Stains, target: Stains) -> RgbImage:
    """Return a picture with the stains of another one: colors change, structure does not.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        Any part of the slide.
    source : Stains
        Of the slide.
    target : Stains
        Of the slide that it shall look like.

    References
    ----------
    Vahadane et al. 2016, sec. III.C: strong stain becomes as strong as the target's.
    """
    share = np.divide(target.strongest, source.strongest, out=np.ones(2), where=source.strongest > 0)
    scaled = amounts(optical_density(image), source.vectors) * share
    return _picture(scaled @ target.vectors)


def restain(image: RgbImage, vectors: Floats, gains: Floats, shifts: Floats) -> RgbImage:
    """Return a picture with other amounts of its stains; what they do not explain stays.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        Not changed.
    vectors : ndarray, shape (2, 3)
        Of the stains.
    gains, shifts : ndarray, shape (2,)
        Each amount is multiplied by the one, and the other is added.
    """
    density = optical_density(image)
    change = amounts(density, vectors) * (gains - 1) + shifts
    return _picture(density + change @ vectors)


def jitter(image: RgbImage, vectors: Floats, strength: float, rng: np.random.Generator) -> RgbImage:
    """Return a picture with each stain's amount multiplied by a random number between 1 - strength and 1 + strength."""
    return restain(image, vectors, 1 + rng.uniform(-strength, strength, 2), np.zeros(2))


class Reinhard:
    """Gives pictures the mean and spread of a target's colors in CIELAB.

    Parameters
    ----------
    target : ndarray of uint8, shape (H, W, 3)
        What they shall look like.

    References
    ----------
    Reinhard et al. 2001, "Color transfer between images", as in tiatoolbox.
    """

    def __init__(self, target: RgbImage) -> None:
        from tiatoolbox.tools.stainnorm import ReinhardNormalizer

        self._normalizer = ReinhardNormalizer()
        self._normalizer.fit(target)

    def __call__(self, image: RgbImage) -> RgbImage:
        """Return a picture, uint8, shape (H, W, 3), in the target's colors."""
        normalized: RgbImage = self._normalizer.transform(image)
        return normalized


def _picture(density: Floats) -> RgbImage:
    return np.asarray(np.clip(np.rint(255 * np.exp(-density)), 0, 255), np.uint8)
