"""Geometric augmentation: one warp of the plane about a patch's center, applied alike to all its views and labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import IGNORE_INDEX, InstanceMap, LabelMap, RgbImage
from qpbridge.models.recipe import Recipe

MILD_ELASTIC_SIGMA_PX = 4.0
"""Width of the Gaussian that smooths the mild elastic noise (Ho et al., public settings: alpha 1, sigma 4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Displacement:
    """A smooth random shift of the plane.

    Parameters
    ----------
    knots : ndarray of float32, shape (K, K, 2)
        Shift (x, y) at control points spread evenly over ``extent_px``, px of the finest view.
    extent_px : float
        Edge of the square, centered on the patch, that the control points span.
    """

    knots: npt.NDArray[np.float32]
    extent_px: float

    def at(self, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the shift at offsets from the center by bicubic interpolation, shape (H, W, 2)."""
        last = len(self.knots) - 1
        column = (x / self.extent_px + 0.5) * last
        row = (y / self.extent_px + 0.5) * last
        return np.asarray(
            cv2.remap(self.knots, column, row, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.float32
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Warp:
    """Where each point of an augmented patch comes from: ``matrix @ offset + displacements(offset)``.

    Offsets are from the patch's center in px of the finest view, so that every view, whatever its mpp,
    moves alike and all stay registered.
    """

    matrix: npt.NDArray[np.float32]
    displacements: tuple[Displacement, ...] = ()

    def image(self, view: RgbImage, ratio: float, size: int | None = None) -> RgbImage:
        """Return a warped view.

        Parameters
        ----------
        view : ndarray of uint8, shape (H, H, 3)
            As read, with a rim from which pixels may be turned in; beyond it, pixels are mirrored.
        ratio : float
            The view's mpp over the finest view's mpp.
        size : int or None
            Edge of the warped view, px; that of the view as read where None.
        """
        column, row = self._sources(size or len(view), len(view), ratio)
        return np.asarray(cv2.remap(view, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.uint8)

    def labels(self, labels: LabelMap, ratio: float = 1.0, size: int | None = None) -> LabelMap:
        """Return warped labels of a view, nearest neighbor; what comes from beyond the rim is unknown."""
        column, row = self._sources(size or len(labels), len(labels), ratio)
        return np.asarray(
            cv2.remap(labels, column, row, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=IGNORE_INDEX),
            np.uint8,
        )

    def instances(self, instances: InstanceMap, size: int) -> InstanceMap:
        """Return warped numbers of nuclei in the finest view, nearest neighbor; beyond the rim there is none."""
        column, row = self._sources(size, len(instances), 1.0)
        # Exact: numbers stay below 2**24.
        moved = cv2.remap(instances.astype(np.float32), column, row, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        return np.asarray(moved, np.int32)

    def _sources(
        self, size: int, source_size: int, ratio: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        middle, source_middle = (size - 1) / 2, (source_size - 1) / 2
        offsets = ((np.arange(size, dtype=np.float32) - np.float32(middle)) * np.float32(ratio)).astype(np.float32)
        x, y = np.meshgrid(offsets, offsets)
        source_x = self.matrix[0, 0] * x + self.matrix[0, 1] * y
        source_y = self.matrix[1, 0] * x + self.matrix[1, 1] * y
        for displacement in self.displacements:
            shift = displacement.at(x, y)
            source_x = source_x + shift[..., 0]
            source_y = source_y + shift[..., 1]
        return (
            (source_x / ratio + source_middle).astype(np.float32, copy=False),
            (source_y / ratio + source_middle).astype(np.float32, copy=False),
        )


def rim_px(recipe: Recipe, size: int) -> int:
    """Return how far beyond the edges of a view turns and scaling may reach, px of the view.

    What they turn in must be tissue as it is: a network that learns mirrored corners does not know real ones.
    """
    diagonal = np.sqrt(2) if recipe.rotation_p else 1.0
    return int(np.ceil(size * (diagonal * (1 + recipe.scale_jitter) - 1) / 2))


def elastic(recipe: Recipe, extent_px: float, rng: np.random.Generator) -> Displacement:
    """Return the deformation that makes an additional copy of a rare patch (Ho et al. 2021, sec. 2.4)."""
    shape = (recipe.elastic_grid, recipe.elastic_grid, 2)
    knots = rng.normal(0.0, recipe.elastic_sigma_px, shape).astype(np.float32)
    return Displacement(knots=knots, extent_px=extent_px)


def random_warp(recipe: Recipe, extent_px: float, rng: np.random.Generator, copy: Displacement | None = None) -> Warp:
    """Draw quarter turns, flips, free rotation, scale and mild elastic noise.

    Parameters
    ----------
    recipe : Recipe
        How much of each.
    extent_px : float
        Edge of the largest view, px of the finest view.
    rng : numpy Generator
        Source of chance.
    copy : Displacement or None
        The fixed deformation of an additional copy.
    """
    matrix = np.eye(2)
    if rng.random() < recipe.rot90_p:
        matrix = _rotation(rng.integers(4) * np.pi / 2) @ matrix
    for axis in range(2):
        if rng.random() < recipe.flip_p:
            matrix[axis] *= -1
    if rng.random() < recipe.rotation_p:
        most = np.radians(recipe.rotation_deg)
        matrix = _rotation(rng.uniform(-most, most)) @ matrix
    if recipe.scale_jitter > 0:
        matrix = matrix * np.exp(rng.uniform(-1, 1) * np.log1p(recipe.scale_jitter))
    displacements = [] if copy is None else [copy]
    if recipe.mild_elastic_alpha > 0:
        displacements.append(_mild_elastic(recipe.mild_elastic_alpha, extent_px, rng))
    return Warp(matrix=np.round(matrix, 9).astype(np.float32), displacements=tuple(displacements))


def _rotation(angle: float) -> npt.NDArray[np.float64]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _mild_elastic(alpha: float, extent_px: float, rng: np.random.Generator) -> Displacement:
    # Uniform noise smoothed by a Gaussian has this standard deviation and varies over about two sigmas.
    deviation = alpha / np.sqrt(3) / (2 * np.sqrt(np.pi) * MILD_ELASTIC_SIGMA_PX)
    knots = 1 + max(2, round(extent_px / (2 * MILD_ELASTIC_SIGMA_PX)))
    return Displacement(knots=rng.normal(0.0, deviation, (knots, knots, 2)).astype(np.float32), extent_px=extent_px)
