"""What a new run may change among the objects that are there, and what an undone one leaves. Level-0 px."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.objects import ObjectKind, PathObject
from qpbridge.qupath.geojson.outlines import GRID_PX

IOU_MAX: Final = 0.5
"""Of a new object and one that stays; the new one is left out where they have more in common."""

DESCRIPTION: Final = "ANNOTATION_DESCRIPTION"
"""Key of the metadata that QuPath shows as the description of an annotation."""

_NUCLEI: Final = (ObjectKind.DETECTION, ObjectKind.CELL)

_Geometries = npt.NDArray[np.object_]
_Flags = npt.NDArray[np.bool_]
_Pairs = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What becomes of the objects that were there and of those that are new.

    Parameters
    ----------
    kept : tuple of PathObject
        Were there and stay, in their order.
    replaced : tuple of PathObject
        Were there and go.
    added : tuple of PathObject
        New ones that come.
    dropped : tuple of PathObject
        New ones that are left out, since a person has decided otherwise there.
    starts_afresh : bool
        Whether nothing that a person did to an earlier run's objects is of any further account: none was kept, and
        none or all of them were deleted.
    """

    kept: tuple[PathObject, ...]
    replaced: tuple[PathObject, ...]
    added: tuple[PathObject, ...]
    dropped: tuple[PathObject, ...]
    starts_afresh: bool

    @property
    def objects(self) -> tuple[PathObject, ...]:
        """What is there afterwards."""
        return self.kept + self.added


def reconcile(
    existing: Sequence[PathObject],
    record: Sequence[PathObject],
    new: Sequence[PathObject],
    within: BaseGeometry | None = None,
) -> Reconciliation:
    """Put the objects of a new run in the place of those of earlier ones, and leave what a person has done.

    An object is *ours* if its id is in the record, and *edited* if its outline, nucleus, class, name, description or
    lock is not as recorded; what QuPath does to coordinates (``same_outlines``) is no edit.

    - Ours that nobody edited are replaced, locked ones only if they were written so; all others stay: edited, locked,
      drawn.
    - A new object on top of one that stays is dropped: IoU above 0.5, or, among nuclei, its centroid inside. Areas
      that a person drew do not stand in the way: annotations without a class, or of an ignored one ("Region*").
    - A new object equal to one of ours that a person edited or deleted (the same id, or the same class and outline)
      is dropped, however far away the edited one is now: a false finding that was deleted once does not come back
      with every run. Other outlines or another class are a new finding, and come.
    - Where none of ours is left at all, nobody judged them one by one: they were cleared away to begin again, or
      never imported. Then nothing counts as deleted.

    Parameters
    ----------
    existing : sequence of PathObject
        What is there now.
    record : sequence of PathObject
        What earlier runs wrote and no run has replaced since, as written.
    new : sequence of PathObject
        What the new run found.
    within : shapely geometry or None
        Where the run looked; ours with half of their area or more elsewhere stay as well. Everywhere where None.

    Returns
    -------
    Reconciliation
        All that was given is in one of its parts.
    """
    recorded = {item.id: item for item in record}
    partners = [recorded.get(item.id) for item in existing]
    is_ours = np.fromiter((partner is not None for partner in partners), np.bool_, len(existing))
    is_untouched = _untouched(existing, partners)
    goes = is_untouched.copy()
    goes[goes] &= _mostly_inside([item.geometry for item in compress(existing, goes)], within)

    present = {item.id for item in existing}
    edited = {item.id for item in compress(existing, is_ours & ~is_untouched)}
    deleted = {key for key in recorded if key not in present} if is_ours.any() else set()
    judged = [recorded[key] for key in recorded if key in edited or key in deleted]

    blocking = compress(existing, ~goes & (is_ours | _are_findings(existing)))
    is_dropped = _equal_to_any(new, judged) | _on_top_of_any(new, list(blocking))
    return Reconciliation(
        kept=tuple(compress(existing, ~goes)),
        replaced=tuple(compress(existing, goes)),
        added=tuple(compress(new, ~is_dropped)),
        dropped=tuple(compress(new, is_dropped)),
        starts_afresh=not (deleted or (is_ours & ~goes).any()),
    )


