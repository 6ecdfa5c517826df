"""The procedural slide: pixels and truth of any block, computed when asked for, level-0 px."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, RgbImage
from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.objects import BACKGROUND_CLASS, PathClass
from qpbridge.core.progress import Progress, SilentProgress
from qpbridge.errors import InvalidValueError
from qpbridge.slides.pyramid import write_pyramid
from qpbridge.slides.synthetic.layout import Layout
from qpbridge.slides.synthetic.nests import Integers
from qpbridge.slides.synthetic.nuclei import Nuclei, nuclei_in
from qpbridge.slides.synthetic.texture import Stain, painted
from qpbridge.slides.synthetic.window import TILE_PX, Window

InstanceMap: TypeAlias = npt.NDArray[np.int64]
"""Ids of nuclei, int64, shape (H, W); 0 where there is none."""

CLASSES: Final = (
    PathClass(BACKGROUND_CLASS, (225, 225, 225)),
    PathClass("Stroma", (150, 200, 150)),
    PathClass("Adipose", (245, 210, 90)),
    PathClass("Necrosis", (50, 50, 50)),
    PathClass("Tumor", (200, 0, 0)),
    PathClass("Benign", (30, 110, 220)),
)
"""Classes of tissue; the position is the label, as in ``Tissue``."""

NUCLEUS_CLASSES: Final = (
    PathClass("Tumor", (200, 0, 0)),
    PathClass("Benign", (30, 110, 220)),
    PathClass("Stroma", (150, 200, 150)),
    PathClass("Immune cells", (160, 90, 160)),
)
"""Classes of nuclei; the position is the ``NucleusKind``."""

_MPP_RANGE = 0.1, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSpec:
    """What a procedural slide is made from; equal specs give equal slides.

    Parameters
    ----------
    width_px, height_px : int
        Size of level 0. Slides of less than about 2 mm may lack classes.
    mpp : float
        Pixel size, 0.1 to 4 µm. Sizes of tissues are in µm: the same slide can be had coarser or finer.
    seed : int
        Other seeds give other slides; at least 0.
    nucleus_density : float
        Nuclei per area as a multiple of what is usual, up to 2; none below 0.01.
    has_context_class : bool
        Whether nests in fat are the class of their own that only their surroundings tell apart, "Benign".
        Otherwise they are "Tumor" like those in stroma.
    hematoxylin, eosin : float
        Strength of the stains; 1 is usual, 0.5 to 2 what laboratories make of it.

    Raises
    ------
    InvalidValueError
        If a value is out of range.
    """

    width_px: int
    height_px: int
    mpp: float = 0.5
    seed: int = 0
    nucleus_density: float = 1.0
    has_context_class: bool = True
    hematoxylin: float = 1.0
    eosin: float = 1.0

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "width_px": (1, 2**21),
            "height_px": (1, 2**21),
            "mpp": _MPP_RANGE,
            "seed": (0, 2**63 - 1),
            "nucleus_density": (0, 2),
            "hematoxylin": (0.1, 3),
            "eosin": (0.1, 3),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise InvalidValueError(
                    f"a procedural slide takes {name} from {low} to {high}, not {getattr(self, name)}"
                )


class SyntheticSlide:
    """An H&E-like slide as a function of place.

    Nothing is stored but the arrangement of nests: any block is computed from the tiles of 512 px that it
    touches, so a block equals the same part of the whole, and slides larger than memory can be written
    strip by strip.

    The classes "Tumor" and "Benign" are nests of cells of one law (shape, cells, color), each in a ring of
    stroma of 130 µm. Benign nests lie in fat beyond that ring, tumor does not. So a window of 512 px at 0.5 µm
    around a pixel of a nest holds only nest and stroma, and about 250 µm are needed to know the class.
    """

    def __init__(self, spec: SyntheticSpec) -> None:
        self.spec = spec
        self._layout = Layout(
            spec.width_px * spec.mpp,
            spec.height_px * spec.mpp,
            seed=spec.seed,
            has_context_class=spec.has_context_class,
        )
        self._colors = Stain(spec.hematoxylin, spec.eosin).colors()

    @property
    def width_px(self) -> int:
        """Width of level 0."""
        return self.spec.width_px

    @property
    def height_px(self) -> int:
        """Height of level 0."""
        return self.spec.height_px

    @property
    def calibration(self) -> PixelCalibration:
        """Pixel size."""
        return PixelCalibration.square(self.spec.mpp)

    @property
    def classes(self) -> tuple[PathClass, ...]:
        """Classes of tissue; the position is the label."""
        return CLASSES

    @property
    def bounds(self) -> Region:
        """The whole slide."""
        return Region(x_px=0, y_px=0, width_px=self.width_px, height_px=self.height_px)

    def pixels(self, x_px: int, y_px: int, width: int, height: int) -> RgbImage:
        """Return the pixels of a block, shape (height, width, 3); white outside the slide."""
        image = np.full((height, width, 3), 255, np.uint8)
        for tile, target, source in self._pieces(x_px, y_px, width, height):
            image[target] = self._painted(tile)[source]
        return image

    def labels(self, region: Region, width: int, height: int) -> LabelMap:
        """Return the tissue at the centers of a grid laid over a region.

        Parameters
        ----------
        region : Region
            Level-0 px; may be fractional and may reach beyond the slide.
        width, height : int
            Size of the grid.

        Returns
        -------
        ndarray of uint8, shape (height, width)
            Positions in ``classes``; ``IGNORE_INDEX`` outside the slide.
        """
        labels = np.full((height, width), IGNORE_INDEX, np.uint8)
        columns = _centers(region.x_px, region.width_px, width)
        rows = _centers(region.y_px, region.height_px, height)
        for row, in_rows in _by_tile(rows, self.height_px):
            for column, in_columns in _by_tile(columns, self.width_px):
                window = self._window((column, row))
                found = self._layout.fields(window).labels[window.core]
                inner = np.ix_(rows[in_rows] - row * TILE_PX, columns[in_columns] - column * TILE_PX)
                labels[in_rows, in_columns] = found[inner]
        return labels

    def instances(self, x_px: int, y_px: int, width: int, height: int) -> InstanceMap:
        """Return the ids of the nuclei of a block: a pixel belongs to the outline that holds its center."""
        ids = np.zeros((height, width), np.int64)
        for tile, target, source in self._pieces(x_px, y_px, width, height):
            window = self._window(tile)
            nuclei = self._nuclei_of(window)
            if len(nuclei):
                ids[target] = np.concatenate([[0], nuclei.ids])[_rows(nuclei, window)[window.core][source]]
        return ids

    def nuclei(self, region: Region) -> Nuclei:
        """Return the nuclei that reach into a region, level-0 px."""
        spec = self.spec
        found = nuclei_in(self._layout, region, seed=spec.seed, mpp=spec.mpp, density=spec.nucleus_density)
        return found.within(self.width_px, self.height_px)

    def _painted(self, tile: tuple[int, int]) -> RgbImage:
        window = self._window(tile)
        fields = self._layout.fields(window)
        nuclei = self._nuclei_of(window)
        return painted(self._layout, window, fields, nuclei, _rows(nuclei, window), self._colors)

    def _window(self, tile: tuple[int, int]) -> Window:
        return Window(column=tile[0], row=tile[1], mpp=self.spec.mpp)

    def _nuclei_of(self, window: Window) -> Nuclei:
        x, y = window.origin_px
        return self.nuclei(Region(x_px=x, y_px=y, width_px=window.size_px, height_px=window.size_px))

    def _pieces(self, x_px: int, y_px: int, width: int, height: int) -> Iterator[_Piece]:
        """Tiles under a block, with the slices of the block and of the tile that coincide."""
        for row, in_rows in _by_tile(np.arange(y_px, y_px + height), self.height_px):
            for column, in_columns in _by_tile(np.arange(x_px, x_px + width), self.width_px):
                top, left = y_px - row * TILE_PX, x_px - column * TILE_PX
                source = (
                    slice(in_rows.start + top, in_rows.stop + top),
                    slice(in_columns.start + left, in_columns.stop + left),
                )
                yield (column, row), (in_rows, in_columns), source


def make_slide(spec: SyntheticSpec) -> SyntheticSlide:
    """Return the slide that a spec describes; cheap, for pixels are computed when asked for."""
    return SyntheticSlide(spec)


def write_slide(target: Path, slide: SyntheticSlide, progress: Progress | None = None) -> None:
    """Write a procedural slide of any size as a tiled pyramidal TIFF file, strip by strip.

    Raises
    ------
    DiskFullError
        If there is no space left; the target is then as before.
    """

    def strip(top: int, rows: int) -> RgbImage:
        return slide.pixels(0, top, slide.width_px, rows)

    size_px = slide.width_px, slide.height_px
    write_pyramid(target, size_px, strip, slide.calibration, progress or SilentProgress())


_Piece: TypeAlias = tuple[tuple[int, int], tuple[slice, slice], tuple[slice, slice]]


def _centers(start_px: float, length_px: float, count: int) -> Integers:
    """Level-0 px that hold the centers of ``count`` equal parts of a length."""
    centers: Integers = np.floor(start_px + (np.arange(count) + 0.5) * (length_px / count)).astype(np.int64)
    return centers


def _by_tile(positions: Integers, limit_px: int) -> Iterator[tuple[int, slice]]:
    """Tiles under ascending positions inside the slide, each with the slice of positions in it."""
    first, last = np.searchsorted(positions, (0, limit_px))
    if first == last:
        return
    for tile in range(int(positions[first]) // TILE_PX, int(positions[last - 1]) // TILE_PX + 1):
        start, stop = np.searchsorted(positions[first:last], (tile * TILE_PX, (tile + 1) * TILE_PX)) + first
        if start < stop:
            yield tile, slice(int(start), int(stop))


def _rows(nuclei: Nuclei, window: Window) -> npt.NDArray[np.int32]:
    """1 + the row of the nucleus that holds each pixel's center, 0 where none does."""
    import rasterio.features

    if not len(nuclei):
        return np.zeros((window.size_px, window.size_px), np.int32)
    local = nuclei.outlines_px - np.array(window.origin_px)
    rings = np.concatenate([local, local[:, :1]], axis=1).tolist()
    shapes = (({"type": "Polygon", "coordinates": [ring]}, row) for row, ring in enumerate(rings, start=1))
    found = rasterio.features.rasterize(shapes, out_shape=(window.size_px, window.size_px), dtype=np.int32)
    return np.asarray(found, np.int32)
