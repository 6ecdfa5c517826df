"""A trained network, ready to label batches of tiles on a device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from qpbridge.core.arrays import RgbImage
from qpbridge.core.geometry import View
from qpbridge.core.objects import BACKGROUND_CLASS
from qpbridge.core.progress import Progress
from qpbridge.errors import DeviceMemoryError
from qpbridge.inference.device import Runtime, is_out_of_memory, repeatable
from qpbridge.inference.maps.turning import AS_IT_IS, Turn
from qpbridge.models.family import Outputs
from qpbridge.models.registry import family
from qpbridge.models.spec import ModelClass

if TYPE_CHECKING:
    from qpbridge.models.bundle import Bundle

Batch: TypeAlias = dict[str, Tensor]
"""Pixels by view, uint8, shape (B, H, W, 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmenter:
    """A network that labels every pixel of its finest view.

    Parameters
    ----------
    network : nn.Module
        Takes a dict of one float tensor (B, 3, H, W) in 0 to 1 for each view.
    views : tuple of View
        Inputs, the finest first; its frame is that of the output.
    classes : tuple of ModelClass
        In the order of the output channels.
    probabilities : callable
        Turns the network's outputs into a tensor (B, K, H, W): of classes, or all that nuclei are decoded from.
    """

    network: nn.Module
    views: tuple[View, ...]
    classes: tuple[ModelClass, ...]
    probabilities: Callable[[Outputs], Tensor]

    @classmethod
    def of(cls, bundle: Bundle) -> Segmenter:
        """Return the segmenter in a bundle."""
        spec, kind = bundle.spec, family(bundle.spec.family)
        return cls(
            network=bundle.network,
            views=spec.views,
            classes=spec.classes,
            probabilities=kind.maps or kind.probabilities,
        )

    @property
    def background(self) -> int | None:
        """Label of blank glass: the class "Background", or else the output that is never written back."""
        names = [item.name for item in self.classes]
        if BACKGROUND_CLASS in names:
            return names.index(BACKGROUND_CLASS)
        return next((label for label, item in enumerate(self.classes) if not item.is_written), None)


class Engine:
    """Runs a segmenter on a device.

    Parameters
    ----------
    segmenter : Segmenter
        Its network is moved to the device and put into evaluation mode.
    runtime : Runtime
        Device, precision and batch size.
    progress : Progress
        Hears when memory runs out.
    turns : sequence of Turn
        Class probabilities are the mean over these.
    """

    def __init__(
        self, segmenter: Segmenter, runtime: Runtime, progress: Progress, turns: Sequence[Turn] = AS_IT_IS
    ) -> None:
        self.segmenter = segmenter
        self.runtime = runtime
        self._progress = progress
        self._turns = tuple(turns)
        self._limit = runtime.batch_size
        network = segmenter.network.to(runtime.device).eval()
        self._network: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def load(self, images: Sequence[Sequence[RgbImage]]) -> Batch:
        """Stack the images of some tiles, one a view, where the device can fetch them; any thread may ask.

        Parameters
        ----------
        images : sequence of sequence of RgbImage
            For each tile, its views, uint8, shape (H, W, 3).
        """
        batch = {
            view.name: torch.from_numpy(np.stack([views[position] for views in images]))
            for position, view in enumerate(self.segmenter.views)
        }
        is_gpu = self.runtime.device.type == "cuda"
        return {name: pixels.pin_memory() for name, pixels in batch.items()} if is_gpu else batch

    def labels(self, batch: Batch) -> Tensor:
        """Return the most probable class of each pixel of the finest view, uint8, shape (B, H, W), on the device.

        Where memory runs out, the batch is halved, from then on.

        Raises
        ------
        DeviceMemoryError
            If a single tile does not fit.
        """
        return self._in_parts(batch, lambda part: self._forward(part).argmax(dim=1).to(torch.uint8))

    def probabilities(self, batch: Batch) -> Tensor:
        """Return the class probabilities of each pixel of the finest view, float32, shape (B, K, H, W), on the device.

        As for ``labels``.
        """
        return self._in_parts(batch, self._forward)

    def _in_parts(self, batch: Batch, compute: Callable[[Batch], Tensor]) -> Tensor:
        total = len(next(iter(batch.values())))
        parts: list[Tensor] = []
        start = 0
        while start < total:
            part = {name: pixels[start : start + self._limit] for name, pixels in batch.items()}
            try:
                parts.append(compute(part))
                start += self._limit
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)
        return torch.cat(parts)

    @torch.inference_mode()
    def _forward(self, batch: Batch) -> Tensor:
        device = self.runtime.device
        views = {
            name: pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255.0)
            for name, pixels in batch.items()
        }
        mean = self._turned(views, self._turns[0])
        for turn in self._turns[1:]:
            mean = mean + self._turned(views, turn)
        return mean if len(self._turns) == 1 else mean / len(self._turns)

    def _turned(self, views: dict[str, Tensor], turn: Turn) -> Tensor:
        with self._precision():
            outputs = self._network({name: turn.there(pixels) for name, pixels in views.items()})
        exact = {name: output.float() for name, output in outputs.items()}
        return turn.back(self.segmenter.probabilities(exact))

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        is_bf16, device = self.runtime.is_bf16, self.runtime.device
        with repeatable(device), torch.autocast(device.type, torch.bfloat16, enabled=is_bf16):
            yield

    def _halve(self, error: RuntimeError) -> None:
        name = str(self.runtime.device)
        if self._limit == 1:
            raise DeviceMemoryError(
                f"a single tile does not fit the memory of {name}: close what else uses it, or take --device cpu"
            ) from error
        self._progress.warn(f"memory of {name} ran out at {self._limit} tiles at once; went on with {self._limit // 2}")
        self._limit //= 2
        if self.runtime.device.type == "cuda":
            torch.cuda.empty_cache()
