"""Pictures as if they had been stained like another one, or a little otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import RgbImage
from qpbridge.slides.slide import Change
from qpbridge.slides.stains.separation import (
    Floats,
    Stains,
    amounts,
    macenko,
    optical_density,
    tissue_pixels,
    vahadane,
)
from qpbridge.slides.stains.staining import Method, Staining

ESTIMATORS: Final[Mapping[str, Callable[[RgbImage], Stains]]] = {"vahadane": vahadane, "macenko": macenko}
"""How hematoxylin and eosin are told apart, by method."""


def measured(image: RgbImage, method: Method) -> Staining:
    """Return how a picture is stained.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        Some tissue of a slide.
    method : {"macenko", "reinhard", "vahadane"}
        In whose terms.

    Raises
    ------
    InvalidValueError
        If there is hardly any tissue in it, or its stains cannot be told apart.

    References
    ----------
    Macenko et al. 2009; Vahadane et al. 2016; Reinhard et al. 2001, "Color transfer between images". Means and spread
    are those of tissue, lest a slide with more glass look paler.
    """
    if method == "reinhard":
        lab = cv2.cvtColor(tissue_pixels(image)[None], cv2.COLOR_RGB2LAB)[0].astype(np.float64)
        return Staining(method=method, rows=_rows((lab.mean(axis=0), lab.std(axis=0))))
    stains = ESTIMATORS[method](image)
    return Staining(method=method, rows=_rows((*stains.vectors, stains.strongest)))


def normalizer(source: Staining, target: Staining) -> Change:
    """Return what gives pictures of one slide the stains of another.

    Parameters
    ----------
    source, target : Staining
        Of the slide, and of the one that it shall look like; of one method.
    """
    if target.method == "reinhard":
        return partial(_through, _lab_table(source, target))
    return partial(normalize, source=_stains(source), target=_stains(target))


def most_typical(stainings: Sequence[Staining]) -> Staining:
    """Return the one that is nearest to all the others; of several the first."""
    rows = np.array([np.concatenate(one.rows) for one in stainings])
    spread = rows.std(axis=0)
    scaled = rows / np.where(spread > 0, spread, 1)
    apart = np.linalg.norm(scaled[:, None] - scaled[None], axis=2).sum(axis=1)
    return stainings[int(apart.argmin())]


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


def _rows(rows: Sequence[npt.NDArray[np.float64]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in rows)


def _stains(staining: Staining) -> Stains:
    hematoxylin, eosin, strongest = staining.rows
    return Stains(vectors=np.array([hematoxylin, eosin]), strongest=np.array(strongest))


def _lab_table(source: Staining, target: Staining) -> npt.NDArray[np.uint8]:
    """Return what becomes of each 8-bit value of L, a and b, shape (1, 256, 3)."""
    (mean, spread), (new_mean, new_spread) = np.array(source.rows), np.array(target.rows)
    ratio = np.divide(new_spread, spread, out=np.ones(3), where=spread > 0)
    values = (np.arange(256)[:, None] - mean) * ratio + new_mean
    return np.asarray(np.clip(np.rint(values), 0, 255)[None], np.uint8)


def _through(table: npt.NDArray[np.uint8], image: RgbImage) -> RgbImage:
    lab = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), table)
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def _picture(density: Floats) -> RgbImage:
    return np.asarray(np.clip(np.rint(255 * np.exp(-density)), 0, 255), np.uint8)
