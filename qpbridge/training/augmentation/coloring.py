"""Color augmentation: one change of hue, light and stain for all views of a patch."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import RgbImage
from qpbridge.models.recipe import Recipe

STAINS_OD = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical density (R, G, B) of hematoxylin, eosin and DAB; Ruifrok & Johnston 2001. DAB is near to melanin."""

STAIN_SHIFT_SHARE = 0.2
"""Additive part of the stain jitter relative to the multiplicative one; whole, it would stain the glass."""

_OPTICAL_DENSITY = -np.log((np.arange(256) + 1.0) / 256.0).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class StainChange:
    """Other amounts of stain: ``density @ matrix + shift``.

    Parameters
    ----------
    matrix : ndarray of float32, shape (3, 3)
        Right factor of the optical density.
    shift : ndarray of float32, shape (3,)
        Added to the optical density.
    """

    matrix: npt.NDArray[np.float32]
    shift: npt.NDArray[np.float32]

    def __call__(self, image: RgbImage) -> RgbImage:
        """Return the image, uint8 (H, W, 3), stained otherwise."""
        # cv2.transform multiplies from the left and adds the fourth column.
        affine = np.hstack([self.matrix.T, self.shift[:, None]])
        density = cv2.transform(_OPTICAL_DENSITY[image], affine)
        # Rounded: cut off, dark tissue would be darker in training than it is in prediction.
        return np.clip(256.0 * np.exp(-density) - 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorChange:
    """One drawn change of color; the default changes nothing.

    Parameters
    ----------
    hue, saturation : int
        Added in 8-bit HSV (hue 0 to 179).
    brightness, contrast : float
        ``pixel * contrast + 255 * brightness``.
    stain : StainChange or None
        Applied first.
    """

    hue: int = 0
    saturation: int = 0
    brightness: float = 0.0
    contrast: float = 1.0
    stain: StainChange | None = None

    def __call__(self, image: RgbImage) -> RgbImage:
        """Return the image, uint8 (H, W, 3), with this change."""
        if self.stain is not None:
            image = self.stain(image)
        if self.hue or self.saturation:
            image = self._tinted(image)
        if self.brightness or self.contrast != 1.0:
            image = _affine_table(self.contrast, self.brightness)[image]
        return image

    def _tinted(self, image: RgbImage) -> RgbImage:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        table = np.empty((256, 3), np.uint8)
        steps = np.arange(256)
        table[:, 0] = (steps + self.hue) % 180
        table[:, 1] = np.clip(steps + self.saturation, 0, 255)
        table[:, 2] = steps
        # Without color there is no hue: added saturation would paint white glass red.
        table[0, 1] = 0
        return np.asarray(cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2RGB), np.uint8)


def random_color(recipe: Recipe, rng: np.random.Generator) -> ColorChange:
    """Draw hue and saturation, brightness and contrast, and stain."""
    hue = saturation = 0
    brightness, contrast = 0.0, 1.0
    if rng.random() < recipe.color_p:
        hue = round(rng.uniform(-recipe.hue_shift, recipe.hue_shift))
        saturation = round(rng.uniform(-recipe.saturation_shift, recipe.saturation_shift))
    if rng.random() < recipe.color_p:
        brightness = rng.uniform(-recipe.brightness, recipe.brightness)
        contrast = 1.0 + rng.uniform(-recipe.contrast, recipe.contrast)
    stain = None
    if recipe.stain_jitter > 0 or recipe.density_jitter > 0:
        stain = _stain_change(recipe.stain_jitter, recipe.density_jitter, rng)
    return ColorChange(hue=hue, saturation=saturation, brightness=brightness, contrast=contrast, stain=stain)


def _stain_change(strength: float, density: float, rng: np.random.Generator) -> StainChange:
    stains = STAINS_OD / np.linalg.norm(STAINS_OD, axis=1, keepdims=True)
    gains = (1.0 + rng.uniform(-strength, strength, 3)) * np.exp(rng.uniform(-density, density))
    shifts = STAIN_SHIFT_SHARE * rng.uniform(-strength, strength, 3)
    matrix = np.linalg.inv(stains) @ np.diag(gains) @ stains
    return StainChange(matrix=matrix.astype(np.float32), shift=(shifts @ stains).astype(np.float32))


def _affine_table(contrast: float, brightness: float) -> npt.NDArray[np.uint8]:
    table: npt.NDArray[np.uint8] = np.clip(np.arange(256) * contrast + 255.0 * brightness, 0, 255).astype(np.uint8)
    return table
