"""Objects of QuPath derived from the truth of a procedural slide, in level-0 px."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, Mask
from qpbridge.core.geometry import Region
from qpbridge.core.objects import REGION_CLASS, ObjectKind, PathClass, PathObject
from qpbridge.errors import InvalidValueError
from qpbridge.slides.synthetic.layout import Tissue
from qpbridge.slides.synthetic.noise import Floats
from qpbridge.slides.synthetic.pieces import Piece, drawn_pieces
from qpbridge.slides.synthetic.slide import CLASSES, NUCLEUS_CLASSES, SyntheticSlide

_CELL_UM = 2.0
_MOST_CELLS = 4096  # of the longer edge; larger slides get larger cells
_PIECE_RADIUS_UM = 110.0
_PRESENCE_SHARE = 0.01  # of a region's pixels that make a class present (Han et al. 2022 state no threshold)
_CANDIDATES = 300
_REGION_COLOR_RGB = (0, 0, 180)
_GRID_PX = 0.01  # QuPath's grid for coordinates


def partial_annotations(
    slide: SyntheticSlide, share: float = 0.05, seed: int = 0, within: Region | None = None
) -> tuple[PathObject, ...]:
    """Annotate a small part of a slide as a pathologist would.

    Smooth pieces of every class that lie a little (about 3 to 8 µm) inside its border, spread over the places
    where the class occurs; nests are mostly taken across their whole width, and at some borders both sides are
    annotated. Nothing is annotated wrongly.

    Parameters
    ----------
    slide : SyntheticSlide
        Whose truth is taken.
    share : float
        Annotated share of the area, 0 to 0.5; Ho et al. 2021 annotated 5.34 %.
    seed : int
        Another seed gives other annotations of the same slide.
    within : Region or None
        Only annotate here; the whole slide without it.

    Raises
    ------
    InvalidValueError
        If the share is out of range.
    """
    if not 0 < share <= 0.5:
        raise InvalidValueError(f"the annotated share of a slide lies between 0 and 0.5, not at {share}")
    area = within or slide.bounds
    cell_px = max(_CELL_UM / slide.spec.mpp, max(area.width_px, area.height_px) / _MOST_CELLS, 1.0)
    columns, rows = (max(1, math.floor(edge / cell_px)) for edge in (area.width_px, area.height_px))
    whole = Region(x_px=area.x_px, y_px=area.y_px, width_px=columns * cell_px, height_px=rows * cell_px)
    labels = slide.labels(whole, columns, rows)
    radius_cells = _PIECE_RADIUS_UM / slide.spec.mpp / cell_px
    pieces = drawn_pieces(labels, share, radius_cells, np.random.default_rng([slide.spec.seed, seed]))
    return tuple(
        _object(slide, ObjectKind.ANNOTATION, outline, CLASSES[piece.label])
        for piece in pieces
        for outline in _outlines(piece, area, cell_px)
    )


def region_annotations(
    slide: SyntheticSlide, count: int = 2, size_um: float = 500.0, seed: int = 0
) -> tuple[PathObject, ...]:
    """Annotate squares completely: a ``Region*`` annotation, and all tissue inside as polygons along pixel edges.

    Glass inside is left without annotation, which in a ``Region*`` means background.

    Parameters
    ----------
    slide : SyntheticSlide
        Whose truth is taken.
    count : int
        Number of squares; fewer where no more fit. They are placed so that together they show all classes.
    size_um : float
        Edge of a square.
    seed : int
        Another seed gives other squares.
    """
    region_class = PathClass(REGION_CLASS, _REGION_COLOR_RGB)
    objects = []
    for square in _squares(slide, count, size_um, seed):
        objects.append(_object(slide, ObjectKind.ANNOTATION, _box(square), region_class))
        labels = slide.labels(square, int(square.width_px), int(square.height_px))
        objects += [
            _object(slide, ObjectKind.ANNOTATION, outline, CLASSES[label])
            for label in np.unique(labels).tolist()
            if label != Tissue.BACKGROUND
            for outline in _traced(labels == label, (square.x_px, square.y_px))
        ]
    return tuple(objects)


def tags(slide: SyntheticSlide, count: int = 24, size_um: float = 128.0, seed: int = 0) -> tuple[PathObject, ...]:
    """Tag squares with the tissues that they show, as derived classes: ``Region*: Stroma: Tumor``.

    A tissue counts as shown from 1 % of the square's pixels on. Glass is no tissue; squares without any have
    the class ``Region*`` alone.

    Parameters
    ----------
    slide, count, size_um, seed
        As for ``region_annotations``.
    """
    objects = []
    for square in _squares(slide, count, size_um, seed):
        side = int(square.width_px)
        shown = _shown(slide.labels(square, min(side, 256), min(side, 256))) - {Tissue.BACKGROUND}
        name = ": ".join([REGION_CLASS, *(CLASSES[label].name for label in sorted(shown))])
        objects.append(_object(slide, ObjectKind.ANNOTATION, _box(square), PathClass(name, _REGION_COLOR_RGB)))
    return tuple(objects)


def nucleus_detections(slide: SyntheticSlide, region: Region | None = None) -> tuple[PathObject, ...]:
    """Return the true nuclei that reach into a region as detections; all of the slide without a region."""
    nuclei = slide.nuclei(region or slide.bounds)
    outlines = shapely.polygons(nuclei.outlines_px)
    return tuple(
        _object(slide, ObjectKind.DETECTION, outline, NUCLEUS_CLASSES[kind])
        for outline, kind in zip(outlines, nuclei.kinds, strict=True)
    )


def _object(slide: SyntheticSlide, kind: ObjectKind, outline: BaseGeometry, path_class: PathClass) -> PathObject:
    place = f"{slide.spec!r} {kind.value} {path_class.name} {outline.wkb_hex}"
    return PathObject(id=str(uuid.uuid5(uuid.NAMESPACE_URL, place)), kind=kind, geometry=outline, path_class=path_class)


def _outlines(piece: Piece, area: Region, cell_px: float) -> Iterator[BaseGeometry]:
    """Smooth outlines of a piece; they leave it by less than the margin that it keeps to its class' border."""
    corner_px = area.x_px + piece.column * cell_px, area.y_px + piece.row * cell_px
    for outline in _traced(piece.mask, corner_px, cell_px):
        simple = outline.simplify(0.6 * cell_px)
        round_one = shapely.Polygon(_rounded(simple.exterior), [_rounded(ring) for ring in simple.interiors])
        yield shapely.set_precision(round_one if round_one.is_valid else simple, _GRID_PX)


