"""How a slide is stained, as a few numbers that a model's spec can hold. Loads no heavy library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Method: TypeAlias = Literal["macenko", "reinhard", "vahadane"]
"""How stains are measured, and pictures given those of another slide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staining:
    """How a slide is stained.

    Parameters
    ----------
    method : {"macenko", "reinhard", "vahadane"}
        In whose terms.
    rows : tuple of tuple of float
        ``"macenko"``, ``"vahadane"``: optical densities (R, G, B) of one unit of hematoxylin and of eosin, and the
        amount of each where it is strong. ``"reinhard"``: means and standard deviations of tissue in CIELAB
        (L, a, b, each in 8 bits).
    """

    method: Method
    rows: tuple[tuple[float, ...], ...]
