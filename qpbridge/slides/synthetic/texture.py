"""How a tile of a procedural slide looks: amounts of hematoxylin and eosin, then light absorbed by them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import Mask, RgbImage
from qpbridge.slides.synthetic.layout import Fields, Layout, Tissue
from qpbridge.slides.synthetic.noise import Maps
from qpbridge.slides.synthetic.nuclei import Nuclei
from qpbridge.slides.synthetic.window import Window

# Optical density of red, green, blue per unit of stain, near to what Macenko et al. 2009 find in slides.
_HEMATOXYLIN_OD = 0.62, 0.72, 0.33
_EOSIN_OD = 0.13, 0.86, 0.42

_GLASS_RGB = 245, 243, 245
_LEVELS = 256  # steps of each stain in the color table
_MOST = 1.6  # amount of stain in the last step
_GRAIN = 1.6  # standard deviation of the camera's noise, gray levels
_BLUR_UM = 0.35  # standard deviation of the optics
_LEAST_BLUR = 0.2  # pixels; less does nothing


Colors: TypeAlias = npt.NDArray[np.uint8]
"""Color table, shape (65536, 3): row ``256 * hematoxylin + eosin``, in steps of the table."""


@dataclass(frozen=True, slots=True)
class Stain:
    """Strengths of the stains; 1 is usual."""

    hematoxylin: float
    eosin: float

    def colors(self) -> Colors:
        """Return the color table, shape (256 * 256, 3): row ``256 * hematoxylin + eosin``, in steps of the table."""
        amounts = np.linspace(0, _MOST, _LEVELS)[:, None]
        blue = np.exp(-self.hematoxylin * amounts * np.array(_HEMATOXYLIN_OD))
        pink = np.exp(-self.eosin * amounts * np.array(_EOSIN_OD))
        passed = blue[:, None, :] * pink[None, :, :] * np.array(_GLASS_RGB)
        return np.asarray(passed.reshape(-1, 3).round(), np.uint8)


def painted(
    layout: Layout, window: Window, fields: Fields, nuclei: Nuclei, instances: npt.NDArray[np.int32], colors: Colors
) -> RgbImage:
    """Return the pixels of a tile, shape (TILE_PX, TILE_PX, 3).

    Parameters
    ----------
    layout : Layout
        Lends its noises.
    window : Window
        The tile.
    fields : Fields
        Tissues of the window.
    nuclei : Nuclei
        Those that reach into the window.
    instances : ndarray of int32, shape (H, W)
        1 + row in ``nuclei`` for the window's pixels, 0 outside nuclei.
    colors : ndarray, shape (65536, 3)
        As made by ``Stain.colors``.
    """
    texture = _Texture(layout, window, fields)
    hematoxylin, eosin = stains = np.zeros((2, *fields.labels.shape), np.float32)
    for tissue, paint in _PAINTS.items():
        mask = fields.labels == tissue
        if mask.any():
            for amount, of_tissue in zip(stains, paint(texture), strict=True):
                np.copyto(amount, of_tissue, where=mask)
    _shrink_from_nests(fields, eosin)
    _add_nuclei(texture, nuclei, instances, hematoxylin, eosin)
    blur = _BLUR_UM / window.mpp
    if blur > _LEAST_BLUR:
        stains = np.stack([cv2.GaussianBlur(amount, (0, 0), blur) for amount in stains]).astype(np.float32)
    return _developed(window, layout, stains, colors)


class _Texture:
    """Noises at the pixels of one window, each made when first asked for."""

    def __init__(self, layout: Layout, window: Window, fields: Fields) -> None:
        self._layout, self._window, self.fields = layout, window, fields

    def along_fibers(self, channel: int, length_um: float, width_um: float) -> Maps:
        """Return noise drawn out along the fibers of the stroma."""
        along, across = self._fibers
        return self._layout.noise.fine(channel, along / np.float32(length_um), across / np.float32(width_um))

    def isotropic(self, channel: int, wavelength_um: float) -> Maps:
        """Return noise of one wavelength in all directions."""
        # Each noise is turned by another angle, so that no lattices line up.
        cos, sin = np.float32(math.cos(channel) / wavelength_um), np.float32(math.sin(channel) / wavelength_um)
        x, y = self._axes_um
        return self._layout.noise.fine(channel, x * cos - y * sin, x * sin + y * cos)

    @functools.cached_property
    def _fibers(self) -> tuple[Maps, Maps]:
        along, across = self._layout.fiber_um(*self._window.node_axes())
        return self._window.upsampled(along), self._window.upsampled(across)

    @functools.cached_property
    def _axes_um(self) -> tuple[Maps, Maps]:
        window = self._window
        x, y = ((edge + np.arange(window.size_px) + 0.5) * window.mpp for edge in window.origin_px)
        return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]


_Stains: TypeAlias = tuple[Maps, Maps]


def _glass(texture: _Texture) -> _Stains:
    dust = texture.isotropic(11, 300)
    return 0.012 + 0.002 * dust, 0.016 + 0.003 * dust


def _stroma(texture: _Texture) -> _Stains:
    bundles = texture.along_fibers(12, 110, 9)
    strands = texture.along_fibers(13, 45, 2.6)
    waves = texture.isotropic(14, 170)
    eosin = 0.42 + 0.10 * waves + 0.13 * bundles + 0.09 * strands + 0.035 * texture.isotropic(22, 2.2)
    clefts = np.clip(-1.05 - bundles - 0.35 * waves, 0, 0.5)
    eosin = np.maximum(eosin - 1.1 * clefts, 0.03)
    return 0.05 + 0.12 * np.maximum(eosin - 0.3, 0), eosin


def _epithelium(texture: _Texture) -> _Stains:
    cells, clouds = texture.isotropic(15, 5), texture.isotropic(16, 55)
    return 0.21 + 0.05 * cells + 0.04 * clouds, 0.42 + 0.09 * cells + 0.05 * clouds


def _necrosis(texture: _Texture) -> _Stains:
    smudges, ghosts = texture.isotropic(17, 38), texture.isotropic(18, 9)
    grains, dust = texture.isotropic(11, 2.5), texture.isotropic(19, 1.7)
    eosin = 0.50 + 0.06 * smudges + 0.08 * ghosts + 0.07 * grains
    debris: Maps = np.minimum(np.maximum(dust + 0.5 * smudges - 1.25, 0), 0.5)
    return 0.14 + 0.06 * ghosts + 0.04 * grains + 1.3 * debris, eosin


def _adipose(texture: _Texture) -> _Stains:
    wall_um = texture.fields.wall_um if texture.fields.wall_um is not None else np.float32(0)
    thickness = 0.9 + 0.45 * texture.isotropic(20, 40)
    membrane = np.clip(0.6 + thickness - wall_um, 0, 1)
    return 0.012 + 0.07 * membrane, 0.02 + 0.42 * membrane


_PAINTS: dict[Tissue, Callable[[_Texture], _Stains]] = {
    Tissue.BACKGROUND: _glass,
    Tissue.STROMA: _stroma,
    Tissue.ADIPOSE: _adipose,
    Tissue.NECROSIS: _necrosis,
    Tissue.TUMOR: _epithelium,
    Tissue.BENIGN: _epithelium,
}


def _shrink_from_nests(fields: Fields, eosin: Maps) -> None:
    """Lighten the stroma right around nests, where tissue tears in processing, and darken the section's rim."""
    if (fields.nest_um > -8).any():
        eosin *= 1 - 0.75 * np.exp(-(((fields.nest_um + 2.2) / 1.6) ** 2))
    rim = np.abs(fields.depth_um - 5)
    if rim.min() < 5:
        eosin += np.float32(0.12) * np.maximum(1 - rim / 5, 0)


