"""From a block of predicted pixels to the nuclei whose centroid lies in it. Px of the mosaic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from qpbridge.core.arrays import InstanceMap
from qpbridge.inference.nuclei.blocks import Block
from qpbridge.inference.nuclei.decoding import CERTAIN, Decoding, decode
from qpbridge.slides.stains.separation import HEMATOXYLIN_EOSIN, Density
from qpbridge.vector.instances.growing import expand
from qpbridge.vector.instances.outlining import Polygons, outline
from qpbridge.vector.instances.pieces import chosen

MASK: Final = "mask"
MARKER: Final = "marker"
CLASSES: Final = "classes"
PIXELS: Final = "pixels"

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvesting:
    """How blocks become nuclei.

    Parameters
    ----------
    decoding : Decoding
        Of the probabilities.
    mpp : float
        Pixel size of the mosaic, µm/px.
    cell_um : float
        How far cells reach out of their nuclei, where no neighbor is nearer; 0 for nuclei alone.
    stains : tuple of tuple of float
        Optical density (R, G, B) of hematoxylin and of eosin.
    """

    decoding: Decoding
    mpp: float
    cell_um: float = 0.0
    stains: tuple[Density, Density] = HEMATOXYLIN_EOSIN

    @property
    def margin_px(self) -> int:
        """How much of the mosaic must be known around a block, px."""
        neighbor_um = self.decoding.max_extent_um + 2 * self.cell_um if self.cell_um else 0.0
        return self.decoding.margin_px(self.mpp) + int(np.ceil(neighbor_um / self.mpp))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nuclei:
    """Nuclei as arrays, one row each.

    Parameters
    ----------
    outlines : ndarray of Polygon, shape (N,)
        Along pixel edges, px of the mosaic.
    cells : ndarray of Polygon, shape (N,)
        Outlines of the cells around them; those of the nuclei where cells are not wanted.
    centroids : ndarray, shape (N, 2)
        Mean (x, y) of their pixels' centers, px of the mosaic.
    probabilities : ndarray, shape (N,)
        Mean probability of their pixels.
    classes : ndarray of int64, shape (N,)
        Most probable class; 0 where there are none.
    class_probabilities : ndarray, shape (N,)
        Mean probability of that class; NaN where there are none.
    stains : ndarray, shape (N, 2, 2)
        Mean and standard deviation of hematoxylin and eosin, decadic optical density as in QuPath; NaN without pixels.
    """

    outlines: Polygons
    cells: Polygons
    centroids: Floats
    probabilities: Floats
    classes: npt.NDArray[np.int64]
    class_probabilities: Floats
    stains: Floats

    def __len__(self) -> int:
        return len(self.outlines)

    def chosen(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Nuclei:
        """Return some of the nuclei."""
        return replace(self, **{item.name: getattr(self, item.name)[rows] for item in fields(self)})


def joined(parts: Sequence[Nuclei]) -> Nuclei:
    """Return the nuclei of several blocks together."""
    parts = parts or [_NONE]
    return Nuclei(**{item.name: np.concatenate([getattr(one, item.name) for one in parts]) for item in fields(Nuclei)})


def harvest(block: Block, harvesting: Harvesting) -> Nuclei:
    """Return the nuclei of a block: whole, and each in one block only.

    Parameters
    ----------
    block : Block
        With layers ``"mask"``, perhaps ``"marker"`` and ``"classes"`` (probabilities in steps of 1/255), and perhaps
        ``"pixels"`` (RGB); with a margin of ``Harvesting.margin_px``.
    harvesting : Harvesting
        What to do.
    """
    mask = block.layers[MASK][0]
    marker = block.layers[MARKER][0] if MARKER in block.layers else None
    found = decode(mask, marker, harvesting.decoding, harvesting.mpp)
    pixels = _Pixels.of(found)
    own = pixels.chosen(_is_owned(pixels, block))
    if not len(own.numbers):
        return _NONE
    is_own = np.zeros(len(pixels.slots), np.bool_)
    is_own[own.numbers] = True
    origin = np.array([block.left, block.top])
    nuclei = _outlined(chosen(found, is_own), origin)
    class_means = _class_means(own, block)
    return Nuclei(
        outlines=nuclei,
        cells=_cells(found, is_own, harvesting, origin) if harvesting.cell_um else nuclei,
        centroids=own.centroids(origin),
        probabilities=own.means(mask[None])[:, 0] / CERTAIN,
        classes=class_means.argmax(axis=1),
        class_probabilities=class_means.max(axis=1),
        stains=_stained(own, block, harvesting.stains),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pixels:
    """The pixels of some nuclei: ``slots`` leads from a number to its row, or to -1."""

    numbers: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    x: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    @classmethod
    def of(cls, instances: InstanceMap) -> _Pixels:
        y, x = np.nonzero(instances)
        owners = instances[y, x]
        is_there = np.bincount(owners, minlength=1) > 0
        numbers, slots = _numbered(is_there)
        return cls(numbers=numbers, slots=slots, y=y, x=x, rows=slots[owners])

    def chosen(self, is_kept: npt.NDArray[np.bool_]) -> _Pixels:
        is_there = np.zeros(len(self.slots), np.bool_)
        is_there[self.numbers[is_kept]] = True
        numbers, slots = _numbered(is_there)
        own = is_kept[self.rows]
        rows = slots[self.numbers[self.rows[own]]]
        return _Pixels(numbers=numbers, slots=slots, y=self.y[own], x=self.x[own], rows=rows)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        return np.bincount(self.rows, minlength=len(self.numbers))

    @property
    def sums(self) -> npt.NDArray[np.int64]:
        """Sums of x and y, exact, shape (N, 2)."""
        totals = [np.bincount(self.rows, place, len(self.numbers)) for place in (self.x, self.y)]
        return np.rint(np.stack(totals, axis=1)).astype(np.int64)

    def centroids(self, origin: npt.NDArray[np.int64]) -> Floats:
        """Means of x and y, from an origin; the same wherever the block begins, to the last bit."""
        counts = self.counts[:, None]
        return (self.sums + origin * counts) / counts + 0.5

    def means(self, layers: npt.NDArray[np.uint8]) -> Floats:
        """Mean of each layer (C, H, W) by nucleus, shape (N, C)."""
        return np.stack([self.mean(layer[self.y, self.x]) for layer in layers], axis=1)

    def mean(self, values: npt.NDArray[np.generic]) -> Floats:
        return np.asarray(np.bincount(self.rows, values, len(self.numbers)) / self.counts, np.float64)


def _numbered(is_there: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return np.flatnonzero(is_there), np.where(is_there, np.cumsum(is_there) - 1, -1)


def _is_owned(pixels: _Pixels, block: Block) -> npt.NDArray[np.bool_]:
    # In whole numbers: all blocks that see a nucleus must agree on the one that has it.
    origin = np.array([block.left, block.top])
    begin, size = np.array([block.x, block.y]), np.array([block.width, block.height])
    counts = pixels.counts[:, None]
    sums = pixels.sums + (origin - begin) * counts
    return np.asarray(((sums >= 0) & (sums < size * counts)).all(axis=1))


def _outlined(instances: InstanceMap, origin: npt.NDArray[np.int64]) -> Polygons:
    _, polygons = outline(instances)
    moved: Polygons = shapely.transform(polygons, lambda points: points + origin)
    return moved


def _cells(
    found: InstanceMap, is_own: npt.NDArray[np.bool_], harvesting: Harvesting, origin: npt.NDArray[np.int64]
) -> Polygons:
    # Also into nuclei of other blocks no cell may grow.
    return _outlined(chosen(expand(found, harvesting.cell_um / harvesting.mpp), is_own), origin)


def _class_means(own: _Pixels, block: Block) -> Floats:
    """Return the mean probability of each class, shape (N, K); one class that is not a number where there are none."""
    if CLASSES not in block.layers:
        return np.full((len(own.numbers), 1), np.nan)
    return own.means(block.layers[CLASSES]) / CERTAIN


def _stained(own: _Pixels, block: Block, stains: tuple[Density, Density]) -> Floats:
    if PIXELS not in block.layers:
        return np.full((len(own.numbers), 2, 2), np.nan)
    colors = block.layers[PIXELS][:, own.y, own.x]
    density = _DECADIC_DENSITY[colors].T @ np.linalg.inv(_with_residual(stains))
    measured = np.empty((len(own.numbers), 2, 2))
    for stain in range(2):
        mean = own.mean(density[:, stain])
        measured[:, stain, 0] = mean
        measured[:, stain, 1] = np.sqrt(own.mean((density[:, stain] - mean[own.rows]) ** 2))
    return measured


def _with_residual(stains: tuple[Density, Density]) -> Floats:
    """Return the stains and what is neither as rows of length 1, as QuPath unmixes them."""
    rows = np.vstack((stains, np.cross(stains[0], stains[1])))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float64)


_DECADIC_DENSITY: Final = -np.log10(np.maximum(np.arange(256), 1) / 255.0)

_NONE: Final = Nuclei(
    outlines=np.empty(0, dtype=object),
    cells=np.empty(0, dtype=object),
    centroids=np.empty((0, 2)),
    probabilities=np.empty(0),
    classes=np.empty(0, np.int64),
    class_probabilities=np.empty(0),
    stains=np.empty((0, 2, 2)),
)
