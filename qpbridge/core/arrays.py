"""Array types shared by all rooms."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

RgbImage: TypeAlias = npt.NDArray[np.uint8]
"""Pixels, uint8, shape (H, W, 3)."""

LabelMap: TypeAlias = npt.NDArray[np.uint8]
"""Class indices, uint8, shape (H, W); ``IGNORE_INDEX`` where nothing is known."""

InstanceMap: TypeAlias = npt.NDArray[np.int32]
"""Which object each pixel belongs to, int32, shape (H, W); 0 where there is none."""

Mask: TypeAlias = npt.NDArray[np.bool_]
"""True where something is, shape (H, W)."""

IGNORE_INDEX: Final = 255
"""Label of pixels that nobody annotated: never background, never a network output."""