def _rounded(ring: shapely.LinearRing) -> Floats:
    """Cut the corners of a ring, twice (Chaikin 1974)."""
    corners: Floats = shapely.get_coordinates(ring)[:-1]
    for _ in range(2):
        following = np.roll(corners, -1, axis=0)
        corners = np.stack([0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following], axis=1)
        corners = corners.reshape(-1, 2)
    return corners


def _traced(mask: Mask, corner_px: tuple[float, float], pixel_px: float = 1.0) -> Iterator[BaseGeometry]:
    """Polygons along the edges of a mask's pixels, 4-connected, in level-0 px."""
    import rasterio.features

    for shape, _ in rasterio.features.shapes(mask.astype(np.uint8), mask=mask, connectivity=4):
        rings = [np.array(ring) * pixel_px + corner_px for ring in shape["coordinates"]]
        yield shapely.Polygon(rings[0], rings[1:])


def _squares(slide: SyntheticSlide, count: int, size_um: float, seed: int) -> list[Region]:
    """Squares that do not overlap, each chosen to show what the ones before show least."""
    side = round(size_um / slide.spec.mpp)
    room = slide.width_px - side, slide.height_px - side
    if side < 1 or min(room) < 0:
        raise InvalidValueError(f"squares of {size_um} µm do not fit into a slide of {slide.bounds}; make them smaller")
    generator = np.random.default_rng([slide.spec.seed, seed, side])
    corners = generator.integers(0, [room[0] + 1, room[1] + 1], size=(_CANDIDATES, 2))
    candidates = [Region(x_px=int(x), y_px=int(y), width_px=side, height_px=side) for x, y in corners]
    overview, cell_px = _overview(slide)
    shown = [_shown(overview[_cells(square, cell_px)]) for square in candidates]
    seen = np.zeros(len(CLASSES))
    chosen: list[Region] = []
    open_ones = list(range(_CANDIDATES))
    while open_ones and len(chosen) < count:
        best = max(open_ones, key=lambda k: sum(0.25 ** seen[label] for label in shown[k]))
        chosen.append(candidates[best])
        seen[list(shown[best])] += 1
        open_ones = [k for k in open_ones if not _box(candidates[k]).intersects(_box(candidates[best]))]
    return chosen


def _overview(slide: SyntheticSlide) -> tuple[LabelMap, float]:
    cell_px = max(16 / slide.spec.mpp, max(slide.width_px, slide.height_px) / _MOST_CELLS, 1.0)
    columns, rows = (math.ceil(edge / cell_px) for edge in (slide.width_px, slide.height_px))
    covered = Region(x_px=0, y_px=0, width_px=columns * cell_px, height_px=rows * cell_px)
    return slide.labels(covered, columns, rows), cell_px


def _cells(square: Region, cell_px: float) -> tuple[slice, slice]:
    rows, columns = (
        slice(int(start // cell_px), math.ceil(stop / cell_px))
        for start, stop in ((square.y_px, square.bottom_px), (square.x_px, square.right_px))
    )
    return rows, columns


def _shown(labels: LabelMap) -> set[int]:
    counts = np.bincount(labels.ravel(), minlength=256)[:IGNORE_INDEX]
    return set(np.flatnonzero(counts >= _PRESENCE_SHARE * labels.size).tolist())


def _box(region: Region) -> BaseGeometry:
    return shapely.box(region.x_px, region.y_px, region.right_px, region.bottom_px)