def revert(
    existing: Sequence[PathObject], added: Sequence[PathObject], replaced: Sequence[PathObject]
) -> Reconciliation:
    """Take back one run: what it added goes, what it replaced comes back.

    What a person has edited or locked since stays, and what the run had replaced does not come back on top of that
    (as in ``reconcile``), nor a second time. Everything else that is there stays as it is.

    Parameters
    ----------
    existing : sequence of PathObject
        What is there now.
    added, replaced : sequence of PathObject
        Of the run, as its record has them.
    """
    written = {item.id: item for item in added}
    partners = [written.get(item.id) for item in existing]
    goes = _untouched(existing, partners)
    edited = [item for item, partner, gone in zip(existing, partners, goes, strict=True) if partner and not gone]
    staying = {item.id for item in compress(existing, ~goes)}
    is_there = np.fromiter((item.id in staying for item in replaced), np.bool_, len(replaced))
    is_dropped = is_there | _on_top_of_any(replaced, edited)
    return Reconciliation(
        kept=tuple(compress(existing, ~goes)),
        replaced=tuple(compress(existing, goes)),
        added=tuple(compress(replaced, ~is_dropped)),
        dropped=tuple(compress(replaced, is_dropped)),
        starts_afresh=False,
    )


def untouched(existing: Sequence[PathObject], record: Sequence[PathObject]) -> npt.NDArray[np.bool_]:
    """Return which objects are as runs wrote them, locks included.

    Parameters
    ----------
    existing : sequence of PathObject, length n
        What is there now.
    record : sequence of PathObject
        What runs wrote, as written.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    recorded = {item.id: item for item in record}
    return _untouched(existing, [recorded.get(item.id) for item in existing])


def same_outlines(one: Sequence[BaseGeometry], other: Sequence[BaseGeometry]) -> _Flags:
    """Return which outlines are the same but for what QuPath does to them.

    It rounds coordinates to 0.01 px, keeps them as 32-bit floats, lets rings begin elsewhere and run the other
    way, and leaves out repeated positions.

    Parameters
    ----------
    one, other : sequence of shapely geometry, shape (n,)
        Level-0 px.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    first, second = _array(one), _array(other)
    tolerance_px = _tolerance_px(first)
    same: _Flags = shapely.equals_exact(first, second, tolerance_px)
    left = np.flatnonzero(~same)
    is_near = np.abs(shapely.bounds(first[left]) - shapely.bounds(second[left])).max(axis=1, initial=0.0)
    left = left[is_near <= tolerance_px[left]]
    same[left] = shapely.equals_exact(
        shapely.normalize(first[left]), shapely.normalize(second[left]), tolerance_px[left]
    )
    for index in left[~same[left]]:
        same[index] = _same_positions(first[index], second[index], float(tolerance_px[index]))
    return same


def _tolerance_px(geometries: _Geometries) -> npt.NDArray[np.float64]:
    extremes = np.nan_to_num(np.abs(shapely.bounds(geometries))).max(axis=1, initial=0.0)
    steps: npt.NDArray[np.float64] = np.spacing(extremes.astype(np.float32)).astype(np.float64)
    return GRID_PX + steps


def _same_positions(one: BaseGeometry, other: BaseGeometry, tolerance_px: float) -> bool:
    """Whether each vertex of either has one of the other beside it, and their areas agree."""
    if abs(one.area - other.area) > tolerance_px * (one.length + other.length):
        return False
    return _are_near(one, other, tolerance_px) and _are_near(other, one, tolerance_px)


def _are_near(one: BaseGeometry, other: BaseGeometry, tolerance_px: float) -> bool:
    asked = shapely.points(shapely.get_coordinates(one))
    tree = shapely.STRtree(shapely.points(shapely.get_coordinates(other)))
    # Tolerance is per axis, distance is not.
    found = tree.query_nearest(asked, max_distance=tolerance_px * 1.5, all_matches=False)[0]
    return len(np.unique(found)) == len(asked)


def _untouched(existing: Sequence[PathObject], partners: Sequence[PathObject | None]) -> _Flags:
    """Return which objects are as recorded, locks included; no partner means that it is not ours."""
    untouched = np.fromiter(
        (
            partner is not None and item.is_locked == partner.is_locked and _terms(item) == _terms(partner)
            for item, partner in zip(existing, partners, strict=True)
        ),
        np.bool_,
        len(existing),
    )
    now = list(compress(existing, untouched))
    then = [partner for partner in compress(partners, untouched) if partner is not None]
    untouched[untouched] &= same_outlines([item.geometry for item in now], [item.geometry for item in then]) & (
        _same_nuclei(now, then)
    )
    return untouched


def _terms(item: PathObject) -> tuple[object, ...]:
    """Return what an edit changes, beside outlines."""
    class_name = None if item.path_class is None else item.path_class.name
    return class_name, item.name, item.metadata.get(DESCRIPTION), item.nucleus is None


def _same_nuclei(now: Sequence[PathObject], then: Sequence[PathObject]) -> _Flags:
    same = np.ones(len(now), np.bool_)
    pairs = [(i, one.nucleus, other.nucleus) for i, (one, other) in enumerate(zip(now, then, strict=True))]
    with_nucleus = [(i, one, other) for i, one, other in pairs if one is not None and other is not None]
    if with_nucleus:
        indices, ones, others = zip(*with_nucleus, strict=True)
        same[list(indices)] = same_outlines(ones, others)
    return same


