"""What several raters of one image say together. Geometries in level-0 px."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.objects import PathObject

RATER_KEY: Final = "rater"
"""Key of an annotation's metadata that names who drew it, ``rater = Ann``, or begin of its name: ``rater: Ann``."""

_GRID_PX: Final = 0.01
"""QuPath's grid for coordinates; outlines are laid over one another on it."""

_STEPS_MAX: Final = 200
_CHANGE_MIN: Final = 1e-6
_TIE: Final = 1e-9

Shapes: TypeAlias = tuple[tuple[BaseGeometry, int], ...]
Floats: TypeAlias = npt.NDArray[np.float64]
Votes: TypeAlias = tuple[int, ...]


def rater_of(item: PathObject) -> str | None:
    """Return who drew an object, None where that is not said: it then holds for all raters."""
    stated = [value for key, value in item.metadata.items() if key.strip().casefold() == RATER_KEY]
    key, colon, name = (item.name or "").partition(":")
    if colon and key.strip().casefold() == RATER_KEY:
        stated.append(name)
    return next((value.strip() for value in stated if value.strip()), None)


def agreed(shapes: Sequence[tuple[BaseGeometry, int, str | None]]) -> Shapes:
    """Return the labelled shapes that the shapes of some raters make together.

    Where raters disagree, STAPLE weighs them by how reliable they are elsewhere on the image. Who labelled nothing
    at a place has no vote there; where votes weigh the same, the place is unknown.

    Parameters
    ----------
    shapes : sequence of (geometry, int, str or None)
        In painter's order, with the rater; those without one hold for all.

    Returns
    -------
    tuple of (geometry, int)
        The shapes themselves where there are fewer than two raters, otherwise shapes that do not overlap.
    """
    raters = sorted({rater for *_, rater in shapes if rater is not None})
    if len(raters) < 2:
        return tuple((geometry, label) for geometry, label, _ in shapes)
    faces: dict[Votes, BaseGeometry] = {}
    for position, rater in enumerate(raters):
        own = _visible([(geometry, label) for geometry, label, by in shapes if by in {None, rater}])
        faces = _split(faces, own, position)
    votes = [*faces]
    labels = staple(np.array(votes), np.array([face.area for face in faces.values()]))
    return tuple((faces[vote], int(label)) for vote, label in zip(votes, labels, strict=True))


def staple(votes: npt.NDArray[np.int64], weights: Floats) -> npt.NDArray[np.int64]:
    """Return the most probable label of each pattern of votes.

    Parameters
    ----------
    votes : ndarray of int64, shape (P, R)
        Label that each rater gives, ``IGNORE_INDEX`` where none.
    weights : ndarray of float64, shape (P,)
        How often each pattern occurs, e.g. its area.

    Returns
    -------
    ndarray of int64, shape (P,)
        ``IGNORE_INDEX`` where two labels are as probable, or nobody votes.

    References
    ----------
    Warfield et al. 2004, "Simultaneous truth and performance level estimation (STAPLE)", for several labels; begins
    with the majority, as in Rohlfing et al. 2003.
    """
    labels = np.unique(votes[votes != IGNORE_INDEX])
    if not len(labels):
        return np.full(len(votes), IGNORE_INDEX)
    cast = (votes[:, :, None] == labels).astype(np.float64)
    prior = np.einsum("p,prl->l", weights, cast)
    prior /= prior.sum()
    majority = cast.sum(axis=1)
    truth = _shares((majority == majority.max(axis=1, keepdims=True)) * majority.max(axis=1, keepdims=True))
    for _ in range(_STEPS_MAX):
        before, truth = truth, _expected(cast, prior, _reliability(cast, truth, weights))
        if np.abs(truth - before).max() < _CHANGE_MIN:
            break
    best = np.sort(truth, axis=1)
    is_tie = (best[:, -1] - best[:, -2] < _TIE) if len(labels) > 1 else best[:, -1] == 0
    return np.where(is_tie, IGNORE_INDEX, labels[truth.argmax(axis=1)])


def _reliability(cast: Floats, truth: Floats, weights: Floats) -> Floats:
    """Return how probably each rater gives a label for a true one, shape (R, given, true)."""
    counts = np.einsum("p,prg,pt->rgt", weights, cast, truth)
    totals = counts.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(counts, totals, out=np.full_like(counts, 1 / counts.shape[1]), where=totals > 0)
    return shares


def _expected(cast: Floats, prior: Floats, reliability: Floats) -> Floats:
    """Return the probability of each label for each pattern, shape (P, L)."""
    chances = np.einsum("prg,rgt->prt", cast, reliability)
    has_vote = cast.sum(axis=2, keepdims=True) > 0
    return _shares(prior * np.where(has_vote, chances, 1.0).prod(axis=1) * np.any(has_vote, axis=1))


def _shares(values: Floats) -> Floats:
    totals = values.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(values, totals, out=np.zeros_like(values, np.float64), where=totals > 0)
    return shares


def _visible(shapes: Sequence[tuple[BaseGeometry, int]]) -> dict[int, BaseGeometry]:
    """Return what each label covers when shapes are painted one after the other; what is unknown has no label."""
    covered: dict[int, BaseGeometry] = {}
    for geometry, label in shapes:
        snapped = shapely.set_precision(geometry, _GRID_PX)
        rest = {known: shapely.difference(area, snapped, grid_size=_GRID_PX) for known, area in covered.items()}
        covered = {known: _area_of(area) for known, area in rest.items()}
        covered[label] = shapely.union(covered.get(label, shapely.Polygon()), snapped, grid_size=_GRID_PX)
    return {label: area for label, area in covered.items() if label != IGNORE_INDEX and not area.is_empty}


def _split(faces: dict[Votes, BaseGeometry], own: dict[int, BaseGeometry], raters: int) -> dict[Votes, BaseGeometry]:
    """Part faces by what one more rater covers, after so many others."""
    nobody = (IGNORE_INDEX,) * raters
    everything = shapely.union_all([*faces.values()], grid_size=_GRID_PX)
    mine = shapely.union_all([*own.values()], grid_size=_GRID_PX)
    parts: dict[Votes, BaseGeometry] = {}
    for votes, face in faces.items():
        parts[(*votes, IGNORE_INDEX)] = shapely.difference(face, mine, grid_size=_GRID_PX)
        for label, area in own.items():
            parts[(*votes, label)] = shapely.intersection(face, area, grid_size=_GRID_PX)
    for label, area in own.items():
        parts[(*nobody, label)] = shapely.difference(area, everything, grid_size=_GRID_PX)
    polygonal = {votes: _area_of(part) for votes, part in parts.items()}
    return {votes: part for votes, part in polygonal.items() if not part.is_empty}


def _area_of(geometry: BaseGeometry) -> BaseGeometry:
    """Return a geometry without the lines and points at which outlines merely touch."""
    if geometry.geom_type in {"Polygon", "MultiPolygon"}:
        return geometry
    parts = shapely.get_parts(geometry)
    return shapely.union_all(parts[shapely.area(parts) > 0])
