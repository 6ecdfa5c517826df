"""Where training samples lie: patch centers on a grid over annotated slides, and the labels at each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX, InstanceMap, LabelMap, Mask
from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region
from qpbridge.core.progress import Progress
from qpbridge.core.tiles import TileGrid, view_region
from qpbridge.slides.slide import Slide
from qpbridge.vector.instances.painting import InstanceIndex
from qpbridge.vector.labels import TaggedArea
from qpbridge.vector.raster import ShapeIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSlide:
    """An open slide and what is known about its pixels.

    Parameters
    ----------
    key : str
        Entry id; names the slide in splits and reports.
    slide : Slide
        Pixels.
    calibration : PixelCalibration
        Fitted to the model's mpp.
    shapes : tuple of (geometry, int)
        Labelled shapes in painter's order, level-0 px.
    nuclei : tuple of geometry
        Single nuclei, earlier ones on top; empty where tissue is learned.
    tagged : tuple of TaggedArea
        Areas of which tags say what occurs in them, level-0 px; empty where tags are not learned from.
    """

    key: str
    slide: Slide
    calibration: PixelCalibration
    shapes: tuple[tuple[BaseGeometry, int], ...]
    nuclei: tuple[BaseGeometry, ...] = ()
    tagged: tuple[TaggedArea, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One place to learn from.

    Parameters
    ----------
    slide : int
        Position among the slides.
    center_px : tuple of float
        Center, level-0 px.
    area : int or None
        Position among the slide's tagged areas, of the one that the patch shows.
    """

    slide: int
    center_px: tuple[float, float]
    area: int | None = None


