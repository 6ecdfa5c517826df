"""Outlines as GeoJSON members and back, in level-0 px: sound on QuPath's grid of 0.01 px, mended where they are not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, cast

import geojson
import numpy as np
import numpy.typing as npt
import orjson
import shapely
from shapely.geometry.base import BaseGeometry

GRID_PX: Final = 0.01
"""QuPath 0.6 and later round coordinates to this; an outline must be valid after that, level-0 px."""

RING_CLOSED: Final = "ring closed"
OUTLINE_MENDED: Final = "outline mended"
EMPTY_DROPPED: Final = "empty object left out"
NOT_FINITE_DROPPED: Final = "object with a coordinate that is no number left out"

DEPTHS: Final = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
"""GeoJSON types that hold coordinates, and how many lists lie around a position."""

_TYPE_NAMES: Final = {
    0: "Point",
    1: "LineString",
    3: "Polygon",
    4: "MultiPoint",
    5: "MultiLineString",
    6: "MultiPolygon",
}
_POLYGONAL: Final = (3, 6)
_MULTIPLE: Final = (4, 5, 6)
_MALFORMED: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)

Geometries = npt.NDArray[np.object_]


class FaultyGeometry(Exception):  # noqa: N818
    """A GeoJSON geometry that cannot be read at all; for callers in this room only, who know its place."""


def mend(geometry: BaseGeometry) -> BaseGeometry | None:
    """Return a valid geometry on the grid of 0.01 px, or None where nothing is left.

    Of a collection only the parts of its highest dimension stay; overlapping parts become one.
    """
    parts = _flat(geometry)
    if not parts or not np.isfinite(shapely.get_coordinates(parts)).all():
        return None
    dimensions = shapely.get_dimensions(parts)
    kept = np.asarray(parts, dtype=object)[dimensions == dimensions.max()]
    valid = shapely.make_valid(kept, method="structure", keep_collapsed=False)
    # Coordinates below the smallest normal number make GEOS divide by zero on its way to a sound result.
    with np.errstate(all="ignore"):
        sound = shapely.set_precision(shapely.union_all(valid), GRID_PX)
    return None if sound.is_empty or not sound.is_valid else cast(BaseGeometry, sound)


def on_grid(geometries: Sequence[BaseGeometry | None]) -> tuple[Geometries, npt.NDArray[np.bool_]]:
    """Return sound geometries on the grid, None where nothing is left, and which of those left had to be mended."""
    given = np.empty(len(geometries), dtype=object)
    given[:] = geometries
    sound: Geometries = shapely.transform(given, _rounded)
    is_known = np.isin(shapely.get_type_id(sound), list(_TYPE_NAMES))
    is_sound = is_known & shapely.is_valid(sound) & ~shapely.is_empty(sound)
    faulty = np.flatnonzero(~is_sound)
    for index in faulty:
        sound[index] = mend(given[index])
    is_mended = np.zeros(len(sound), dtype=np.bool_)
    is_mended[faulty] = [sound[index] is not None for index in faulty]
    # QuPath 0.5 fails on a MultiPolygon of one part.
    is_lone = np.isin(shapely.get_type_id(sound), _MULTIPLE) & (shapely.get_num_geometries(sound) == 1)
    sound[is_lone] = shapely.get_geometry(sound[is_lone], 0)
    return sound, is_mended


def _rounded(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.floor(coordinates * 100 + 0.5) / 100  # halves go up, as in QuPath


def to_members(geometries: Geometries) -> list[dict[str, Any] | None]:
    """Return ``{"type": ..., "coordinates": ...}`` of each geometry, None for None; coordinates hold arrays (n, 2)."""
    types = shapely.get_type_id(geometries)
    coordinates: list[Any] = [None] * len(geometries)
    polygonal = np.flatnonzero(np.isin(types, _POLYGONAL))
    for index, parts in zip(polygonal, _rings(geometries[polygonal]), strict=True):
        coordinates[index] = parts if types[index] == 6 else parts[0]
    for index in np.flatnonzero((types >= 0) & ~np.isin(types, _POLYGONAL)):
        coordinates[index] = _positions(geometries[index], int(types[index]))
    return [
        None if kind < 0 else {"type": _TYPE_NAMES[kind], "coordinates": numbers}
        for kind, numbers in zip(types.tolist(), coordinates, strict=True)
    ]


def _rings(geometries: Geometries) -> list[list[list[npt.NDArray[np.float64]]]]:
    """Return per geometry, per part, per ring the positions: arrays of shape (n, 2), views of one array."""
    parts, owner_of_part = shapely.get_parts(geometries, return_index=True)
    rings, owner_of_ring = shapely.get_rings(parts, return_index=True)
    positions = shapely.get_coordinates(rings)
    ends = np.cumsum(shapely.get_num_coordinates(rings)).tolist()
    rings_of_part: list[list[npt.NDArray[np.float64]]] = [[] for _ in parts]
    for owner, start, end in zip(owner_of_ring.tolist(), [0, *ends], ends, strict=False):
        rings_of_part[owner].append(positions[start:end])
    parts_of: list[list[list[npt.NDArray[np.float64]]]] = [[] for _ in geometries]
    for owner, found in zip(owner_of_part.tolist(), rings_of_part, strict=True):
        parts_of[owner].append(found)
    return parts_of


def _positions(geometry: BaseGeometry, kind: int) -> object:
    if kind == 5:
        return [shapely.get_coordinates(part) for part in shapely.get_parts(geometry)]
    positions = shapely.get_coordinates(geometry)
    return positions[0] if kind == 0 else positions


def from_members(texts: Sequence[bytes], mended: Counter[str]) -> Geometries:
    """Return sound geometries of GeoJSON geometries, as they stand in a file.

    Parameters
    ----------
    texts : sequence of bytes
        JSON text of each.
    mended : Counter of str
        Counts each repair by its kind.

    Returns
    -------
    ndarray of shapely geometry, shape (n,)
        Valid, not empty, in two dimensions; None where nothing is left.

    Raises
    ------
    FaultyGeometry
        With the reason and the position in ``texts``.
    """
    with np.errstate(over="ignore"):  # numbers that are too large are for the salvage
        geometries: Geometries = shapely.from_geojson(np.array(texts, dtype=object), on_invalid="ignore")
    geometries = shapely.force_2d(geometries)
    for index in np.flatnonzero(shapely.is_missing(geometries)).tolist():
        try:
            geometries[index] = _salvaged(orjson.loads(texts[index]), mended)
        except FaultyGeometry as fault:
            raise FaultyGeometry(index, *fault.args) from fault
    is_collection = shapely.get_type_id(geometries) == shapely.GeometryType.GEOMETRYCOLLECTION
    is_sound = shapely.is_valid(geometries) & ~shapely.is_empty(geometries) & ~is_collection
    for index in np.flatnonzero(~is_sound & ~shapely.is_missing(geometries)).tolist():
        geometries[index] = mend(geometries[index])
        mended[EMPTY_DROPPED if geometries[index] is None else OUTLINE_MENDED] += 1
    return geometries


def _salvaged(tree: Any, mended: Counter[str]) -> BaseGeometry | None:
    """Return what can be had of a geometry that is not proper GeoJSON."""
    if tree is None:
        mended[EMPTY_DROPPED] += 1
        return None
    try:
        geometry = _built(tree, mended)
    except _MALFORMED as error:
        raise FaultyGeometry(_complaint(tree, error)) from error
    if geometry is None:
        mended[NOT_FINITE_DROPPED] += 1
    return geometry


def _complaint(tree: Any, error: Exception) -> str:
    kind = tree.get("type") if isinstance(tree, dict) else type(tree).__name__
    if not isinstance(kind, str) or kind not in (*DEPTHS, "GeometryCollection"):
        return f"{kind!r} is no kind of geometry"
    if (content := "coordinates" if kind in DEPTHS else "geometries") not in tree:
        return f"{kind} without {content}"
    try:
        return f"{kind}: {geojson.GeoJSON.to_instance(tree).errors() or error}"
    except _MALFORMED:
        return f"{kind}: {error}"


def _built(tree: dict[str, Any], mended: Counter[str]) -> BaseGeometry | None:
    if tree["type"] == "GeometryCollection":
        parts = [_built(part, mended) for part in tree["geometries"]]
        return shapely.GeometryCollection([part for part in parts if part is not None])
    depth = DEPTHS[tree["type"]]
    coordinates = _numbers(tree["coordinates"], depth)
    if not _is_finite(coordinates):
        return None
    if "Polygon" in tree["type"]:
        coordinates = _closed(coordinates, depth, mended)
    return cast(BaseGeometry, shapely.geometry.shape({"type": tree["type"], "coordinates": coordinates}))


def _numbers(value: Any, depth: int) -> Any:
    if depth < 0:
        return math.nan if value is None else float(value)
    members = value[:2] if depth == 0 else value
    return [_numbers(member, depth - 1) for member in members]


def _is_finite(value: Any) -> bool:
    return all(map(_is_finite, value)) if isinstance(value, list) else math.isfinite(value)


def _closed(value: Any, depth: int, mended: Counter[str]) -> Any:
    """Close rings; depth 2 is a polygon, of which nothing is left when its outer ring has no area."""
    if depth > 2:
        return [polygon for part in value if (polygon := _closed(part, depth - 1, mended))]
    rings = [ring if ring[:1] == ring[-1:] else [*ring, ring[0]] for ring in value]
    mended[RING_CLOSED] += sum(len(ring) > len(given) for ring, given in zip(rings, value, strict=True))
    has_area = [len(ring) > 3 for ring in rings]
    return [ring for ring, is_kept in zip(rings, has_area, strict=True) if is_kept] if any(has_area[:1]) else []


def _flat(geometry: BaseGeometry | None) -> list[BaseGeometry]:
    """Return the single parts of a geometry, out of collections in collections too, without empty ones."""
    if geometry is None or geometry.is_empty:
        return []
    if not hasattr(geometry, "geoms"):
        return [geometry]
    return [single for part in geometry.geoms for single in _flat(part)]
