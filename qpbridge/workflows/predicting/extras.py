"""What a prediction makes of class probabilities, beside outlines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from qpbridge.core.geometry import Region
from qpbridge.core.objects import PathObject
from qpbridge.errors import InvalidValueError
from qpbridge.inference.engine import Segmenter
from qpbridge.inference.maps.blending import Plan, Taker
from qpbridge.inference.maps.certainty import Certainty
from qpbridge.inference.maps.ome_tiff import probability_map
from qpbridge.inference.maps.suggesting import Suggester, to_reviews
from qpbridge.inference.objects import Identity
from qpbridge.vector.polygons import LabelledPolygon
from qpbridge.workflows.entries.sources import OpenedSource
from qpbridge.workflows.requests import PredictRegionRequest, PredictRequest

_OF_TISSUE: Final = ("blend", "probabilities", "uncertainty", "suggest")
"""Parameters that need a network which says of every pixel how probable each class is."""


def check(request: PredictRequest | PredictRegionRequest, finds_nuclei: bool) -> None:
    """Refuse what cannot be done.

    Parameters
    ----------
    request : PredictRequest or PredictRegionRequest
        Says what is wanted.
    finds_nuclei : bool
        Whether the model finds single objects.

    Raises
    ------
    InvalidValueError
        If a number of suggestions is negative, or something is asked of a model of nuclei that only regions have.
    """
    if request.suggest < 0:
        raise InvalidValueError(f"suggest must be 0 or more regions, not {request.suggest}")
    asked = [name for name in _OF_TISSUE if getattr(request, name, False)]
    if finds_nuclei and asked:
        raise InvalidValueError(
            f"{request.model} finds nuclei, and {', '.join(asked)} are of models of tissue regions: leave them out"
        )


class Extras:
    """Measurements, suggestions and a map of probabilities of one slide, as far as a request asks for them.

    Parameters
    ----------
    request : PredictRequest or PredictRegionRequest
        Says what is wanted.
    segmenter : Segmenter
        The model.
    """

    def __init__(self, request: PredictRequest | PredictRegionRequest, segmenter: Segmenter) -> None:
        self._request = request
        self._classes = segmenter.classes
        self._certainty = Certainty() if request.uncertainty else None
        self._suggester = Suggester(segmenter.views[0].fov.size_px) if request.suggest else None

    @contextlib.contextmanager
    def plan(self, opened: OpenedSource, map_file: Path | None = None) -> Iterator[Plan]:
        """Yield how to predict a slide; a map of probabilities is written when the block ends well.

        Parameters
        ----------
        opened : OpenedSource
            The slide.
        map_file : Path or None
            Of the map of probabilities; none is written where None.
        """
        takers: list[Taker] = [one for one in (self._certainty, self._suggester) if one is not None]
        with contextlib.ExitStack() as stack:
            if map_file is not None:
                takers.append(stack.enter_context(probability_map(map_file, self._classes, opened.calibration)))
            yield Plan(margin_px=self._request.margin_px, is_blended=self._request.blend, takers=tuple(takers))

    def measurements(self, polygons: Sequence[LabelledPolygon]) -> Sequence[Mapping[str, float]]:
        """Return the measurements of some outlines that are final; none where nobody asked for them."""
        return () if self._certainty is None else self._certainty.measurements(polygons)

    def suggestions(self, image: Region, identity: Identity) -> list[PathObject]:
        """Return the regions to be looked at next, once all rows are known."""
        if self._suggester is None:
            return []
        return to_reviews(self._suggester.suggest(self._request.suggest), image, identity)
