"""Samples from slides: views read once and kept in memory, warped and recolored anew for every epoch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, RgbImage
from qpbridge.core.geometry import FieldOfView, View
from qpbridge.core.tiles import view_region
from qpbridge.models.recipe import Recipe
from qpbridge.training.augmentation.coloring import ColorChange, random_color
from qpbridge.training.augmentation.warping import Displacement, Warp, elastic, random_warp
from qpbridge.training.balancing import Sample
from qpbridge.training.patches import LabelledSlide, Labels, Patch

CACHE_BYTES = 2 << 30
"""Pixels kept in memory; patches beyond that are read again from the slide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPixels:
    """What a patch looks like: one image a view, and its labels in the frame of the finest view."""

    views: tuple[RgbImage, ...]
    labels: LabelMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tensors of some samples.

    Parameters
    ----------
    views : dict of str to Tensor, float32, shape (B, 3, H, W)
        Pixels in 0 to 1, channels last in memory.
    labels : Tensor, int64, shape (B, H, W)
        Class indices or ``IGNORE_INDEX``.
    """

    views: dict[str, torch.Tensor]
    labels: torch.Tensor

    def split(self, parts: int) -> list[Batch]:
        """Return the batch in parts of nearly equal size; fewer parts where there are fewer samples."""
        labels = self.labels.tensor_split(min(parts, len(self.labels)))
        views = {name: view.tensor_split(len(labels)) for name, view in self.views.items()}
        return [
            Batch(views={name: split[i] for name, split in views.items()}, labels=part) for i, part in enumerate(labels)
        ]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(
            views={name: view.to(device, non_blocking=True) for name, view in self.views.items()},
            labels=self.labels.to(device, non_blocking=True),
        )


class PatchReader:
    """Reads patches from open slides, several threads at a time, and keeps those read last.

    Parameters
    ----------
    slides : sequence of LabelledSlide
        A patch's ``slide`` is a position in this sequence.
    views : sequence of View
        Finest first.
    """

    def __init__(self, slides: Sequence[LabelledSlide], views: Sequence[View], cache_bytes: int = CACHE_BYTES) -> None:
        self._slides = slides
        self._views = views
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
            for view in self._views
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
        Source of pixels.
    views : sequence of View
        Finest first.
    recipe : Recipe
        Kinds and strengths of augmentation.
    seed : int
        Every sample of every epoch follows from it, whatever thread makes it.
    """

    def __init__(self, reader: PatchReader, views: Sequence[View], recipe: Recipe, seed: int) -> None:
        self._reader = reader
        self._views = views
        self._recipe = recipe
        self._seed = seed

    def plain(self, patch: Patch, labels: Labels) -> PatchPixels:
        """Return a patch as it is."""
        return PatchPixels(views=self._reader.read(patch), labels=labels.of(patch))

    def augmented(self, sample: Sample, patches: Sequence[Patch], labels: Labels, turn: tuple[int, int]) -> PatchPixels:
        """Return a sample for its turn, an epoch and a place in it: the fixed deformation of its copy, then chance."""
        rng = np.random.default_rng([self._seed, 1, *turn])
        copy = None
        if sample.copy:
            own = np.random.default_rng([self._seed, 2, sample.patch, sample.copy])
            copy = elastic(self._recipe, self._extent_px, own)
        upper = self._layer(patches[sample.patch], rng, copy)
        if sample.ground is None:
            return PatchPixels(views=upper.views(), labels=upper.labels(labels, self._views[0].fov))
        lower = self._layer(patches[sample.ground], rng)
        return _pasted(upper, lower, labels, self._views)

    def _layer(self, patch: Patch, rng: np.random.Generator, copy: Displacement | None = None) -> _Layer:
        warp = random_warp(self._recipe, self._extent_px, rng, copy)
        recolor = random_color(self._recipe, rng)
        ratios = [view.fov.mpp / self._views[0].fov.mpp for view in self._views]
        images = self._reader.read(patch)
        return _Layer(patch=patch, images=images, ratios=ratios, warp=warp, recolor=recolor)

    @property
    def _extent_px(self) -> float:
        return max(view.fov.extent_um for view in self._views) / self._views[0].fov.mpp


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A patch as one draw of chance shows it."""

    patch: Patch
    images: tuple[RgbImage, ...]
    ratios: Sequence[float]
    warp: Warp
    recolor: ColorChange

    def views(self) -> tuple[RgbImage, ...]:
        return tuple(
            self.recolor(self.warp.image(image, ratio)) for image, ratio in zip(self.images, self.ratios, strict=True)
        )

    def labels(self, labels: Labels, fov: FieldOfView, ratio: float = 1.0) -> LabelMap:
        return self.warp.labels(labels.of(self.patch, fov), ratio)


def _pasted(upper: _Layer, lower: _Layer, labels: Labels, views: Sequence[View]) -> PatchPixels:
    """Lay what is labelled in one patch over another, in every view where it lies there."""
    masks = [upper.labels(labels, view.fov, ratio) for view, ratio in zip(views, upper.ratios, strict=True)]
    below = lower.labels(labels, views[0].fov)
    return PatchPixels(
        views=tuple(
            np.where((mask != IGNORE_INDEX)[..., None], over, under)
            for mask, over, under in zip(masks, upper.views(), lower.views(), strict=True)
        ),
        labels=np.where(masks[0] != IGNORE_INDEX, masks[0], below),
    )


def batches(
    jobs: Sequence[Callable[[], PatchPixels]], views: Sequence[View], batch_size: int, threads: int
) -> Generator[Batch]:
    """Yield batches made ahead by some threads, in the order of the jobs; closed early, it waits for its threads.

    Parameters
    ----------
    jobs : sequence of callables
        Each makes one sample.
    views : sequence of View
        Names of the images of a sample.
    batch_size : int
        Samples in a batch; the last one may be smaller.
    threads : int
        Threads that make samples.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting = iter(jobs)
        ahead: list[Future[PatchPixels]] = [pool.submit(job) for job in islice(waiting, batch_size + threads)]
        try:
            while ahead:
                ready, ahead = ahead[:batch_size], ahead[batch_size:]
                samples = []
                for future in ready:
                    samples.append(future.result())
                    ahead.extend(pool.submit(job) for job in islice(waiting, 1))
                yield collate(samples, views)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def collate(samples: Sequence[PatchPixels], views: Sequence[View]) -> Batch:
    """Stack samples into tensors."""
    images = {
        view.name: images_to_tensor([sample.views[position] for sample in samples])
        for position, view in enumerate(views)
    }
    labels = torch.from_numpy(np.stack([sample.labels for sample in samples]).astype(np.int64))
    return Batch(views=images, labels=labels)


def images_to_tensor(images: Sequence[RgbImage]) -> torch.Tensor:
    """Stack images into a float tensor in 0 to 1, shape (B, 3, H, W), channels last in memory."""
    stacked: npt.NDArray[np.uint8] = np.stack(images)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float().div_(255.0)