class Known(Protocol):
    """What is known of patches, whoever says so; arguments and shapes as for ``Labels``."""

    def of(self, patch: Patch, fov: FieldOfView | None = None) -> LabelMap:
        """Return labels of pixels."""

    def masks(self, patch: Patch, fov: FieldOfView) -> npt.NDArray[np.uint8] | None:
        """Return several labels of each pixel, uint8, shape (T, size_px, size_px), where there are."""

    def instances(self, patch: Patch, fov: FieldOfView) -> InstanceMap:
        """Return which nucleus a pixel belongs to."""

    def presence(self, patch: Patch) -> npt.NDArray[np.int64] | None:
        """Return which classes occur according to tags."""

    def tagged(self, patch: Patch, fov: FieldOfView) -> Mask | None:
        """Return which pixels the tags are about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSet:
    """Patches of one split, with their labels.

    Parameters
    ----------
    patches : sequence of Patch
        Places.
    counts : ndarray of int64, shape (P, K)
        Labelled pixels of each class in each patch.
    labels : Known
        What is known at these places.
    """

    patches: Sequence[Patch]
    counts: npt.NDArray[np.int64]
    labels: Known


class Labels:
    """Labels of patches of some slides, painted when asked for.

    Parameters
    ----------
    slides : sequence of LabelledSlide
        A patch's ``slide`` is a position in this sequence.
    fov : FieldOfView
        Of the finest view; labels lie in its frame.
    classes : int
        Number of classes.
    hidden : sequence of Patch
        Patches whose target pixels are unknown here since they are held back for validation.
    """

    def __init__(
        self, slides: Sequence[LabelledSlide], fov: FieldOfView, classes: int, hidden: Sequence[Patch] = ()
    ) -> None:
        self._slides = slides
        self._fov = fov
        self._classes = classes
        veils = [[_veil(patch, slide, fov) for patch in hidden if patch.slide == i] for i, slide in enumerate(slides)]
        self._indices = [ShapeIndex([*slide.shapes, *veil]) for slide, veil in zip(slides, veils, strict=True)]
        self._nuclei = [InstanceIndex(slide.nuclei) for slide in slides]
        self._veils = [ShapeIndex([(shape, 0) for shape, _ in veil]) if veil else None for veil in veils]

    def of(self, patch: Patch, fov: FieldOfView | None = None) -> LabelMap:
        """Return the labels of a patch in a field of view, by default the finest, uint8, shape (size_px, size_px)."""
        fov = self._fov if fov is None else fov
        region = view_region(patch.center_px, fov, self._slides[patch.slide].calibration)
        return self._indices[patch.slide].rasterize(region, fov.size_px, fov.size_px)

    def instances(self, patch: Patch, fov: FieldOfView) -> InstanceMap:
        """Return the number of the nucleus at each pixel, int32, shape (size_px, size_px); 0 for none.

        Numbers count from 1 in the order of the slide's nuclei. Where pixels are held back, there is none.
        """
        region = view_region(patch.center_px, fov, self._slides[patch.slide].calibration)
        found = self._nuclei[patch.slide].rasterize(region, fov.size_px, fov.size_px)
        veil = self._veils[patch.slide]
        if veil is None:
            return found
        # A nucleus is known wherever it was drawn, so that unknown labels alone would not hide it.
        return np.where(veil.rasterize(region, fov.size_px, fov.size_px) == 0, 0, found)

    def masks(self, patch: Patch, fov: FieldOfView) -> npt.NDArray[np.uint8] | None:
        """Return None: people label a pixel once."""
        del patch, fov
        return None

    def presence(self, patch: Patch) -> npt.NDArray[np.int64] | None:
        """Return 1, 0 or ``IGNORE_INDEX`` for each class by the tags of the patch's area, int64, shape (K,)."""
        area = self._area(patch)
        if area is None:
            return None
        return np.array([IGNORE_INDEX if one is None else one for one in area.presence], np.int64)

    def tagged(self, patch: Patch, fov: FieldOfView) -> Mask | None:
        """Return which pixels lie in the patch's area, bool, shape (size_px, size_px)."""
        area = self._area(patch)
        if area is None:
            return None
        region = view_region(patch.center_px, fov, self._slides[patch.slide].calibration)
        painted = ShapeIndex([(area.geometry, 0)]).rasterize(region, fov.size_px, fov.size_px)
        return np.asarray(painted == 0, np.bool_)

    def _area(self, patch: Patch) -> TaggedArea | None:
        return None if patch.area is None else self._slides[patch.slide].tagged[patch.area]

    def count(self, patch: Patch) -> npt.NDArray[np.int64]:
        """Return the labelled pixels of each class in a patch, shape (K,)."""
        return np.bincount(self.of(patch).ravel(), minlength=IGNORE_INDEX + 1)[: self._classes].astype(np.int64)

    def find(
        self, stride_px: int, min_labelled_share: float, progress: Progress
    ) -> tuple[list[Patch], npt.NDArray[np.int64]]:
        """Return the patches of which more than a share is labelled.

        Parameters
        ----------
        stride_px : int
            Distance of patch centers, px of the finest view.
        min_labelled_share : float
            Share of a patch's pixels (Ho et al. 2021, sec. 2.3: 1 %).
        progress : Progress
            Told every patch; asked for cancellation.

        Returns
        -------
        patches : list of Patch
            Slide by slide, row by row.
        counts : ndarray of int64, shape (P, K)
            Labelled pixels of each class in each patch.
        """
        least = min_labelled_share * self._fov.size_px**2
        patches: list[Patch] = []
        counts: list[npt.NDArray[np.int64]] = []
        candidates = self._candidates(stride_px)
        for done, patch in enumerate(candidates, start=1):
            progress.raise_if_cancelled()
            count = self.count(patch)
            progress.report("find patches", done, len(candidates))
            if count.sum() > least:
                patches.append(patch)
                counts.append(count)
        return patches, np.array(counts, np.int64).reshape(len(patches), self._classes)

    def _candidates(self, stride_px: int) -> list[Patch]:
        return [
            patch
            for i, slide in enumerate(self._slides)
            if slide.shapes
            for patch in _touching(i, slide, FieldOfView(size_px=stride_px, mpp=self._fov.mpp), self._fov)
        ]


def _touching(index: int, slide: LabelledSlide, step: FieldOfView, fov: FieldOfView) -> list[Patch]:
    whole = Region(x_px=0, y_px=0, width_px=slide.slide.width_px, height_px=slide.slide.height_px)
    grid = TileGrid(region=whole, fov=step, margin_px=0, calibration=slide.calibration)
    centers = [tile.center_px for tile in grid]
    regions = [view_region(center, fov, slide.calibration) for center in centers]
    boxes = shapely.box(
        [r.x_px for r in regions],
        [r.y_px for r in regions],
        [r.right_px for r in regions],
        [r.bottom_px for r in regions],
    )
    tree = shapely.STRtree([geometry for geometry, _ in slide.shapes])
    touched = np.unique(tree.query(boxes, predicate="intersects")[0])
    return [Patch(slide=index, center_px=centers[i]) for i in touched]


def _veil(patch: Patch, slide: LabelledSlide, fov: FieldOfView) -> tuple[BaseGeometry, int]:
    region = view_region(patch.center_px, fov, slide.calibration)
    return shapely.box(region.x_px, region.y_px, region.right_px, region.bottom_px), IGNORE_INDEX