def _mostly_inside(geometries: Sequence[BaseGeometry], area: BaseGeometry | None) -> _Flags:
    if area is None or not geometries:
        return np.ones(len(geometries), np.bool_)
    given = _valid(geometries)
    shapely.prepare(area)
    inside: _Flags = shapely.covers(area, given)
    on_rim = np.flatnonzero(~inside & shapely.intersects(area, given))
    shares = shapely.area(shapely.intersection(given[on_rim], area)) / np.maximum(shapely.area(given[on_rim]), 1e-12)
    inside[on_rim] = shares > 0.5
    return inside


def _are_findings(objects: Sequence[PathObject]) -> _Flags:
    """Return which objects say what is there, rather than where to look."""
    return np.fromiter(map(_is_finding, objects), np.bool_, len(objects))


def _is_finding(item: PathObject) -> bool:
    if item.kind is ObjectKind.ANNOTATION:
        return item.path_class is not None and not item.path_class.is_ignored
    return item.kind in _NUCLEI


def _equal_to_any(new: Sequence[PathObject], judged: Collection[PathObject]) -> _Flags:
    ids = {item.id for item in judged}
    is_equal = np.fromiter((item.id in ids for item in new), np.bool_, len(new))
    by_class: dict[tuple[object, ...], list[PathObject]] = defaultdict(list)
    for item in judged:
        by_class[_sort(item)].append(item)
    for sort, olds in by_class.items():
        candidates = [i for i, item in enumerate(new) if not is_equal[i] and _sort(item) == sort]
        outlines = _array([new[i].geometry for i in candidates])
        earlier = _array([item.geometry for item in olds])
        asked, found = shapely.STRtree(earlier).query(outlines)
        same = same_outlines(outlines[asked], earlier[found])
        is_equal[np.asarray(candidates, np.intp)[asked[same]]] = True
    return is_equal


def _sort(item: PathObject) -> tuple[object, ...]:
    return None if item.path_class is None else item.path_class.name, item.plane.z, item.plane.t


def _on_top_of_any(new: Sequence[PathObject], kept: Sequence[PathObject]) -> _Flags:
    is_on_top = np.zeros(len(new), np.bool_)
    if not new or not kept:
        return is_on_top
    asked, found = _valid([item.geometry for item in new]), _valid([item.geometry for item in kept])
    planes_new, planes_kept = _planes(new), _planes(kept)
    tree = shapely.STRtree(found)

    pairs = tree.query(asked)
    pairs = pairs[:, (planes_new[pairs[0]] == planes_kept[pairs[1]]).all(axis=1)]
    is_on_top[pairs[0, _cover(asked[pairs[0]], found[pairs[1]])]] = True

    nuclei_new = np.flatnonzero([item.kind in _NUCLEI for item in new])
    is_nucleus = np.fromiter((item.kind in _NUCLEI for item in kept), np.bool_, len(kept))
    inside = tree.query(shapely.centroid(asked[nuclei_new]), predicate="intersects")
    inside[0] = nuclei_new[inside[0]]
    same_plane = (planes_new[inside[0]] == planes_kept[inside[1]]).all(axis=1)
    is_on_top[inside[0, is_nucleus[inside[1]] & same_plane]] = True
    return is_on_top


def _cover(one: _Geometries, other: _Geometries) -> _Flags:
    """Return which pairs have an IoU above the limit; those whose boxes alone rule it out cost next to nothing."""
    sums = shapely.area(one) + shapely.area(other)
    first, second = shapely.bounds(one), shapely.bounds(other)
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    share = IOU_MAX / (1 + IOU_MAX)  # of the sum of both areas that lies in both
    likely = np.flatnonzero((sums > 0) & (sides.clip(min=0).prod(axis=1) > share * sums))
    covers = np.zeros(len(one), np.bool_)
    covers[likely] = shapely.area(shapely.intersection(one[likely], other[likely])) > share * sums[likely]
    return covers


def _planes(objects: Sequence[PathObject]) -> npt.NDArray[np.int64]:
    return np.array([(item.plane.z, item.plane.t) for item in objects], np.int64).reshape(-1, 2)


def _valid(geometries: Sequence[BaseGeometry]) -> _Geometries:
    given = _array(geometries)
    faulty = ~shapely.is_valid(given)
    given[faulty] = shapely.make_valid(given[faulty])
    return given


def _array(geometries: Iterable[BaseGeometry]) -> _Geometries:
    listed = list(geometries)
    array: npt.NDArray[Any] = np.empty(len(listed), object)
    array[:] = listed
    return array
