"""Nuclei as a network would see them: ellipses that touch, with their markers, in a mosaic of some size."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.draw import ellipse

from qpbridge.core.arrays import InstanceMap
from qpbridge.inference.nuclei.blocks import Block
from qpbridge.models.nuclei.targets import shape_marker

MPP = 0.5


@dataclass(frozen=True)
class Tissue:
    """True nuclei, and what a good network says about them in steps of 1/255."""

    truth: InstanceMap
    mask: npt.NDArray[np.uint8]
    marker: npt.NDArray[np.uint8]

    @property
    def layers(self) -> dict[str, npt.NDArray[np.uint8]]:
        return {"mask": self.mask[None], "marker": self.marker[None]}

    def block(self, x: int = 0, y: int = 0, width: int = 10**6, height: int = 10**6, margin: int = 10**6) -> Block:
        """A part of the mosaic with a margin around it."""
        rows, columns = self.truth.shape
        width, height = min(width, columns - x), min(height, rows - y)
        top, left = max(0, y - margin), max(0, x - margin)
        window = np.s_[:, top : min(y + height + margin, rows), left : min(x + width + margin, columns)]
        layers = {name: layer[window] for name, layer in self.layers.items()}
        return Block(x=x, y=y, width=width, height=height, left=left, top=top, layers=layers)


def tissue(seed: int, rows: int = 160, columns: int = 200, count: int = 160) -> Tissue:
    draw = np.random.default_rng(seed)
    truth = np.zeros((rows, columns), np.int32)
    for number in range(1, count + 1):
        y, x, turn = draw.uniform(0, rows), draw.uniform(0, columns), draw.uniform(0, np.pi)
        place = ellipse(y, x, *draw.uniform(4, 10, 2), shape=truth.shape, rotation=turn)
        # Some touch, none loses more than its edge.
        if (truth[place] > 0).mean() < 0.15:
            truth[place] = np.where(truth[place] > 0, truth[place], number)
    noise = draw.integers(-90, 90, truth.shape)
    mask = np.clip((truth > 0) * 160 + 48 + noise, 0, 255).astype(np.uint8)
    marker = np.where(shape_marker(truth, MPP), 230, 10).astype(np.uint8)
    return Tissue(truth=truth, mask=mask, marker=marker)
