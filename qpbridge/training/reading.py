"""Samples from slides: views read once and kept in memory, warped and recolored anew for every epoch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import IGNORE_INDEX, InstanceMap, LabelMap, Mask, RgbImage
from qpbridge.core.geometry import FieldOfView, View
from qpbridge.core.tiles import view_region
from qpbridge.models.family import Encoding, Truth
from qpbridge.models.recipe import Recipe
from qpbridge.training.augmentation.coloring import ColorChange, random_color
from qpbridge.training.augmentation.warping import Displacement, Warp, elastic, random_warp, rim_px
from qpbridge.training.balancing import Sample
from qpbridge.training.patches import Known, LabelledSlide, Patch

CACHE_BYTES = 2 << 30
"""Pixels kept in memory; patches beyond that are read again from the slide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPixels:
    """What a patch looks like, and what is known about it.

    Parameters
    ----------
    views : tuple of ndarray of uint8, shape (size_px, size_px, 3)
        One image a view.
    labels : ndarray of uint8, shape (size_px, size_px)
        In the frame of the finest view.
    targets : mapping of str to ndarray
        What the family makes of the truth beyond the labels.
    """

    views: tuple[RgbImage, ...]
    labels: LabelMap
    targets: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


class PatchReader:
    """Reads patches from open slides, several threads at a time, and keeps those read last.

    Parameters
    ----------
    slides : sequence of LabelledSlide
        A patch's ``slide`` is a position in this sequence.
    views : sequence of View
        Finest first; with the rim that augmentation needs.
    """

    def __init__(self, slides: Sequence[LabelledSlide], views: Sequence[View], cache_bytes: int = CACHE_BYTES) -> None:
        self.views = tuple(views)
        self._slides = slides
        self._room = cache_bytes
        self._kept: OrderedDict[Patch, tuple[RgbImage, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, patch: Patch) -> tuple[RgbImage, ...]:
        """Return one image a view, uint8, shape (size_px, size_px, 3)."""
        with self._lock:
            if patch in self._kept:
                self._kept.move_to_end(patch)
                return self._kept[patch]
        slide = self._slides[patch.slide]
        images = tuple(
            slide.slide.read(
                view_region(patch.center_px, view.fov, slide.calibration), view.fov.size_px, view.fov.size_px
            )
            for view in self.views
        )
        self._keep(patch, images)
        return images

    def _keep(self, patch: Patch, images: tuple[RgbImage, ...]) -> None:
        with self._lock:
            if patch not in self._kept:
                self._kept[patch] = images
                self._room -= sum(image.nbytes for image in images)
            while self._room < 0 and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._room += sum(image.nbytes for image in dropped)


class SampleMaker:
    """Makes augmented training samples and plain validation samples.

    Parameters
    ----------
    reader : PatchReader
        Source of pixels, with the same views, or those ``with_rims``.
    views : sequence of View
        Finest first.
    recipe : Recipe
        Kinds and strengths of augmentation.
    seed : int
        Every sample of every epoch follows from it, whatever thread makes it.
    encoding : Encoding
        What the model needs to know about a sample, and what it makes of that.
    """

    def __init__(
        self, reader: PatchReader, views: Sequence[View], recipe: Recipe, seed: int, encoding: Encoding
    ) -> None:
        self._reader = reader
        self._views = views
        self._recipe = recipe
        self._seed = seed
        self._encoding = encoding
        self._asks_for = encoding.asks_for
        # The finest view, and the coarsest where the model wants to know what lies around.
        self._known = (0,) if "surroundings" not in encoding.asks_for else (0, len(views) - 1)

    def plain(self, patch: Patch, labels: Known) -> PatchPixels:
        """Return a patch as it is."""
        images = zip(self._reader.read(patch), self._views, strict=True)
        known = [labels.of(patch, self._views[i].fov) for i in self._known]
        centers = tuple(_center(image, view.fov.size_px) for image, view in images)
        return self._sample(centers, known, self._further(_Plain(patch=patch, fov=self._views[0].fov), labels))

    def augmented(self, sample: Sample, patches: Sequence[Patch], labels: Known, turn: tuple[int, int]) -> PatchPixels:
        """Return a sample for its turn, an epoch and a place in it: the fixed deformation of its copy, then chance."""
        rng = np.random.default_rng([self._seed, 1, *turn])
        copy = None
        if sample.copy:
            own = np.random.default_rng([self._seed, 2, sample.patch, sample.copy])
            copy = elastic(self._recipe, self._extent_px, own)
        upper = self._layer(patches[sample.patch], rng, copy)
        if sample.ground is None:
            known = [upper.labels(labels, i) for i in self._known]
            return self._sample(upper.images(), known, self._further(upper, labels))
        lower = self._layer(patches[sample.ground], rng)
        return self._pasted(upper, lower, labels)

    def _layer(self, patch: Patch, rng: np.random.Generator, copy: Displacement | None = None) -> _Layer:
        warp = random_warp(self._recipe, self._extent_px, rng, copy)
        recolor = random_color(self._recipe, rng)
        return _Layer(patch=patch, reader=self._reader, views=self._views, warp=warp, recolor=recolor)

    def _pasted(self, upper: _Layer, lower: _Layer, labels: Known) -> PatchPixels:
        """Lay what is labelled in one patch over another, in every view where it lies there."""
        masks = [upper.labels(labels, i) for i in range(len(self._views))]
        images = tuple(
            np.where((mask != IGNORE_INDEX)[..., None], over, under)
            for mask, over, under in zip(masks, upper.images(), lower.images(), strict=True)
        )
        known = [np.where(masks[i] != IGNORE_INDEX, masks[i], lower.labels(labels, i)) for i in self._known]
        instances = self._pasted_instances(upper, lower, labels, masks[0]) if "instances" in self._asks_for else None
        return self._sample(images, known, {"instances": instances})

    def _pasted_instances(self, upper: _Layer, lower: _Layer, labels: Known, mask: LabelMap) -> InstanceMap:
        over, under = upper.instances(labels), lower.instances(labels)
        apart = np.where(under > 0, under + over.max(initial=0), 0)
        return np.where(mask != IGNORE_INDEX, over, apart).astype(np.int32)

    def _further(self, layer: _Plain | _Layer, labels: Known) -> dict[str, Any]:
        """Return the parts of the truth beyond labels that the model asks for."""
        parts: dict[str, Any] = {}
        if "instances" in self._asks_for:
            parts["instances"] = layer.instances(labels)
        if "tags" in self._asks_for:
            parts |= {"presence": labels.presence(layer.patch), "tagged": layer.tagged(labels)}
        if "masks" in self._asks_for:
            parts["masks"] = layer.masks(labels)
        return parts

    def _sample(
        self, images: tuple[RgbImage, ...], known: Sequence[LabelMap], further: Mapping[str, Any]
    ) -> PatchPixels:
        truth = Truth(
            labels=known[0],
            surroundings=known[-1] if len(known) > 1 else None,
            mpp=self._views[0].fov.mpp,
            classes=self._encoding.classes,
            **further,
        )
        encode = self._encoding.encode
        return PatchPixels(views=images, labels=truth.labels, targets={} if encode is None else encode(truth))

    @property
    def _extent_px(self) -> float:
        return max(view.fov.extent_um for view in self._views) / self._views[0].fov.mpp


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plain:
    """A patch as it is."""

    patch: Patch
    fov: FieldOfView

    def instances(self, labels: Known) -> InstanceMap:
        return labels.instances(self.patch, self.fov)

    def tagged(self, labels: Known) -> Mask | None:
        return labels.tagged(self.patch, self.fov)

    def masks(self, labels: Known) -> npt.NDArray[np.uint8] | None:
        return labels.masks(self.patch, self.fov)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A patch as one draw of chance shows it."""

    patch: Patch
    reader: PatchReader
    views: Sequence[View]
    warp: Warp
    recolor: ColorChange

    def images(self) -> tuple[RgbImage, ...]:
        return tuple(
            self.recolor(self.warp.image(image, self._ratio(view), view.fov.size_px))
            for image, view in zip(self.reader.read(self.patch), self.views, strict=True)
        )

    def labels(self, labels: Known, position: int) -> LabelMap:
        view = self.views[position]
        wide = labels.of(self.patch, self.reader.views[position].fov)
        return self.warp.labels(wide, self._ratio(view), view.fov.size_px)

    def instances(self, labels: Known) -> InstanceMap:
        wide = labels.instances(self.patch, self.reader.views[0].fov)
        return self.warp.instances(wide, self.views[0].fov.size_px)

    def tagged(self, labels: Known) -> Mask | None:
        wide = labels.tagged(self.patch, self.reader.views[0].fov)
        if wide is None:
            return None
        return np.asarray(self._warped(np.where(wide, 0, IGNORE_INDEX).astype(np.uint8)) == 0, np.bool_)

    def masks(self, labels: Known) -> npt.NDArray[np.uint8] | None:
        wide = labels.masks(self.patch, self.reader.views[0].fov)
        return None if wide is None else np.stack([self._warped(one) for one in wide])

    def _warped(self, wide: LabelMap) -> LabelMap:
        return self.warp.labels(wide, 1.0, self.views[0].fov.size_px)

    def _ratio(self, view: View) -> float:
        return view.fov.mpp / self.views[0].fov.mpp


def with_rims(views: Sequence[View], recipe: Recipe) -> tuple[View, ...]:
    """Return the views as they must be read, so that augmentation turns in tissue and not its mirror image."""
    return tuple(
        replace(view, fov=replace(view.fov, size_px=view.fov.size_px + 2 * rim_px(recipe, view.fov.size_px)))
        for view in views
    )


def _center(image: RgbImage, size: int) -> RgbImage:
    rim = (len(image) - size) // 2
    return image[rim : rim + size, rim : rim + size]
