"""From probabilities of mask and marker to single nuclei. Maps in px of the mosaic, sizes in µm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from qpbridge.core.arrays import InstanceMap, Mask
from qpbridge.models.nuclei.targets import EROSION_RADII_UM, erosion_radii_um
from qpbridge.models.recipe import NotNegative, Positive, Settings, Share
from qpbridge.vector.instances.depths import squared_depths
from qpbridge.vector.instances.growing import grow_within
from qpbridge.vector.instances.pieces import chosen, fill_holes, largest_pieces, pieces, survey

ProbabilityMap: TypeAlias = npt.NDArray[np.uint8]
"""Probabilities in steps of 1/255, uint8, shape (H, W)."""

CERTAIN: Final = 255
"""What a probability of 1 is in a ``ProbabilityMap``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding(Settings):
    """How probabilities become nuclei. Areas are those of Rahmon et al.'s public program at 0.25 µm/px."""

    grow: Literal["within_mask", "free"] = "within_mask"
    """How markers become nuclei: they spread over the mask and end there, or, as published, lines between them cut
    the mask, and all pieces then grow by a pixel."""

    mask_threshold: Share = 0.45
    """What is more probable is nucleus (public program: 0.1, for targets that its resizing had made smaller). A little
    below a half, since where annotators are unsure, a rim too wide costs less than one too narrow."""

    marker_threshold: Share = 0.4
    """What is more probable is marker (public program: 0.1); what this makes one, the next ones part again."""

    split_thresholds: tuple[Share, ...] = (0.6, 0.7, 0.8)
    """A marker that falls apart above one of these is as many markers, and a nucleus that was one becomes several (not
    published: of two nuclei that a network hardly tells apart, it is still less sure in between)."""

    min_split_area_um2: NotNegative = 3.0
    """Parts of a marker that are smaller do not count for that: within one nucleus, a network is not equally sure."""

    min_area_um2: NotNegative = 3.125
    """Smaller nuclei are left out (public program: 50 px)."""

    min_marker_area_um2: NotNegative = 0.3125
    """Smaller markers are left out (public program: 20 px; but markers of small nuclei are smaller, and without its
    marker a nucleus is lost to a neighbor that it touches)."""

    max_hole_area_um2: NotNegative = 6.25
    """Smaller holes are filled (public program: 100 px)."""

    reach_um: Positive = 10.0
    """Markers spread no further; what is left of the mask beyond is a nucleus of its own. Not published: with the next
    one it makes a nucleus depend on its surroundings only, however tissue hangs together."""

    max_extent_um: Positive = 40.0
    """What is longer or wider is no nucleus."""

    def margin_px(self, mpp: float) -> int:
        """Return how much around a part of a mosaic must be known, so that its nuclei are those of the whole.

        Nuclei whose centroid lies in the part reach ``max_extent_um`` out of it, what competes with them reaches
        further, and whether that is large enough to count shows within its least area. Whether a marker falls apart
        shows within another extent: a longer one does, if anything of it is left.
        """
        extents = 2 if self.grow == "free" or self.split_thresholds else 1
        reach_px = (extents * self.max_extent_um + self.reach_um) / mpp
        least_px = max(self.min_area_um2, self.min_marker_area_um2, self.max_hole_area_um2) / mpp**2
        return math.ceil(reach_px + least_px) + 2


PUBLISHED: Final = Decoding(
    grow="free", mask_threshold=0.1, marker_threshold=0.1, split_thresholds=(), min_marker_area_um2=1.25
)
"""As in Rahmon et al. 2022 and their public program, for networks trained on its smaller targets."""

DECODINGS: Final[Mapping[str, Decoding]] = {"within_mask": Decoding(), "published": PUBLISHED}
"""By the names that models have for them."""


