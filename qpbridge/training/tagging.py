"""Where samples of tagged areas lie: an area is a sample where a patch holds it, otherwise patches side by side are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import shapely

from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region
from qpbridge.core.progress import Progress
from qpbridge.core.tiles import view_region
from qpbridge.errors import NothingToTrainError
from qpbridge.slides.tissue import TissueMask, tissue_mask
from qpbridge.training.patches import LabelledSlide, Patch
from qpbridge.vector.labels import TaggedArea

OVERHANG: Final = 0.1
"""Part of a patch's edge by which an area may reach over it: nobody draws to the pixel."""

LEAST_SHARE: Final = 0.1
"""Of a patch that its area covers, where an area takes several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedPatches:
    """Patches of tagged areas.

    Parameters
    ----------
    patches : tuple of Patch
        Slide by slide, area by area.
    presence : ndarray of int64, shape (P, K)
        1 where a class occurs, 0 where not, -1 where that is unknown.
    larger : int
        Areas that take several patches, each of which takes all their tags.
    """

    patches: tuple[Patch, ...]
    presence: npt.NDArray[np.int64]
    larger: int


def tagged_patches(
    slides: Sequence[LabelledSlide], fov: FieldOfView, classes: int, progress: Progress
) -> TaggedPatches:
    """Return the patches of all tagged areas of which anything is known.

    An area that a patch holds is shown by one at its center. A larger one is covered with patches side by side, of
    which those count that lie in it and show tissue.

    Parameters
    ----------
    slides : sequence of LabelledSlide
        With their tagged areas.
    fov : FieldOfView
        Of the finest view.
    classes : int
        Number of classes.
    progress : Progress
        Told of every slide; asked for cancellation.
    """
    patches: list[Patch] = []
    presence: list[list[int]] = []
    larger = 0
    for i, slide in enumerate(slides):
        progress.raise_if_cancelled()
        tissue: TissueMask | None = None
        for j, area in enumerate(slide.tagged):
            centers = _centers(area, fov, slide.calibration)
            if len(centers) > 1:
                larger += 1
                tissue = tissue or tissue_mask(slide.slide, slide.calibration)
                centers = [one for one in centers if _is_shown(view_region(one, fov, slide.calibration), area, tissue)]
            patches += [Patch(slide=i, center_px=one, area=j) for one in centers]
            presence += [[-1 if known is None else int(known) for known in area.presence] for _ in centers]
        progress.report("find patches", i + 1, len(slides))
    found = np.array(presence, np.int64).reshape(len(patches), classes)
    return TaggedPatches(patches=tuple(patches), presence=found, larger=larger)


def _centers(area: TaggedArea, fov: FieldOfView, calibration: PixelCalibration) -> list[tuple[float, float]]:
    if all(known is None for known in area.presence):
        return []
    left, top, right, bottom = area.geometry.bounds
    patch = view_region((0.0, 0.0), fov, calibration)
    columns, rows = _spread(left, right, patch.width_px), _spread(top, bottom, patch.height_px)
    return [(x, y) for y in rows for x in columns]


def _spread(start: float, stop: float, edge: float) -> list[float]:
    """Return the middles of as few edges as cover an extent, side by side or overlapping evenly."""
    count = max(1, math.ceil((stop - start) / edge - OVERHANG))
    if count == 1:
        return [(start + stop) / 2]
    return [float(middle) for middle in np.linspace(start + edge / 2, stop - edge / 2, count)]


def _is_shown(region: Region, area: TaggedArea, tissue: TissueMask) -> bool:
    box = shapely.box(region.x_px, region.y_px, region.right_px, region.bottom_px)
    return bool(area.geometry.intersection(box).area >= LEAST_SHARE * box.area) and tissue.covers(region)


def tagged_areas_px(tagged: Sequence[TaggedArea], bounds: Region) -> Mapping[int, float]:
    """Return the area that is tagged with each class, by label, level-0 px², as far as it lies in the bounds."""
    frame = shapely.box(bounds.x_px, bounds.y_px, bounds.right_px, bounds.bottom_px)
    areas: defaultdict[int, float] = defaultdict(float)
    for one in tagged:
        for label, known in enumerate(one.presence):
            areas[label] += float(one.geometry.intersection(frame).area) if known else 0.0
    return {label: area for label, area in areas.items() if area}


def check_learnable(presence: npt.NDArray[np.int64], names: Sequence[str]) -> None:
    """Refuse classes that no tags tell apart.

    Parameters
    ----------
    presence : ndarray of int64, shape (P, K)
        1 where a class occurs, 0 where not, anything else where that is unknown.
    names : sequence of str
        Of the classes.

    Raises
    ------
    NothingToTrainError
        If one always or never occurs.
    """
    with_class, without = (presence == 1).sum(axis=0), (presence == 0).sum(axis=0)
    if missing := [name for name, count in zip(names, with_class, strict=True) if not count]:
        raise NothingToTrainError(
            f"nothing to learn {', '.join(map(repr, missing))} from: no tagged area that is left to learn from shows"
            " it; tag more areas, or leave it out of --classes"
        )
    if everywhere := [name for name, count in zip(names, without, strict=True) if not count]:
        raise NothingToTrainError(
            f"nothing tells where {', '.join(map(repr, everywhere))} is: no tagged area is known to be without it; tag"
            " some that lack it, or leave it out of --classes"
        )