def _add_nuclei(
    texture: _Texture, nuclei: Nuclei, instances: npt.NDArray[np.int32], hematoxylin: Maps, eosin: Maps
) -> None:
    inside = instances > 0
    if not inside.any():
        return
    paleness = np.array([0.72, 0.72, 0.95, 1.12])[nuclei.kinds]  # by NucleusKind
    amounts = np.concatenate([[0], paleness * (0.75 + 0.45 * nuclei.darkness)]).astype(np.float32)
    chromatin = texture.isotropic(21, 1.5)
    stained = amounts[instances] * (1 + 0.22 * chromatin) + 0.22 * _rims(instances)
    np.copyto(hematoxylin, stained, where=inside)
    np.copyto(eosin, 0.5 * eosin + 0.05, where=inside)


def _rims(instances: npt.NDArray[np.int32]) -> Mask:
    """Pixels of nuclei with another one, or none, to their right or below."""
    rims = np.zeros(instances.shape, np.bool_)
    rims[:, :-1] |= instances[:, :-1] != instances[:, 1:]
    rims[:-1] |= instances[:-1] != instances[1:]
    rims[:, 1:] |= instances[:, :-1] != instances[:, 1:]
    rims[1:] |= instances[:-1] != instances[1:]
    return rims


def _developed(window: Window, layout: Layout, stains: Maps, colors: Colors) -> RgbImage:
    scale = (_LEVELS - 1) / _MOST
    blue, pink = (cv2.convertScaleAbs(np.maximum(a[window.core], 0), alpha=scale) for a in stains)
    rgb = colors[blue.astype(np.int32) * _LEVELS + pink]
    grain = layout.noise.grain(window.column, window.row, rgb.shape, _GRAIN)
    return np.asarray(cv2.add(rgb, grain, dtype=cv2.CV_8U), np.uint8)
