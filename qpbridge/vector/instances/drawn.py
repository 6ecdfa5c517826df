"""Which annotations outline nuclei, and which lie around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.objects import ObjectKind


class Painted(NamedTuple):
    """A shape to be painted; the first three fields say when: complete areas first, then larger before smaller."""

    is_detail: bool
    minus_area_px2: float
    id: str
    geometry: BaseGeometry
    label: int
    rater: str | None
    kind: ObjectKind


def without_tissue(painted: Sequence[Painted]) -> list[Painted]:
    """Leave annotations out that lie around two nuclei or more: they outline tissue.

    Parameters
    ----------
    painted : sequence of Painted
        Nuclei of one image, also of unknown class, and complete areas; valid geometries, level-0 px.

    Returns
    -------
    list of Painted
        The others, in their order: a nucleus may have been outlined over another one, but not over two.
    """
    rows = [i for i, entry in enumerate(painted) if entry.is_detail]
    drawn = [i for i in rows if painted[i].kind is ObjectKind.ANNOTATION and painted[i].label != IGNORE_INDEX]
    if not drawn:
        return list(painted)
    tree = shapely.STRtree(shapely.centroid([painted[i].geometry for i in rows]))
    around, inside = tree.query([painted[i].geometry for i in drawn], predicate="contains")
    are_others = np.array(drawn)[around] != np.array(rows)[inside]
    others = np.bincount(around[are_others], minlength=len(drawn))
    tissue = {i for i, count in zip(drawn, others, strict=True) if count > 1}
    return [entry for i, entry in enumerate(painted) if i not in tissue]
