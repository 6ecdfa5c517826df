"""How labels become outlines; loads no heavy library, so that requests can name the defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from qpbridge.errors import InvalidValueError

DEFAULT_MIN_AREA_UM2: Final = 200.0
"""Smaller regions are noise: 200 µm² is a disk of 16 µm, about one cell, and no tissue consists of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlining:
    """How labels become outlines.

    Parameters
    ----------
    min_area_um2 : float
        Smaller pieces join the neighbor with the longest shared border; 0 keeps all.
    smooth_um : float
        Tolerance of smoothing; 0 keeps the outlines on pixel edges, where area equals pixel count exactly.

    Raises
    ------
    InvalidValueError
        If one is negative or not finite.
    """

    min_area_um2: float = DEFAULT_MIN_AREA_UM2
    smooth_um: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("min-area-um2", self.min_area_um2), ("smooth-um", self.smooth_um)):
            if not (math.isfinite(value) and value >= 0):
                raise InvalidValueError(f"{name} must be 0 or more, not {value}")