def decode(mask: ProbabilityMap, marker: ProbabilityMap | None, decoding: Decoding, mpp: float) -> InstanceMap:
    """Tell single nuclei apart.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        Probability of nucleus.
    marker : ndarray of uint8, shape (H, W), or None
        Probability of marker; None for networks without, whose mask then is eroded to markers.
    decoding : Decoding
        Thresholds and sizes.
    mpp : float
        Pixel size, µm/px.

    Returns
    -------
    ndarray of int32, shape (H, W)
        Numbers of nuclei from 1 on, some of which may be missing; 0 for none. Nuclei that come nearer to the rim than
        ``Decoding.margin_px`` may differ from those of a larger map.

    References
    ----------
    Rahmon et al. 2022, sec. II.C; values: public program.
    """
    limits = _Limits.of(decoding, mpp)
    is_nucleus = mask > CERTAIN * decoding.mask_threshold
    seeds = _at_least(_marked(is_nucleus, marker, decoding, mpp), limits.min_marker_area)
    if marker is not None:
        for threshold in decoding.split_thresholds:
            seeds = _split(seeds, marker > CERTAIN * threshold, limits)
    return _GROWTHS[decoding.grow](is_nucleus, seeds, limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """The sizes of a ``Decoding`` in px."""

    min_area: float
    min_marker_area: float
    min_split_area: float
    max_hole_area: float
    reach: int
    max_extent: float

    @classmethod
    def of(cls, decoding: Decoding, mpp: float) -> _Limits:
        return cls(
            min_area=decoding.min_area_um2 / mpp**2,
            min_marker_area=decoding.min_marker_area_um2 / mpp**2,
            min_split_area=decoding.min_split_area_um2 / mpp**2,
            max_hole_area=decoding.max_hole_area_um2 / mpp**2,
            reach=int(decoding.reach_um / mpp),
            max_extent=decoding.max_extent_um / mpp,
        )

    def keep_sound(self, instances: InstanceMap) -> InstanceMap:
        """Leave out what is too small or too long."""
        found = survey(instances)
        return chosen(instances, (found.areas_px >= self.min_area) & (found.extents_px <= self.max_extent))


def _marked(mask: Mask, marker: ProbabilityMap | None, decoding: Decoding, mpp: float) -> InstanceMap:
    """Return the pieces of the markers; as published they may reach out of the mask."""
    is_marker = _eroded(mask, mpp) if marker is None else marker > CERTAIN * decoding.marker_threshold
    return pieces(is_marker if decoding.grow == "free" else is_marker & mask, 8)


def _split(seeds: InstanceMap, certain: Mask, limits: _Limits) -> InstanceMap:
    """Return the seeds, those of which several parts are more certain replaced by these parts."""
    parts = _at_least(pieces(np.where(certain, seeds, np.int32(0)), 8), limits.min_split_area)
    whole, found = survey(seeds), survey(parts)
    owners = seeds.ravel()[found.first]
    owners[found.areas_px == 0] = owners[0] = 0
    counts = np.bincount(owners, minlength=len(whole.areas_px))
    # What is longer than a nucleus is none: and so a part of a map need not know how it goes on.
    is_split = (counts > 1) | ((counts > 0) & (whole.extents_px > limits.max_extent))
    is_split[0] = False
    if not is_split.any():
        return seeds
    rest = np.where(is_split, np.int32(0), np.arange(len(is_split), dtype=np.int32))[seeds]
    return np.where(is_split[owners][parts], parts + np.int32(len(is_split)), rest)


def _within_mask(mask: Mask, seeds: InstanceMap, limits: _Limits) -> InstanceMap:
    grown = grow_within(seeds, mask, limits.reach)
    unmarked = pieces(mask & (grown == 0), 4)
    if unmarked.any():
        grown += np.where(unmarked > 0, unmarked + seeds.max(initial=0), np.int32(0))
    whole = limits.keep_sound(largest_pieces(grown, 4))
    return fill_holes(whole, limits.max_hole_area)


def _published(mask: Mask, seeds: InstanceMap, limits: _Limits) -> InstanceMap:
    mask = _at_least(pieces(mask, 8), limits.min_area) > 0
    basins = grow_within(seeds, np.ones(mask.shape, np.bool_), limits.reach)
    mask = _at_least(pieces(mask & ~_lines(basins), 8), limits.min_area) > 0
    gaps = pieces(~mask, 8)
    mask |= (survey(gaps).areas_px < limits.max_hole_area)[gaps]
    instances = limits.keep_sound(pieces(mask, 8))
    # The greatest number among a pixel and its four neighbors: later ones overwrite earlier ones.
    return np.asarray(cv2.dilate(instances.astype(np.float64), _CROSS), np.int32)


def _lines(basins: InstanceMap) -> Mask:
    """Return the pixels that follow, in reading order, one of their eight neighbors in another basin.

    They cut all basins apart, as the watershed's own lines do, which scikit-image takes a hundred times as long for.
    """
    is_line = np.zeros(basins.shape, np.bool_)
    height, width = basins.shape
    for dy, dx in ((1, 1), (1, 0), (1, -1), (0, 1)):
        here = slice(dy, height), slice(max(dx, 0), width + min(dx, 0))
        there = slice(0, height - dy), slice(max(-dx, 0), width + min(-dx, 0))
        is_line[here] |= (basins[here] != basins[there]) & (basins[here] > 0) & (basins[there] > 0)
    return is_line


_CROSS: Final = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)

_GROWTHS: Final[Mapping[str, Callable[[Mask, InstanceMap, _Limits], InstanceMap]]] = {
    "within_mask": _within_mask,
    "free": _published,
}


def _at_least(numbers: InstanceMap, least_px: float) -> InstanceMap:
    return chosen(numbers, survey(numbers).areas_px >= least_px)


def _eroded(mask: Mask, mpp: float) -> Mask:
    """Return markers made from the mask alone, as in Rahmon et al. 2022, sec. III.D, "mathematical morphology"."""
    numbers = pieces(mask, 8)
    depths_px = np.sqrt(squared_depths(mask.astype(np.int32), EROSION_RADII_UM[-1] / mpp))
    return np.asarray(depths_px > erosion_radii_um(survey(numbers).areas_px * mpp**2)[numbers] / mpp)
