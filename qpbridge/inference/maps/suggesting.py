"""Where a person's next look helps a network most: the most uncertain regions, spread out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import shapely

from qpbridge.core.geometry import Region
from qpbridge.core.objects import REVIEW_CLASS, ObjectKind, PathClass, PathObject
from qpbridge.inference.maps.blending import Strip
from qpbridge.inference.maps.certainty import UNCERTAINTY
from qpbridge.inference.objects import Identity
from qpbridge.inference.predicting import Mosaic
from qpbridge.vector.placing import GRID_PX

LEAST_DISTANCE: Final = 2
"""Between the centers of suggested regions along x or y, in edges: so a whole region fits between any two."""

_CELLS: Final = 8
"""Per edge of a region: places are tried in steps of an eighth of the edge."""

_SEEN_MIN: Final = 0.5
"""Share of a region that the network must have seen; the rest is glass, or not of interest."""

_COLOR: Final = (255, 200, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A region that is worth a look.

    Parameters
    ----------
    region : Region
        Level-0 px.
    uncertainty : float
        Mean over what was seen in it, 0 to 1.
    """

    region: Region
    uncertainty: float


class Suggester:
    """A ``Taker`` that adds up the uncertainty of small cells.

    Parameters
    ----------
    edge_px : int
        Of a region, px of the finest view; rounded down to a multiple of 8. What a network looks at at once suits.
    """

    def __init__(self, edge_px: int) -> None:
        self._cell_px = max(1, edge_px // _CELLS)
        self._mosaic: Mosaic | None = None
        self._sums = self._seen = np.empty((0, 0))

    def take(self, strip: Strip) -> None:
        """Add some rows."""
        if self._mosaic is None:
            self._mosaic = strip.mosaic
            rows, columns = (-(-size // self._cell_px) for size in strip.mosaic.labels.shape)
            self._sums, self._seen = np.zeros((rows, columns)), np.zeros((rows, columns))
        columns_px = np.arange(0, strip.seen.shape[1], self._cell_px)
        row = strip.y // self._cell_px
        ends = (np.arange(row + 1, (strip.y + len(strip.seen) - 1) // self._cell_px + 1) * self._cell_px) - strip.y
        starts = np.concatenate(([0], ends)).astype(np.intp)
        place = slice(row, row + len(starts))
        for total, part in ((self._sums, strip.uncertainty), (self._seen, strip.seen)):
            by_columns = np.add.reduceat(part, columns_px, axis=1, dtype=np.float64)
            total[place] += np.add.reduceat(by_columns, starts, axis=0)

    def suggest(self, count: int) -> list[Suggestion]:
        """Return the most uncertain regions, the most uncertain first; fewer where there are no more.

        Greedy: each is the most uncertain one of those whose centers are at least ``LEAST_DISTANCE`` edges away, along
        x or y, from all before. Where the network is sure there is nothing to suggest.
        """
        if self._mosaic is None:
            return []
        tall, wide = (min(_CELLS, size) for size in self._sums.shape)
        sums, seen = _boxes(self._sums, tall, wide), _boxes(self._seen, tall, wide)
        is_open = seen >= _SEEN_MIN * tall * wide * self._cell_px**2
        means = np.where(is_open, sums / np.maximum(seen, 1), 0)
        away = LEAST_DISTANCE * _CELLS
        found: list[Suggestion] = []
        while len(found) < count and means.max(initial=0) > 0:
            y, x = np.unravel_index(means.argmax(), means.shape)
            region = self._region(self._mosaic, int(y), int(x), (tall, wide))
            found.append(Suggestion(region=region, uncertainty=min(1.0, float(means[y, x]))))
            means[max(0, y - away + 1) : y + away, max(0, x - away + 1) : x + away] = 0
        return found

    def _region(self, mosaic: Mosaic, row: int, column: int, cells: tuple[int, int]) -> Region:
        grid, cell_px = mosaic.grid, self._cell_px
        return Region(
            x_px=grid.region.x_px + (mosaic.x + column * cell_px) * grid.downsample_x,
            y_px=grid.region.y_px + (mosaic.y + row * cell_px) * grid.downsample_y,
            width_px=cells[1] * cell_px * grid.downsample_x,
            height_px=cells[0] * cell_px * grid.downsample_y,
        )


def to_reviews(suggestions: list[Suggestion], image: Region, identity: Identity) -> list[PathObject]:
    """Return a locked annotation of the class "Review*" for each suggestion, named by its rank.

    Locked, so that drawing in it does not move it; of an ignored class, so that nothing takes it for tissue.

    Parameters
    ----------
    suggestions : list of Suggestion
        The most uncertain first.
    image : Region
        Outlines end at its borders, level-0 px.
    identity : Identity
        Of slide and model.
    """
    frame = shapely.box(image.x_px, image.y_px, image.right_px, image.bottom_px)
    squares = [one.region for one in suggestions]
    outlines = [shapely.box(one.x_px, one.y_px, one.right_px, one.bottom_px) & frame for one in squares]
    placed = shapely.set_precision(np.array(outlines, dtype=object), GRID_PX)
    return [
        PathObject(
            id=identity.object_id(REVIEW_CLASS, outline.wkb),
            kind=ObjectKind.ANNOTATION,
            geometry=outline,
            path_class=PathClass(REVIEW_CLASS, _COLOR),
            name=f"Review {rank} of {len(suggestions)}",
            measurements={UNCERTAINTY: one.uncertainty},
            is_locked=True,
        )
        for rank, (one, outline) in enumerate(zip(suggestions, placed, strict=True), 1)
    ]


def _boxes(cells: npt.NDArray[np.float64], tall: int, wide: int) -> npt.NDArray[np.float64]:
    """Return the sums of all boxes of so many cells, by their upper left one."""
    total: npt.NDArray[np.float64] = np.pad(cells, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums: npt.NDArray[np.float64] = (
        total[tall:, wide:] - total[:-tall, wide:] - total[tall:, :-wide] + total[:-tall, :-wide]
    )
    return sums
