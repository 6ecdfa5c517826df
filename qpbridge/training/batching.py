"""Batches of tensors from samples, made ahead by threads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from qpbridge.core.arrays import RgbImage
from qpbridge.core.geometry import View
from qpbridge.models.family import LABELS, Targets
from qpbridge.training.reading import PatchPixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tensors of some samples.

    Parameters
    ----------
    views : dict of str to Tensor, float32, shape (B, 3, H, W)
        Pixels in 0 to 1, channels last in memory.
    targets : dict of str to Tensor
        ``LABELS`` and what the family adds, each with a first axis B.
    """

    views: dict[str, torch.Tensor]
    targets: Targets

    @property
    def labels(self) -> torch.Tensor:
        """Class indices or ``IGNORE_INDEX``, int64, shape (B, H, W)."""
        return self.targets[LABELS]

    def split(self, parts: int) -> list[Batch]:
        """Return the batch in parts of nearly equal size; fewer parts where there are fewer samples."""
        count = min(parts, len(self.labels))
        views, targets = (
            {name: tensor.tensor_split(count) for name, tensor in tensors.items()}
            for tensors in (self.views, self.targets)
        )
        return [
            Batch(
                views={name: split[i] for name, split in views.items()},
                targets={name: split[i] for name, split in targets.items()},
            )
            for i in range(count)
        ]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(
            views={name: view.to(device, non_blocking=True) for name, view in self.views.items()},
            targets={name: target.to(device, non_blocking=True) for name, target in self.targets.items()},
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
    targets = {
        name: torch.from_numpy(np.stack([sample.targets[name] for sample in samples])) for name in samples[0].targets
    }
    targets[LABELS] = torch.from_numpy(np.stack([sample.labels for sample in samples]).astype(np.int64))
    return Batch(views=images, targets=targets)


def images_to_tensor(images: Sequence[RgbImage]) -> torch.Tensor:
    """Stack images into a float tensor in 0 to 1, shape (B, 3, H, W), channels last in memory."""
    stacked: npt.NDArray[np.uint8] = np.stack(images)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float().div_(255.0)
